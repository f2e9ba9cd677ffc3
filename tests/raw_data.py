"""Small raw data that a network can learn, for every task: what `tests/test_every_model.py` trains on."""

import numpy as np

CLASSES = 3
COUNT = 24


def of_task(task, spec):
    """Arrays `(x, y)` that a registered model can learn at its tiny size."""
    shape = spec.tiny["image_shape"] if task == "image-generation" else spec.tiny["input_shape"]
    return {
        "image-classification": pictures,
        "domain-adaptation": pictures,
        "image-generation": lambda shape: pictures(shape)[0],
        "object-detection": pictures_with_boxes,
        "semantic-segmentation": pictures_with_masks,
        "style-transfer": lambda shape: pictures((48, 40, 3))[0],
        "binary-classification": rows_of_two_classes,
        "regression": rows,
        "text-classification": lambda shape: sentences(),
        "token-classification": lambda shape: tagged_sentences(),
        "language-modeling": lambda shape: ["abcdé fgh. " * 5] * 6,
        "masked-language-modeling": lambda shape: [f"{word} " * 27 for word in ("abc", "dé", "fgh")] * 4,
        "sequence-to-sequence": lambda shape: pairs(),
    }[task](tuple(shape))


def repeated(data, times):
    """`COUNT` examples, so many times, one round after the other: `data` is inputs, or a pair of inputs and targets."""
    if isinstance(data, tuple):
        return tuple(repeated(part, times) for part in data)
    rounds = np.arange(times * COUNT) % len(data)
    return data[rounds] if isinstance(data, np.ndarray) else [data[i] for i in rounds]


def pictures(shape):
    """Uint8 pictures of three classes: bright above, bright on the left, bright in the middle; with noise."""
    rng = np.random.default_rng(0)
    height, width, channels = shape
    y = np.arange(COUNT) % CLASSES
    down, across = np.mgrid[0:height, 0:width]
    middle = (abs(down - height / 2) < height / 4) & (abs(across - width / 2) < width / 4)
    masks = np.stack([down < height / 2, across < width / 2, middle])[..., None]
    x = masks[y] * 170 + rng.integers(0, 80, (COUNT, height, width, channels))
    return x.astype(np.uint8), y


def pictures_with_masks(shape):
    """The same pictures without their classes: of every pixel, whether it is dark, bright, or bright at the left."""
    x, _ = pictures(shape)
    y = (x.mean(axis=-1) > 125).astype(np.uint8)
    y[:, :, : shape[1] // 2] *= 2
    return x, y


def pictures_with_boxes(shape):
    """Dark pictures, each with a bright box of one of three colours, half as large as the picture; some with none."""
    rng = np.random.default_rng(0)
    height, width, channels = shape
    x, y = rng.integers(0, 60, (COUNT, height, width, channels)), []
    for i, picture in enumerate(x):
        label, side = i % CLASSES, min(height, width) // 2
        top, left = rng.integers(0, height - side), rng.integers(0, width - side)
        real = i % 8 != 7
        if real:
            picture[top : top + side, left : left + side, label] = 230
        box = np.array([top / height, left / width, (top + side) / height, (left + side) / width])
        y.append({"bbox": box[np.newaxis][:real], "label": np.array([label])[:real]})
    return x.astype(np.uint8), y


def rows_of_two_classes(shape):
    """Rows of two classes that a plane tells apart."""
    x = np.random.default_rng(0).normal(size=(4 * COUNT, *shape)).astype(np.float32)
    side = x.sum(1)
    clear = np.abs(side) > 0.5
    return x[clear][:COUNT], (side[clear][:COUNT] > 0).astype(int)


def rows(shape):
    """Rows whose target is a weighted sum of their columns."""
    x = np.random.default_rng(0).normal(size=(COUNT, *shape)).astype(np.float32)
    return x, (x @ np.linspace(-0.5, 0.5, shape[0]) + 0.3).astype(np.float32)


def sentences():
    """Sentences of three classes, each with a few words of its own, among words that they share."""
    rng = np.random.default_rng(0)
    own = [["gradient", "epoch"], ["socket", "port"], ["matrix", "rank"]]
    shared = ["the", "A", "of", "is", "no", "Ärger,", "naïve."]
    y = np.arange(COUNT) % CLASSES
    lengths = rng.integers(2, 7, COUNT)
    x = [
        " ".join(rng.permutation([*rng.choice(shared, n), rng.choice(own[i])])) for i, n in zip(y, lengths, strict=True)
    ]
    return x, y


def tagged_sentences():
    """The same sentences, with a tag for every word: its own of the class, or shared."""
    x, _ = sentences()
    return x, [" ".join("B-own" if word.islower() and word.isascii() else "O" for word in text.split()) for text in x]


def pairs():
    """Words and the same backwards."""
    rng = np.random.default_rng(0)
    x = ["".join(rng.choice([*"abc", "é"], n)) for n in rng.integers(1, 3, COUNT)]
    return x, [word[::-1] for word in x]
