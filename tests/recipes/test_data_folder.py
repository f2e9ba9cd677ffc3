"""Folders of pictures as data: real files, as people have them, whole and broken."""

import logging

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from recipes.data import load

CLASSES = {"task": "image-classification"}


def picture(path, mode="RGB", size=(6, 5), shade=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), shade, np.uint8)
    PIL.Image.fromarray(pixels).convert(mode).save(path)
    return path


def animals(folder, count=6, suffix=".png", **options):
    """Two classes of pictures; no two files are the same."""
    for shade in range(count):
        picture(folder / "cat" / f"{shade}{suffix}", shade=shade, **options)
        picture(folder / "dog" / f"{shade}{suffix}", shade=shade + 100, **options)
    return folder


def contents(data):
    return {part: [x for x, _ in dataset.as_numpy_iterator()] for part, dataset in data.parts.items()}


def test_one_sub_folder_per_class(tmp_path):
    data = load(animals(tmp_path), **CLASSES)
    assert (data.kind, data.labels, data.target, data.pixels) == ("image", ("cat", "dog"), "label", "encoded")
    assert data.image_shape == (5, 6, 3)
    assert data.sizes == {"train": 10, "validation": 1, "test": 1}


def test_the_bytes_are_those_of_the_files(tmp_path):
    data = load(animals(tmp_path), validation=0, test=0, **CLASSES)
    read = {(x, data.labels[y]) for x, y in data.parts["train"].as_numpy_iterator()}
    assert read == {(path.read_bytes(), path.parent.name) for path in tmp_path.glob("*/*")}


def test_parts_share_no_file(tmp_path):
    listed = contents(load(animals(tmp_path, 15), validation=0.3, test=0.3, **CLASSES))
    assert {part: len(files) for part, files in listed.items()} == {"train": 12, "validation": 9, "test": 9}
    assert len(set().union(*listed.values())) == 30


def test_classes_are_mixed_although_folders_are_sorted(tmp_path):
    """A shuffle buffer smaller than a class would show training one class at a time."""
    data = load(animals(tmp_path, 20), validation=0, test=0, **CLASSES)
    first = [int(y) for _, y in data.parts["train"].take(20).as_numpy_iterator()]
    assert 4 < sum(first) < 16


@pytest.mark.parametrize("validation", ["validation", "val"])
def test_parts_may_have_their_own_folders(tmp_path, validation):
    for name, count in (("train", 6), (validation, 2), ("test", 3)):
        animals(tmp_path / name, count)
    data = load(tmp_path, **CLASSES)
    assert data.sizes == {"train": 12, "validation": 4, "test": 6}
    assert data.labels == ("cat", "dog")


def test_jpeg_and_upper_case_suffixes_are_pictures(tmp_path):
    animals(tmp_path, 2, ".JPG")
    animals(tmp_path, 2, ".jpeg")
    animals(tmp_path, 2, ".PNG")
    assert load(tmp_path, **CLASSES).sizes["train"] == 12 - 2


def test_other_files_are_ignored_and_counted(tmp_path, caplog):
    animals(tmp_path)
    (tmp_path / "README.txt").write_text("cats and dogs")
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / ".cache").mkdir()
    with caplog.at_level(logging.WARNING):
        data = load(tmp_path, **CLASSES)
    assert sum(data.sizes.values()) == 12
    assert "ignored 2 files" in caplog.text


def test_sizes_that_differ_are_unknown(tmp_path):
    animals(tmp_path)
    picture(tmp_path / "cat" / "wide.png", size=(9, 5))
    assert load(tmp_path, **CLASSES).image_shape == (5, None, 3)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("1", 1), ("LA", 1), ("P", 3), ("RGB", 3), ("RGBA", 4)])
def test_channels_are_those_of_the_files_and_can_be_decoded_so(tmp_path, mode, channels):
    data = load(animals(tmp_path, mode=mode), **CLASSES)
    assert data.image_shape == (5, 6, channels)
    x, _ = next(data.parts["train"].as_numpy_iterator())
    assert tf.io.decode_image(x, channels=channels).shape == (5, 6, channels)


def test_grey_and_coloured_files_together_are_coloured(tmp_path):
    animals(tmp_path)
    picture(tmp_path / "cat" / "grey.png", mode="L")
    assert load(tmp_path, **CLASSES).image_shape == (5, 6, 3)


def test_the_fingerprint_stands_for_names_and_bytes(tmp_path):
    before, copy = (load(animals(tmp_path / name), **CLASSES).fingerprint for name in ("one", "two"))
    picture(tmp_path / "two" / "cat" / "0.png", shade=1)
    assert before == copy != load(tmp_path / "two", **CLASSES).fingerprint


def truncated(path):
    path.write_bytes(path.read_bytes()[:-20])


def emptied(path):
    path.write_bytes(b"")


def replaced_by_text(path):
    path.write_text("<html>404</html>")


def replaced_by_another_format(path):
    PIL.Image.new("RGB", (5, 5)).save(path, format="WEBP")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("damage", [truncated, emptied, replaced_by_text, replaced_by_another_format])
def test_a_corrupt_picture_is_named(tmp_path, suffix, damage):
    broken = animals(tmp_path, suffix=suffix) / "dog" / f"3{suffix}"
    damage(broken)
    with pytest.raises(ValueError, match="Unreadable pictures") as caught:
        load(tmp_path, **CLASSES)
    assert str(broken) in str(caught.value)
    assert str(caught.value).count(suffix) == 1


def test_many_corrupt_pictures_are_counted(tmp_path):
    for path in animals(tmp_path, 4).glob("*/*"):
        emptied(path)
    with pytest.raises(ValueError, match=r"\(empty\) and 3 more"):
        load(tmp_path, **CLASSES)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no pictures.*one sub-folder per class"):
        load(tmp_path, **CLASSES)


def test_pictures_without_class_folders_are_refused(tmp_path):
    picture(tmp_path / "cat.png")
    with pytest.raises(ValueError, match="one sub-folder per class"):
        load(tmp_path, **CLASSES)


def test_one_class_is_refused(tmp_path):
    for shade in range(12):
        picture(tmp_path / "cat" / f"{shade}.png", shade=shade)
    with pytest.raises(ValueError, match=r"at least 2 classes.*cat: 12"):
        load(tmp_path, **CLASSES)


def test_a_class_without_pictures_is_named(tmp_path):
    (animals(tmp_path) / "emu").mkdir()
    with pytest.raises(ValueError, match=r"No PNG or JPEG file in .*emu"):
        load(tmp_path, **CLASSES)


def test_a_class_that_training_never_shows_is_named(tmp_path):
    animals(tmp_path / "train")
    animals(tmp_path / "test", 2)
    picture(tmp_path / "test" / "dgo" / "1.png")
    with pytest.raises(ValueError, match=r"'dgo'\. Did you mean 'dog'"):
        load(tmp_path, **CLASSES)


def test_a_folder_is_no_regression(tmp_path):
    with pytest.raises(ValueError, match="Regression reads tables"):
        load(animals(tmp_path), task="regression")
