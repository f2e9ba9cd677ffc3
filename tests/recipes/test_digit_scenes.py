"""Scenes of digits: boxes and masks say exactly where the ink is, no scan is in both parts, arguments are obeyed."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from recipes.data import prepared
from recipes.datasets import canvases, digit_scenes, digits, photographs, scenes
from recipes.datasets.digit_scenes import DigitScenes, DigitScenesConfig
from recipes.datasets.scenes import Layout, covered_shares, draw_scene, enlarged_scans

CONFIGS = {config.name: config for config in DigitScenes.BUILDER_CONFIGS}
FEW = "digit_scenes/small/count=60"


@pytest.fixture(scope="module")
def builder(data_dir):
    return prepared.find_builder(FEW, data_dir)


@pytest.fixture(scope="module")
def drawn():
    return {name: [draw_scene(config, "train", index) for index in range(12)] for name, config in CONFIGS.items()}


def test_it_reads_like_public_data_sets(builder):
    """`image` and `objects` as of VOC and COCO, `segmentation_mask` as of the pets."""
    features = builder.info.features
    assert features["image"].shape == (64, 64, 3)
    assert features["segmentation_mask"].shape == (64, 64, 1)
    assert features["segmentation_mask"].np_dtype == np.uint8
    assert isinstance(features["objects"].feature["bbox"], tfds.features.BBoxFeature)
    assert features["objects"].feature["label"].names == [str(digit) for digit in range(10)]
    assert builder.info.metadata["mask_names"] == ["background", *"0123456789"]
    assert {part: info.num_examples for part, info in builder.info.splits.items()} == {"train": 60, "test": 10}


def test_the_default_is_3000_scenes_and_500_to_test(tmp_path, monkeypatch):
    blank = scenes.Scene(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8), None, [], [], [])
    monkeypatch.setattr(scenes, "draw_scene", lambda config, part, index: blank)
    builder = DigitScenes(data_dir=str(tmp_path))
    keys = {part: [key for key, _ in generator] for part, generator in builder._split_generators(None).items()}
    assert keys == {"train": list(range(3000)), "test": list(range(500))}
    assert builder.info.features["image"].shape == (128, 128, 3)


def test_files_hold_the_scenes_as_drawn(builder):
    examples = {example["image"].tobytes(): example for example in builder.as_dataset(split="test").as_numpy_iterator()}
    assert len(examples) == 10
    for index in range(10):
        scene = draw_scene(CONFIGS["small"], "test", index)
        example = examples[scene.image.tobytes()]
        np.testing.assert_array_equal(example["segmentation_mask"][..., 0], scene.mask)
        np.testing.assert_array_equal(example["objects"]["bbox"] * 64, scene.boxes)
        assert example["objects"]["bbox"].dtype == np.float32
        assert example["objects"]["label"].tolist() == scene.labels


@pytest.mark.parametrize("name", CONFIGS)
def test_boxes_are_tight_around_the_ink_and_masks_name_its_digit(name, drawn):
    assert sum(len(scene.labels) for scene in drawn[name]) > 10
    for scene in drawn[name]:
        assert len(scene.boxes) == len(scene.labels) == len(scene.scans)
        ink = np.zeros_like(scene.mask, bool)
        for number, (box, label) in enumerate(zip(scene.boxes, scene.labels, strict=True)):
            y, x = np.nonzero(scene.instances == number)
            assert box.tolist() == [y.min(), x.min(), y.max() + 1, x.max() + 1]
            assert set(scene.mask[y, x]) == {label + 1}
            ink[y, x] = True
        np.testing.assert_array_equal(ink, scene.mask > 0)


@pytest.mark.parametrize("name", CONFIGS)
def test_no_box_covers_more_of_another_than_allowed(name, drawn):
    for scene in drawn[name]:
        for i, (top, left, bottom, right) in enumerate(scene.boxes):
            for other in scene.boxes[:i]:
                height, width = min(bottom, other[2]) - max(top, other[0]), min(right, other[3]) - max(left, other[1])
                smaller = min((bottom - top) * (right - left), (other[2] - other[0]) * (other[3] - other[1]))
                assert max(height, 0) * max(width, 0) <= CONFIGS[name].overlap * smaller


def test_crowded_scenes_do_overlap(drawn):
    shares = [covered_shares(scene.boxes, scene.boxes) for scene in drawn["crowded"]]
    assert max(np.max(share - np.eye(len(share)), initial=0) for share in shares) > 0.2


def test_no_digit_is_hidden_more_than_allowed():
    random, layout = np.random.RandomState(0), Layout(40, 0.3)
    drawn, refused = [], 0
    for _ in range(60):
        ink = random.rand(random.randint(4, 12), random.randint(4, 12)) < 0.6
        ink[[0, -1]] = ink[:, [0, -1]] = True
        corner = random.randint(0, 28, 2)
        before = layout.instances.copy(), layout.boxes.copy()
        if layout.place(ink, *corner):
            drawn.append(np.count_nonzero(ink))
        else:
            refused += 1
            np.testing.assert_array_equal(layout.instances, before[0])
            np.testing.assert_array_equal(layout.boxes, before[1])
    visible = np.bincount(layout.instances[layout.instances >= 0], minlength=len(drawn))
    assert refused > 5
    assert min(visible / drawn) >= 0.7
    assert min(visible / drawn) < 1
    for number, box in enumerate(layout.boxes):
        y, x = np.nonzero(layout.instances == number)
        assert box.tolist() == [y.min(), x.min(), y.max() + 1, x.max() + 1]


def test_every_fiftieth_scene_and_no_other_has_no_digit():
    config = DigitScenesConfig(name="one", size=32, digits=1, scale=(8, 16))
    counts = [len(draw_scene(config, "train", index).labels) for index in range(120)]
    assert [index for index, count in enumerate(counts) if count == 0] == [10, 60, 110]
    assert not draw_scene(config, "train", 10).mask.any()


def test_no_scan_and_no_photograph_is_in_both_parts(monkeypatch):
    asked = []
    for kind in ("colour", "textures"):
        read = getattr(photographs, kind)
        monkeypatch.setattr(photographs, kind, lambda part, read=read: (asked.append(part), read(part))[1])
    config = CONFIGS["small"]
    used = {}
    for part in ("train", "test"):
        asked.clear()
        used[part] = {scan for index in range(60) for scan in draw_scene(config, part, index).scans}
        assert set(asked) == {part}
        assert used[part] <= set(digits.scans(part)[0].tolist())
    assert len(used["train"]) > 60
    assert not used["train"] & used["test"]


def test_labels_are_those_of_the_scans(drawn):
    classes = dict(zip(*(digits.scans("train")[i].tolist() for i in (0, 2)), strict=True))
    for scene in drawn["crowded"]:
        assert [classes[scan] for scan in scene.scans] == scene.labels


def test_every_machine_draws_the_same_scenes(drawn):
    """As far as Pillow decodes the JPEG files among the photographs alike."""
    digest = hashlib.sha256()
    for scene in drawn["default"]:
        for array in (scene.image, scene.mask, scene.boxes):
            digest.update(array.tobytes())
    assert digest.hexdigest()[:16] == "568ec5e33fead407"


def test_ink_can_be_told_from_what_is_around_it(drawn):
    """The mean luminance of the pixels next to a digit is far from that of its ink."""
    differences = []
    for scene in drawn["clear"] + drawn["default"]:
        levels = canvases.luminance(scene.image.astype(float))
        padded = np.pad(scene.instances, 2, constant_values=-1)
        for number in range(len(scene.labels)):
            near = np.any(
                [padded[2 + y :, 2 + x :][:128, :128] == number for y in (-2, 0, 2) for x in (-2, 0, 2)], axis=0
            )
            ring = near & (scene.instances == -1)
            differences.append(abs(levels[scene.instances == number].mean() - levels[ring].mean()))
    assert min(differences) > 25
    assert np.median(differences) > 50


def test_scans_are_enlarged_as_tensorflow_does_bicubically():
    images = np.pad(digits.scans("test")[1][:20], ((0, 0), (2, 2), (2, 2))).astype(np.float32)
    expected = tf.image.resize(images[..., np.newaxis], (96, 96), "bicubic")[..., 0].numpy()
    enlarged = enlarged_scans("test")[:20]
    assert enlarged.dtype == np.uint8
    assert np.abs(enlarged - np.clip(expected, 0, 255)).max() <= 0.55  # TensorFlow reads its weights from a table


def test_arguments_are_obeyed():
    config = digit_scenes.changed(CONFIGS["default"], {"size": 96, "digits": 2, "scale": (30, 34), "clutter": 0})
    made = [draw_scene(config, "train", index) for index in range(20)]
    assert {scene.image.shape for scene in made} == {(96, 96, 3)}
    assert {len(scene.labels) for scene in made} == {0, 1, 2}
    heights = np.concatenate([scene.boxes[:, 2] - scene.boxes[:, 0] for scene in made])
    assert 24 < np.median(heights) < 38
    assert heights.max() < 45


def test_clutter_is_drawn_as_much_as_asked_for():
    changes = []
    for amount in (0, 0.5, 1):
        canvas = np.full((128, 128, 3), 128.0)
        for seed in range(10):
            canvases.draw_clutter(np.random.RandomState(seed), canvas, amount, 48)
        changes.append(np.count_nonzero(np.any(canvas != 128, axis=2)))
    assert changes[0] == 0
    assert 0 < changes[1] < changes[2]


def test_arguments_in_a_name_are_part_of_the_folder(data_dir):
    name = "digit_scenes/clear/size=48,digits=1,scale=16-24,overlap=0.1,count=3"
    builder = prepared.find_builder(name, data_dir)
    assert builder.info.full_name == "digit_scenes/clear-size48-digits1-scale16-24-overlap0.1-count3/1.0.0"
    assert builder.info.splits["train"].num_examples == 3
    assert "size 48, digits 1, scale 16-24, clutter 0.0, overlap 0.1, count 3" in builder.info.description
    again = tfds.builder(name, data_dir=data_dir)
    assert again.data_dir == builder.data_dir
    assert again.is_prepared()
    in_python = tfds.builder(
        "digit_scenes/clear", data_dir=data_dir, size=48, digits=1, scale=(16, 24), overlap=0.1, count=3
    )
    assert in_python.data_dir == builder.data_dir


def test_arguments_that_change_nothing_name_the_configuration_itself(tmp_path):
    builder = DigitScenes(data_dir=str(tmp_path), config="crowded", digits=14, scale="16-40")
    assert builder.info.full_name == "digit_scenes/crowded/1.0.0"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sise=96", r"argument of 'digit_scenes' 'sise'. Did you mean 'size'\?"),
        ("size=31", r"size must be a whole number. Received: 31. Accepted: 32 to 1024"),
        ("size=64.5", r"size must be a whole number. Received: 64.5"),
        ("digits=0", r"digits must be a whole number. Received: 0. Accepted: 1 to 100"),
        ("count=True", r"count must be a whole number. Received: True"),
        ("clutter=2", r"clutter must be a number. Received: 2. Accepted: 0 to 1"),
        ("overlap=nan", r"overlap must be a number. Received: nan. Accepted: 0 to 0.5"),
        ("overlap=much", r"overlap must be a number. Received: 'much'"),
        ("scale=16", r"scale must be the heights of the smallest and the largest digit. Received: 16"),
        ("scale=40-20", r"Received: '40-20'. Accepted: whole numbers from 8 on, such as \(16, 48\) or '16-48'"),
        ("size=48", r"scale must be at most two thirds of size, which is 48. Received: 16-48. Accepted: 8 to 32"),
        ("crowd", r"configuration of 'digit_scenes' 'crowd'. Did you mean 'crowded'\?"),
        ("crowd/size=96", r"configuration of 'digit_scenes' 'crowd'. Did you mean 'crowded'\?"),
    ],
)
@pytest.mark.parametrize("find", [prepared.find_builder, lambda name, folder: tfds.builder(name, data_dir=folder)])
def test_illegal_arguments_say_what_is_accepted(name, message, find, tmp_path):
    if name == "crowd" and find is not prepared.find_builder:
        message = "crowd"  # TFDS' own word
    with pytest.raises(ValueError, match=message):
        find(f"digit_scenes/{name}", str(tmp_path))


@pytest.mark.parametrize("values", [{"size": 0}, {"scale": (16, 100)}, {"overlap": 0.7}])
def test_configurations_of_ones_own_are_checked_as_well(values):
    with pytest.raises(ValueError, match="Received"):
        DigitScenesConfig(name="mine", **values)
