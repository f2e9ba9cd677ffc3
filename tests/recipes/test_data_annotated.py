"""Pictures with masks or boxes, and pictures alone, from every kind of source; and what is wrong with bad ones."""

import io
import json

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from recipes.data import load
from recipes.data.annotations import IGNORED, LABEL, VOID

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (12, 20, 24, 3), np.uint8)
MASKS = RNG.integers(0, 4, (12, 20, 24))
ONE_BOX = {"bbox": [[0.1, 0.2, 0.5, 0.6]], "label": [1]}
TWO_BOXES = {"bbox": [[0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 0.75, 0.875]], "label": [0, 2]}
NO_BOX = {"bbox": [], "label": []}
OBJECTS = [ONE_BOX, TWO_BOXES, NO_BOX] * 4
SEGMENTATION, DETECTION, ALONE = "semantic-segmentation", "object-detection", "image-generation"
WHOLE = {"validation": 0, "test": 0}


def parts(data, task, **options):
    """The training part of some data, as a list, and the data."""
    loaded = load(data, task=task, **{**WHOLE, **options})
    return list(loaded.parts["train"].as_numpy_iterator()), loaded


def mask_of(png):
    return np.asarray(PIL.Image.open(io.BytesIO(png)))


def png(pixels):
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def boxes_of(rows):
    return rows[rows[:, LABEL] >= 0]


def test_masks_beside_arrays():
    examples, data = parts((PICTURES, MASKS), SEGMENTATION)
    assert (data.labels, data.image_shape, data.pixels) == (("0", "1", "2", "3"), (20, 24, 3), "uint8")
    for (picture, mask), x, y in zip(examples, PICTURES, MASKS, strict=True):
        np.testing.assert_array_equal(picture, x)
        np.testing.assert_array_equal(mask_of(mask), y)


def test_what_is_not_judged_is_no_class():
    masks = MASKS.copy()
    masks[:, :3] = VOID
    examples, data = parts((PICTURES, masks[..., np.newaxis]), SEGMENTATION)
    assert data.labels == ("0", "1", "2", "3")
    assert (mask_of(examples[0][1])[:3] == VOID).all()


def test_boxes_beside_arrays():
    examples, data = parts((PICTURES, OBJECTS), DETECTION)
    assert data.labels == ("0", "1", "2")
    first, second, third = (boxes_of(rows) for _, rows in examples[:3])
    np.testing.assert_allclose(first, [[0.1, 0.2, 0.5, 0.6, 1, 0]])
    np.testing.assert_allclose(second[:, LABEL], [0, 2])
    assert len(third) == 0
    assert {rows.shape for _, rows in examples} == {(2, 6)}


def test_boxes_without_area_are_left_out_and_rounding_is_forgiven():
    objects = [{"bbox": [[0.2, 0.2, 0.2, 0.9], [-0.0004, 0.1, 1.0004, 0.5]], "label": [0, 1]}] * 12
    examples, _ = parts((PICTURES, objects), DETECTION)
    np.testing.assert_allclose(boxes_of(examples[0][1]), [[0, 0.1, 1, 0.5, 1, 0]])


def test_data_sets_of_both():
    def elements(of_picture):
        return lambda: zip(PICTURES, of_picture, strict=True)

    spec = tf.TensorSpec([20, 24, 3], tf.uint8)
    masks = tf.data.Dataset.from_generator(elements(MASKS), output_signature=(spec, tf.TensorSpec([20, 24], tf.int64)))
    examples, data = parts(masks, SEGMENTATION)
    np.testing.assert_array_equal(mask_of(examples[3][1]), MASKS[3])
    assert data.sizes == {"train": 12}
    boxes = {"bbox": tf.TensorSpec([None, 4], tf.float32), "label": tf.TensorSpec([None], tf.int64)}
    given = [{"bbox": np.float32(o["bbox"]).reshape(-1, 4), "label": np.int64(o["label"])} for o in OBJECTS]
    examples, data = parts(tf.data.Dataset.from_generator(elements(given), output_signature=(spec, boxes)), DETECTION)
    assert data.labels == ("0", "1", "2")
    np.testing.assert_allclose(boxes_of(examples[1][1])[1], [0.5, 0.5, 0.75, 0.875, 2, 0])


def write_masks(folder):
    for name, arrays in (("images", PICTURES), ("masks", MASKS.astype(np.uint8))):
        (folder / name).mkdir(parents=True)
        for i, array in enumerate(arrays):
            (folder / name / f"{i}.png").write_bytes(png(array))
    return folder


def test_a_folder_of_masks(tmp_path):
    examples, data = parts(write_masks(tmp_path / "pictures"), SEGMENTATION)
    assert (data.pixels, len(data.labels), data.image_shape) == ("encoded", 4, (20, 24, 3))
    for picture, mask in examples:
        number = [png(array) for array in PICTURES].index(picture)
        np.testing.assert_array_equal(mask_of(mask), MASKS[number])


def write_coco(folder, **changes):
    (folder / "images").mkdir(parents=True)
    record = {
        "images": [{"id": 7 * i, "file_name": f"{i}.png"} for i in range(12)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 1, "name": "ant"}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [6, 5, 12, 10], "iscrowd": 0},
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 24, 20], "iscrowd": 1},
            {"image_id": 0, "category_id": 1, "bbox": [12, 0, 12, 20]},
        ],
    }
    for i, array in enumerate(PICTURES):
        (folder / "images" / f"{i}.png").write_bytes(png(array))
    (folder / "annotations.json").write_text(json.dumps({**record, **changes}))
    return folder


@pytest.mark.parametrize("as_file", [False, True])
def test_boxes_in_the_form_of_coco(tmp_path, as_file):
    folder = write_coco(tmp_path / "pictures")
    examples, data = parts(folder / "annotations.json" if as_file else folder, DETECTION)
    assert data.labels == ("ant", "cat")
    by_picture = {picture: boxes_of(rows) for picture, rows in examples}
    np.testing.assert_allclose(
        by_picture[png(PICTURES[1])], [[0.25, 0.25, 0.75, 0.75, 1, 0], [0, 0, 1, 1, 0, 1]], atol=1e-6
    )
    assert by_picture[png(PICTURES[0])][0, IGNORED] == 0
    assert len(by_picture[png(PICTURES[5])]) == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2]}]}, "unknown image_id. Received: 1"),
        (
            {"annotations": [{"image_id": 7, "category_id": 2, "bbox": [0, 0, 2, 2]}]},
            "unknown category_id. Received: 2. Accepted: 1, 3",
        ),
        ({"annotations": [{"image_id": 7, "category_id": 1, "bbox": [20, 0, 9, 9]}]}, "does not lie in the picture"),
        ({"annotations": []}, "has a box: there is nothing to learn"),
        (
            {"images": [{"id": 0, "file_name": "lost.png"}], "annotations": []},
            "names the picture 'lost.png', which is neither beside it",
        ),
        ({"images": {}}, "not in COCO's form: it must hold lists of images, annotations, categories"),
    ],
)
def test_annotations_that_are_wrong_are_told(tmp_path, changes, said):
    with pytest.raises(ValueError, match=said):
        load(write_coco(tmp_path / "pictures", **changes), task=DETECTION)


def test_a_folder_without_annotations_says_what_is_wanted(tmp_path):
    folder = write_masks(tmp_path / "pictures")
    with pytest.raises(ValueError, match=r"There is no .*annotations\.json"):
        load(folder, task=DETECTION)
    (folder / "masks" / "3.png").unlink()
    with pytest.raises(ValueError, match=r"3\.png has no mask in masks/"):
        load(folder, task=SEGMENTATION)
    with pytest.raises(ValueError, match=r"There is no folder .*images"):
        load(folder / "masks", task=SEGMENTATION)


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        (
            MASKS[:, :10],
            "The mask of picture 0 .* must have the size of its picture as it is stored, 20x24. Received: 10x24",
        ),
        (MASKS + 1000, "must hold class ids 0..254, or 255 where nothing is judged. Received ids from 1000 to 1003"),
        (MASKS - 1, "Received ids from -1"),
        (MASKS * 1.0, "must be class ids, whole numbers"),
        (MASKS * 0, "Masks need two classes at least"),
        (MASKS[:5], "one entry per example. Received 12 and 5"),
    ],
)
def test_masks_that_are_wrong_are_told(masks, said):
    with pytest.raises(ValueError, match=said):
        load((PICTURES, masks), task=SEGMENTATION)


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        (
            {"bbox": [[0.5, 0.2, 0.1, 0.6]], "label": [0]},
            r"Picture 0 .* whose end lies before its beginning. Received: \[0.5,",
        ),
        (
            {"bbox": [[5, 2, 10, 60]], "label": [0]},
            "does not lie in the picture.*Of pixels, divide by height and width",
        ),
        ({"bbox": [[0.1, 0.2, np.nan, 0.6]], "label": [0]}, "does not lie in the picture"),
        ({"bbox": [[0.1, 0.2, 0.5, 0.6]], "label": [-1]}, "has the class id -1. Accepted: 0..254"),
        ({"bbox": [[0.1, 0.2, 0.5, 0.6]], "label": [0, 1]}, r"label int64 of shape \(2,\)"),
        ({"bbox": [[0.1, 0.2, 0.5]], "label": [0]}, r"bbox of shape \(1, 3\)"),
        ({"boxes": []}, 'must have its boxes as {"bbox": .*Received: boxes'),
        (NO_BOX, "No picture of the training part of 'arrays' has a box"),
    ],
)
def test_boxes_that_are_wrong_are_told(objects, said):
    with pytest.raises(ValueError, match=said):
        load((PICTURES, [objects] * 12), task=DETECTION)


def test_what_holds_no_annotations_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'digits' has none of that kind"):
        load("digits", task=SEGMENTATION)
    with pytest.raises(ValueError, match="A data set for object-detection must give pictures"):
        load(tf.data.Dataset.from_tensor_slices((PICTURES, MASKS)), task=DETECTION)
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="cannot hold what semantic-segmentation learns from"):
        load(tmp_path / "table.csv", task=SEGMENTATION)


def test_our_scenes_have_both(data_dir):
    name = "digit_scenes/size=64,digits=2,scale=16-32,count=12"
    examples, data = parts(name, DETECTION, data_dir=data_dir)
    assert data.labels == tuple("0123456789")
    masks, named = parts(name, SEGMENTATION, data_dir=data_dir)
    assert named.labels == ("background", *"0123456789")
    for (_, rows), (_, mask) in zip(examples, masks, strict=True):
        assert {int(label) + 1 for label in boxes_of(rows)[:, LABEL]} == set(np.unique(mask_of(mask))) - {0}


def test_pictures_alone_keep_their_classes_where_they_have_any(tmp_path):
    examples, data = parts(PICTURES, ALONE)
    assert (data.labels, len(examples), examples[0][1]) == (None, 12, 0)
    _, data = parts((PICTURES, np.arange(12) % 3), ALONE)
    assert data.labels == ("0", "1", "2")
    _, data = parts(tf.data.Dataset.from_tensor_slices(PICTURES), ALONE)
    assert (data.labels, data.image_shape, data.pixels) == (None, (20, 24, 3), "uint8")
    for i, name in enumerate(("a", "b", "a")):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / f"{i}.png").write_bytes(png(PICTURES[i]))
    _, data = parts(tmp_path, ALONE)
    assert (data.labels, data.sizes) == (("a", "b"), {"train": 3})
    (tmp_path / "loose.png").write_bytes(png(PICTURES[5]))
    _, data = parts(tmp_path, ALONE)
    assert (data.labels, data.sizes) == (None, {"train": 4})


def test_the_digits_alone_are_those_with_classes(data_dir):
    alone, with_classes = (load("digits", task=task, data_dir=data_dir) for task in (ALONE, "image-classification"))
    assert alone.labels == with_classes.labels
    pairs = [next(iter(data.parts["train"].as_numpy_iterator())) for data in (alone, with_classes)]
    assert pairs[0] == pairs[1]
