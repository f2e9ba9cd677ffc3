"""Pictures with a mask or with boxes, from every kind of source.

In every part x is a picture, as `recipes.data.Data` says, and y what `recipes.data.annotations` describes: the PNG of a
mask, or the rows of the boxes. All annotations are read once, to be sure that they can be.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import tensorflow as tf
import tensorflow_datasets as tfds

from recipes.batches import objects
from recipes.data import annotations, arrays, folder, named, pictures, targets
from recipes.data.annotations import LABEL, VOID
from recipes.data.parts import Part, Rows, Stream, check_sizes
from recipes.data.prepared import find_builder, license_of
from recipes.data.source import Source
from recipes.data.splits import choose_splits, read_parts
from recipes.data.splits import fingerprint as fingerprint_of_slices
from recipes.data.streams import digest_of, mapped
from zoo.nearest import choose

PICTURES, MASKS = "images", "masks"
ANNOTATIONS = "annotations.json"
MASK_LABELS = "mask_names"
"""Key of a data set's metadata under which it may name the classes of its masks."""
MASK = "The mask of picture"
UNJUDGED = ("is_crowd", "is_difficult")


def open_named(
    name: str,
    *,
    task: str,
    data_dir=None,
    train_split: str = "train",
    test_split: str | None = None,
    validation_split: str | None = None,
    target: str | None = None,
) -> Source:
    """Open a TFDS data set: its picture, and the mask or the boxes beside it.

    Masks are a picture of one channel, as in `oxford_iiit_pet`; boxes a sequence with `bbox` and perhaps `label`, as in
    `voc` and `coco`, of which `is_crowd` and `is_difficult` mark those that are not judged.

    Raises:
        ValueError: unknown name, split or target; data not there; features or annotations that are not of that kind.
    """
    builder = find_builder(name, data_dir)
    features = builder.info.features
    splits = choose_splits(builder, train_split, test_split, validation_split)
    x_key = picture_of(name, features, builder.info.supervised_keys)
    is_mask = targets.kind(task) == "mask"
    fitting = [key for key in features if key != x_key and (_is_mask if is_mask else _holds_boxes)(features[key])]
    y_key = _chosen(name, task, target, fitting)

    def parts(read: Callable) -> dict[str, Part]:
        encoded = {key: tfds.decode.SkipDecoding() for key in ([x_key, y_key] if is_mask else [x_key])}

        def transform(builder, instruction):
            examples = named.read_examples(builder, instruction, encoded)
            return mapped(examples, lambda example: (example[x_key], read(example[y_key])))

        return read_parts(name, builder, splits, transform)

    if is_mask:
        y, labels = (lambda mask: mask), (builder.info.metadata or {}).get(MASK_LABELS)
    else:
        boxes, labels = _boxes_of(features[y_key].feature)
        most = _most_boxes(name, parts(boxes), labels)
        y = lambda given: annotations.padded_in_graph(**boxes(given), most=most)  # noqa: E731
    read = parts(y)
    return _source(
        name,
        task,
        read,
        fingerprint_of_slices(builder, read),
        labels=labels,
        target=y_key,
        image_shape=named.image_shape(name, features[x_key]),
        license=license_of(builder),
    )


def picture_of(name: str, features: Mapping, supervised) -> str:
    """The feature that is the picture: TFDS' supervised input, else the one called "image", else the only one.

    Raises:
        ValueError: there is none, or several.
    """
    found = [key for key in features if isinstance(features[key], tfds.features.Image)]
    first = supervised[0] if supervised and isinstance(supervised[0], str) else "image"
    if first in found or len(found) == 1:
        return first if first in found else found[0]
    raise ValueError(f"Data set {name!r} has no picture called 'image'. Pictures: {', '.join(found) or 'none'}.")


def _chosen(name: str, task: str, target: str | None, fitting: Sequence[str]) -> str:
    if target is not None:
        return choose(f"target of {name!r}", target, fitting)
    if len(fitting) != 1:
        wanted = "mask, a picture of one channel" if targets.kind(task) == "mask" else "sequence with bbox and label"
        raise ValueError(
            f"For {task}, name the {wanted}, with target=…: {name!r} has {', '.join(fitting) or 'none of that kind'}."
        )
    return fitting[0]


def _is_mask(feature) -> bool:
    return isinstance(feature, tfds.features.Image) and feature.shape[-1] == 1


def _holds_boxes(feature) -> bool:
    inner = getattr(feature, "feature", None)
    return isinstance(inner, tfds.features.FeaturesDict) and "bbox" in inner


def _boxes_of(feature) -> tuple[Callable, tuple[str, ...] | None]:
    """From objects as TFDS reads them to what `annotations.padded_in_graph` takes; and the names of their classes."""
    unjudged = [key for key in UNJUDGED if key in feature]

    def read(objects):
        label = objects.get("label", tf.zeros(tf.shape(objects["bbox"])[:1], tf.int64))
        ignored = [tf.cast(objects[key], tf.bool) for key in unjudged]
        none = tf.zeros_like(label, tf.bool)
        return {"bbox": objects["bbox"], "label": label, "is_crowd": tf.reduce_any([none, *ignored], axis=0)}

    if "label" not in feature:
        return read, ("object",)
    return read, tuple(feature["label"].names) if isinstance(feature["label"], tfds.features.ClassLabel) else None


def open_folder(path: Path, *, task: str, target: str | None = None) -> Source:
    """Open a folder of pictures.

    For masks, they lie in `images/`, and PNG masks of the same names in `masks/`; for boxes, beside an
    `annotations.json` in COCO's form. Either may lie under `train/`, `validation/` (or `val/`) and `test/`.

    Raises:
        ValueError: pictures or annotations are missing, cannot be read, or do not belong together.
    """
    folders = folder.part_folders(path)
    if targets.kind(task) == "boxes":
        return _coco({part: sub / ANNOTATIONS for part, sub in folders.items()}, path, task, target)
    x, y = {}, {}
    for part, sub in folders.items():
        files, masks = _by_stem(sub / PICTURES, folder.is_picture), _by_stem(sub / MASKS, _is_png)
        for stem in sorted(files.keys() ^ masks.keys()):
            missing = f"mask in {MASKS}/" if stem in files else f"picture in {PICTURES}/"
            raise ValueError(f"{files.get(stem) or masks[stem]} has no {missing} that belongs to it.")
        x[part] = _mixed(files.values())
        y[part] = objects(masks[file.stem].read_bytes() for file in x[part])
    return _source_of_files(path, task, x, y, [png for masks in y.values() for png in masks], target=target)


def _by_stem(where: Path, is_wanted: Callable[[Path], bool]) -> dict[str, Path]:
    if not where.is_dir():
        raise ValueError(f"There is no folder {where}. Accepted: {PICTURES}/ and, with the same names, {MASKS}/.")
    return {file.stem: file for file in sorted(where.iterdir()) if is_wanted(file)}


def _is_png(path: Path) -> bool:
    return path.suffix.lower() == ".png" and not path.name.startswith(".")


def _mixed(files: Iterable[Path]) -> list[Path]:
    """In the order of their names' hashes."""
    return sorted(files, key=lambda file: hashlib.sha256(file.name.encode()).digest())


def open_file(path: Path, *, task: str, target: str | None = None) -> Source:
    """Open annotations in COCO's form (https://cocodataset.org/#format-data); the pictures lie beside them.

    Raises:
        ValueError: no such form, pictures that are not there, boxes or categories that are wrong.
    """
    if targets.kind(task) != "boxes" or path.suffix.lower() != ".json":
        accepted = "annotations in COCO's form, .json" if targets.kind(task) == "boxes" else "a folder, or a TFDS name"
        raise ValueError(f"{path} cannot hold what {task} learns from. Accepted: {accepted}.")
    return _coco({"train": path}, path, task, target)


def _coco(files: Mapping[str, Path], source: Path, task: str, target: str | None) -> Source:
    records = {part: _read_json(file) for part, file in files.items()}
    names = {one["id"]: one["name"] for one in records["train"]["categories"]}
    ids = {category: i for i, category in enumerate(sorted(names))}
    x, boxes = {}, {}
    for part, record in records.items():
        of_picture: dict[Any, list] = {one["id"]: [] for one in record["images"]}
        for one in record["annotations"]:
            _check_known(files[part], "image_id", one["image_id"], of_picture)
            _check_known(files[part], "category_id", one["category_id"], ids)
            of_picture[one["image_id"]].append(one)
        picture_ids = {_beside(files[part], one["file_name"]): one["id"] for one in record["images"]}
        x[part] = _mixed(picture_ids)
        boxes[part] = [_coco_objects(of_picture[picture_ids[file]], _size(file), ids) for file in x[part]]
    labels = [names[category] for category in ids]
    y = _padded(str(source), boxes, labels)
    return _source_of_files(source, task, x, y, [rows.tobytes() for rows in y.values()], labels=labels, target=target)


def _check_known(file: Path, name: str, value, known: Iterable) -> None:
    if value not in known:
        some = ", ".join(map(str, list(known)[:10]))
        raise ValueError(f"{file} has an annotation of an unknown {name}. Received: {value}. Accepted: {some}, ….")


def _size(file: Path | io.BytesIO) -> tuple[int, int]:
    """Height and width, without decoding."""
    with PIL.Image.open(file) as image:
        return image.height, image.width


def _read_json(file: Path) -> dict:
    wanted = ("images", "annotations", "categories")
    if not file.is_file():
        raise ValueError(f"There is no {file}: the boxes of a folder's pictures, in COCO's form.")
    try:
        record = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} is no JSON: {error}") from None
    if not isinstance(record, dict) or not all(isinstance(record.get(key), list) for key in wanted):
        raise ValueError(f"{file} is not in COCO's form: it must hold lists of {', '.join(wanted)}.")
    return record


def _beside(file: Path, name: str) -> Path:
    found = [path for path in (file.parent / name, file.parent / PICTURES / name) if path.is_file()]
    if not found:
        raise ValueError(f"{file} names the picture {name!r}, which is neither beside it nor in {PICTURES}/.")
    return found[0]


def _coco_objects(listed: Sequence[Mapping], size: tuple[int, int], ids: Mapping) -> dict[str, np.ndarray]:
    """COCO's x, y, width, height in pixels → what `annotations.rows_of_boxes` takes."""
    x, y, width, height = np.array([one["bbox"] for one in listed], np.float64).reshape(-1, 4).T
    return {
        "bbox": np.stack([y, x, y + height, x + width], axis=1) / [*size, *size],
        "label": np.array([ids[one["category_id"]] for one in listed], np.int64),
        "is_crowd": np.array([one.get("iscrowd", 0) for one in listed], bool),
    }


def _source_of_files(
    path: Path, task: str, x: Mapping, y: Mapping, annotations: Iterable[bytes], **described
) -> Source:
    """The source of pictures `x` and their annotations `y`, both in one order."""
    root = path if path.is_dir() else path.parent
    seen, hashes = folder.examined([file for files in x.values() for file in files])
    parts = {part: folder.files(x[part], y[part], hashes) for part in x}
    digest = folder.fingerprint(root, hashes, *annotations)
    return _source(str(path), task, parts, digest, image_shape=pictures.common_shape(seen), **described)


def open_arrays(parts: Mapping[str, tuple], *, task: str, target: str | None = None) -> Source:
    """Open arrays: pictures `(n, h, w)` or `(n, h, w, c)`, and beside them masks `(n, h, w)` or a list of n boxes.

    Raises:
        ValueError: lengths or sizes that do not agree, pixels outside 0..255, wrong annotations.
    """
    x, pixels = arrays.scale({part: arrays.pictures_of(part, pair[0]) for part, pair in parts.items()})
    given = {part: list(pair[1]) for part, pair in parts.items()}
    for part, array in x.items():
        if len(array) != len(given[part]):
            raise ValueError(
                f"x and y of the {part} part must have one entry per example. "
                f"Received {len(array)} and {len(given[part])}."
            )
    check_sizes("arrays", {part: len(array) for part, array in x.items()})
    if targets.kind(task) == "mask":
        y = {
            part: objects(annotations.mask_png(mask, _where(i, part, "arrays", MASK)) for i, mask in enumerate(masks))
            for part, masks in given.items()
        }
    else:
        y = _padded("arrays", given, None)
    rows = {part: Rows(x[part], y[part]) for part in x}
    shape = x["train"].shape[1:]
    return _source("arrays", task, rows, arrays.fingerprint(rows), target=target, image_shape=shape, pixels=pixels)


def open_datasets(parts: Mapping[str, tf.data.Dataset], *, task: str, target: str | None = None) -> Source:
    """Open data sets of single `(x, y)`.

    x: uint8 pixels `(h, w, c)`, or PNG or JPEG bytes. y: a mask, whole numbers `(h, w)` or `(h, w, 1)`; or `{"bbox": …,
    "label": …}`.

    Raises:
        ValueError: another structure, an endless data set, another order every time, wrong annotations.
    """
    is_mask = targets.kind(task) == "mask"
    for part, dataset in parts.items():
        spec = dataset.element_spec
        legal = isinstance(spec, tuple) and len(spec) == 2 and isinstance(spec[1], tf.TensorSpec if is_mask else dict)
        if not legal or (spec[0].dtype, spec[0].shape.rank) not in ((tf.string, 0), (tf.uint8, 3)):
            y = "a mask (h, w)" if is_mask else annotations.ACCEPTED_BOXES
            raise ValueError(
                f"A data set for {task} must give pictures, uint8 (h, w, c) or PNG or JPEG bytes, and {y}, one at a "
                f"time. The {part} part gives {spec}."
            )
        if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError(f"The {part} part repeats without end: leave out .repeat().")
    if is_mask:
        final = _encoded_mask
    else:
        most = _most_boxes("dataset", {part: Stream(dataset, 0) for part, dataset in parts.items()}, None)
        final = lambda y: annotations.padded_in_graph(  # noqa: E731
            y["bbox"], y["label"], y.get("is_crowd", tf.zeros_like(y["label"])), most
        )
    read = {part: mapped(dataset, lambda x, y: (x, final(y))) for part, dataset in parts.items()}
    seen = set()

    def note(x, y, number):
        seen.add(pictures.examine(x) if isinstance(x, bytes) else pictures.Picture(*x.shape))

    found = {part: digest_of(part, dataset, note) for part, dataset in read.items()}
    streams = {part: Stream(dataset, found[part][0]) for part, dataset in read.items()}
    check_sizes("dataset", {part: stream.size for part, stream in streams.items()})
    return _source(
        "dataset",
        task,
        streams,
        hashlib.sha256("".join(f"{part} {found[part][1]}" for part in sorted(found)).encode()).hexdigest(),
        target=target,
        image_shape=pictures.common_shape(seen),
        pixels="encoded" if parts["train"].element_spec[0].dtype == tf.string else "uint8",
    )


def _encoded_mask(mask: tf.Tensor) -> tf.Tensor:
    return tf.io.encode_png(tf.cast(mask if mask.shape.rank == 3 else mask[..., tf.newaxis], tf.uint8))


def _most_boxes(name: str, parts: Mapping[str, Part], labels: Sequence[str] | None) -> int:
    """The most boxes of a picture, of parts whose y is objects; all are checked."""
    most = 0
    for part, source in parts.items():
        for number, (_, given) in enumerate(source.read().as_numpy_iterator()):
            most = max(most, len(_checked_rows(given, labels, _where(number, part, name))))
    return most


def _padded(name: str, given: Mapping[str, Sequence], labels: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Objects of every part → their boxes, float32 `(n, most, 6)`."""
    rows = {
        part: [_checked_rows(each, labels, _where(i, part, name)) for i, each in enumerate(listed)]
        for part, listed in given.items()
    }
    most = max(len(each) for listed in rows.values() for each in listed)
    return {part: annotations.padded(listed, most) for part, listed in rows.items()}


def _checked_rows(given: Mapping, labels: Sequence[str] | None, where: str) -> np.ndarray:
    rows = annotations.rows_of_boxes(given, where)
    if len(rows):
        most = len(labels) if labels else annotations.MOST_CLASSES
        annotations.check_label(int(rows[:, LABEL].min()), int(rows[:, LABEL].max()), most, where)
    return rows


def _highest_of_masks(name: str, parts: Mapping[str, Part], labels: Sequence[str] | None) -> int:
    """The highest class id. Every mask is read once, and must fit its picture and the classes."""
    highest = -1
    for part, source in parts.items():
        for number, (x, png) in enumerate(source.read().as_numpy_iterator()):
            where = _where(number, part, name, MASK)
            ids = annotations.read_mask(png, _size(io.BytesIO(x)) if isinstance(x, bytes) else x.shape[:2], where)
            of_mask = max(ids[ids != VOID].tolist(), default=-1)
            if labels is not None:
                annotations.check_label(0, of_mask, len(labels), where)
            highest = max(highest, of_mask)
    return highest


def _highest_of_boxes(name: str, parts: Mapping[str, Part]) -> int:
    found = {
        part: max((int(y[:, LABEL].max(initial=-1)) for _, y in source.read().as_numpy_iterator()), default=-1)
        for part, source in parts.items()
    }
    if found["train"] < 0:
        raise ValueError(f"No picture of the training part of {name!r} has a box: there is nothing to learn.")
    return max(found.values())


def _where(number: int, part: str, name: str, what: str = "Picture") -> str:
    return f"{what} {number} (counted from 0) of the {part} part of {name!r}"


def _source(
    name: str,
    task: str,
    parts: Mapping[str, Part],
    digest: str,
    *,
    target: str | None,
    image_shape: tuple,
    labels: Sequence[str] | None = None,
    pixels: str = "encoded",
    license: str | None = None,
) -> Source:
    if targets.kind(task) == "mask":
        highest = _highest_of_masks(name, parts, labels)
        if highest < 1:
            raise ValueError(f"Masks need two classes at least. Those of {name!r} have the class id {highest} alone.")
    else:
        highest = _highest_of_boxes(name, parts)
    return Source(
        name=name,
        kind="image",
        parts=parts,
        target=target or targets.default_name(task),
        fingerprint=digest,
        labels=tuple(labels) if labels else tuple(str(i) for i in range(highest + 1)),
        image_shape=image_shape,
        pixels=pixels,
        license=license,
    )
