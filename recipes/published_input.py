"""How a network's input was prepared whose weights are at Hugging Face: what lies there beside the weights."""

from collections.abc import Callable
from pathlib import Path

from recipes.preprocessing import ImagePreprocessing, Preprocessing, TextPreprocessing
from recipes.tokenizers import BytePairs, WordPiece
from zoo import huggingface
from zoo.huggingface import CONFIG, present, read_record

RESIZE = {0: "nearest", 1: "lanczos3", 2: "bilinear", 3: "bicubic", 4: "area"}
"""What `preprocessor_config.json` numbers as Pillow does."""


def read(weights: str) -> Preprocessing:
    """The preprocessing of `hf:` and a folder or repository, as the library `transformers` has it.

    Raises:
        ValueError: a file is missing or damaged, or says what we do not do.
        OSError: the repository cannot be fetched.
    """
    folder = huggingface.fetch(weights.removeprefix(huggingface.HUB))
    kind = read_record(folder, CONFIG).get("model_type")
    if kind not in _KINDS:
        raise ValueError(f"{weights} is a {kind!r}. Accepted: {', '.join(_KINDS)}.")
    return _KINDS[kind](folder)


def labels(weights: str) -> tuple[str, ...]:
    """The names of the classes, in order; of several with the same name, each is told by its number, too.

    Raises:
        ValueError: `config.json` names none.
        OSError: the repository cannot be fetched.
    """
    folder = huggingface.fetch(weights.removeprefix(huggingface.HUB))
    named = read_record(folder, CONFIG).get("id2label", {})
    if not named:
        raise ValueError(f"{weights} names no classes: {CONFIG} has no id2label.")
    names = [named[key] for key in sorted(named, key=int)]
    return tuple(f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names))


def _of_bert(folder: Path) -> TextPreprocessing:
    said = read_record(folder, "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    tokenizer = WordPiece.from_published(present(folder, "vocab.txt"), lowercase=said.get("do_lower_case", True))
    return TextPreprocessing(tokenizer, read_record(folder, CONFIG)["max_position_embeddings"])


def _of_gpt2(folder: Path) -> TextPreprocessing:
    tokenizer = BytePairs.from_published(present(folder, "vocab.json"), present(folder, "merges.txt"))
    return TextPreprocessing(tokenizer, read_record(folder, CONFIG)["n_positions"], marks="empty")


def _of_vit(folder: Path) -> ImagePreprocessing:
    said, channels = read_record(folder, "preprocessor_config.json"), read_record(folder, CONFIG).get("num_channels", 3)
    size = said.get("size", 224)
    height, width = (size["height"], size["width"]) if isinstance(size, dict) else (size, size)
    mean, std = ((*said[name],) if said.get("do_normalize", True) else (value,) * channels for name, value in _NORMAL)
    return ImagePreprocessing(
        height,
        width,
        channels,
        resize=RESIZE[said.get("resample", 2)],
        scale=said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 1.0,
        mean=mean,
        std=std,
    )


_NORMAL = (("image_mean", 0.0), ("image_std", 1.0))
_KINDS: dict[str, Callable[[Path], Preprocessing]] = {"bert": _of_bert, "gpt2": _of_gpt2, "vit": _of_vit}
