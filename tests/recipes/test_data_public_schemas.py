"""Public data sets whose schema our recipes read: prepared here with TFDS' own features and pictures of noise."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from recipes.data import load
from recipes.data.annotations import IGNORED, LABEL

RNG = np.random.default_rng(0)


def picture(channels=3):
    return RNG.integers(0, 4 if channels == 1 else 256, (20, 24, channels), np.uint8)


def box(ymin=0.1, xmin=0.2, ymax=0.5, xmax=0.6):
    return tfds.features.BBox(ymin=ymin, xmin=xmin, ymax=ymax, xmax=xmax)


def voc(i):
    found = {"bbox": box(), "label": i % 3, "is_truncated": False, "is_difficult": False, "pose": 0}
    hard = {**found, "bbox": box(0.5, 0.5, 1.0, 1.0), "is_difficult": True}
    return {
        "image": picture(), "image/filename": f"{i}.jpg", "objects": [found, hard][: i % 3],
        "labels": [0], "labels_no_difficult": [0],
    }  # fmt: skip


def coco(i):
    found = {"bbox": box(), "label": 7, "is_crowd": i % 2 == 0, "area": 3, "id": i}
    return {"image": picture(), "image/filename": f"{i}.jpg", "image/id": i, "objects": [found]}


def pets(i):
    known = {"file_name": f"{i}.jpg", "label": i % 37, "species": i % 2}
    known |= {"head_bbox": box()} if "head_bbox" in FEATURES["oxford_iiit_pet"] else {}
    return {"image": picture(), "segmentation_mask": picture(1), **known}


def celebrities(i):
    marks = dict.fromkeys(FEATURES["celeb_a"]["landmarks"], 0)
    known = {"attributes": dict.fromkeys(FEATURES["celeb_a"]["attributes"], False), "landmarks": marks}
    return {"image": RNG.integers(0, 256, (218, 178, 3), np.uint8), **known, "identity": {"Identity_No": i}}


EXAMPLES = {"voc": voc, "coco/2017": coco, "oxford_iiit_pet": pets, "celeb_a": celebrities}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Name of a public data set → its schema with twelve examples, by a name of its own, and the folder it lies in."""
    folder = str(tmp_path_factory.mktemp("public"))

    def prepare(name):
        features = tfds.builder(name, data_dir=folder).info.features
        FEATURES[name] = features

        def info(self):
            return tfds.core.DatasetInfo(builder=self, features=features)

        def splits(self, manager):
            return {part: ((i, EXAMPLES[name](i)) for i in range(12)) for part in ("train", "test")}

        title = f"Like{name.partition('/')[0].title().replace('_', '')}"
        members = {"VERSION": tfds.core.Version("1.0.0"), "_info": info, "_split_generators": splits}
        kind = type(title, (tfds.core.GeneratorBasedBuilder,), {**members, "_generate_examples": None})
        builder = kind(data_dir=folder)
        builder.download_and_prepare()
        return builder.name, folder

    return prepare


FEATURES = {}


def boxes_of(data, part="train"):
    return [rows[rows[:, LABEL] >= 0] for _, rows in data.parts[part].as_numpy_iterator()]


def test_voc_is_read_and_what_is_difficult_is_not_judged(prepared):
    name, folder = prepared("voc")
    data = load(name, task="object-detection", data_dir=folder, validation=0)
    assert (len(data.labels), data.labels[:2], data.target) == (20, ("aeroplane", "bicycle"), "objects")
    assert data.sizes == {"train": 12, "test": 12}
    rows = sorted(boxes_of(data), key=len)
    assert [len(of_picture) for of_picture in rows] == [0] * 4 + [1] * 4 + [2] * 4
    np.testing.assert_allclose(rows[-1][0][:4], [0.1, 0.2, 0.5, 0.6], atol=1e-6)
    assert rows[-1][:, IGNORED].tolist() == [0, 1]


def test_coco_is_read_and_crowds_are_not_judged(prepared):
    name, folder = prepared("coco/2017")
    data = load(name, task="object-detection", data_dir=folder, validation=0)
    assert len(data.labels) == 80
    assert sorted(rows[0, IGNORED] for rows in boxes_of(data)) == [0] * 6 + [1] * 6


def test_the_pets_masks_are_read(prepared):
    name, folder = prepared("oxford_iiit_pet")
    data = load(name, task="semantic-segmentation", data_dir=folder, validation=0)
    assert (data.target, len(data.labels), data.image_shape) == ("segmentation_mask", 4, (None, None, 3))


def test_celebrities_are_pictures_alone(prepared):
    name, folder = prepared("celeb_a")
    data = load(name, task="image-generation", data_dir=folder, validation=0)
    assert (data.labels, data.image_shape, data.sizes["train"]) == (None, (218, 178, 3), 12)
