"""A Run without training: an architecture with its published weights, ready to be published and served."""

import dataclasses
import io
import re
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_sample_images

import zoo
from recipes import command_line, initial_weights, licenses, plots, published_input
from recipes.answers import ClassAnswer, MaskedAnswer, NextTokenAnswer, TagAnswer, head_of
from recipes.batches import objects
from recipes.bundle import Bundle
from recipes.data import load, targets
from recipes.data.folder import SUFFIXES, is_picture
from recipes.examples import UNKNOWN, Examples, sample
from recipes.folders import staged_run
from recipes.preprocessing import ImagePreprocessing
from recipes.run import Run
from recipes.tasks.masked_language_modeling import with_masks
from recipes.training import versions
from zoo import complexity
from zoo.huggingface import HUB
from zoo.nearest import choose

EXAMPLES = 64
SMALLEST_CROP = 200


def pretrained(
    model: str,
    weights: str = "imagenet",
    *,
    task: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    run_dir: str | Path | None = None,
    examples: str | Path | None = None,
    overwrite: bool = False,
) -> Run:
    """Make a Run of a network with published weights, their preprocessing and their labels.

    Args:
        model: a registry name.
        weights: a tag of `zoo.spec(model).weights`, downloaded by Keras into its cache; or `hf:` and a repository of
            Hugging Face, or a folder like one, for the models that `zoo.load_weights` reads from there.
        task: what the network answers, of those that it can, where the weights have a head for it; None: the first.
        model_args: arguments of the builder, where weights of Hugging Face are of another size than its usual one.
        run_dir: folder of the Run; None: runs/MODEL-WEIGHTS.
        examples: what a version will be proved on: a folder of PNG and JPEG files, or of `.txt` files, or one such
            file, whose lines are texts; None: parts of the two photographs that scikit-learn ships, or texts of the
            data set `sentences`. Nobody has said what is right for them, so the Run has no figures.
        overwrite: replace a Run that is in the folder already.

    Raises:
        ValueError: no such model or weights, damaged weights, a head that they do not have, no examples in the folder,
            or the folder is taken.
        OSError: the weights or the names of their classes cannot be fetched.
    """
    started = time.perf_counter()
    spec = zoo.spec(model)
    task = spec.task if task is None else choose(f"task of {model!r}", task, spec.tasks)
    from_hub = spec.huggingface is not None and weights.startswith(HUB)
    if not from_hub:
        choose(f"published weights of {model!r}", weights, spec.weights)
        if spec.weights[weights].classifier is not None:
            raise ValueError(
                f"{weights!r} of {model!r} has no head for {task}: it is something to begin a training with. "
                f"Accepted: weights={weights!r} of a recipe."
            )
        if model_args:
            raise ValueError(f"{weights!r} fits one size of {model!r} only. Received: model_args={dict(model_args)}.")
    given = _examples(task, examples)
    final = Path(run_dir or f"runs/{model}-{re.sub('[^A-Za-z0-9_.-]+', '-', weights)}")
    with staged_run(final, overwrite, keep_on=()) as folder:
        if from_hub:
            bundle = _from_hub(spec, weights, task, model_args or {})
        else:
            labels = _imagenet_labels(spec.arguments["num_classes"])  # before the weights, which are large
            network = zoo.build(model, weights=weights)
            preprocessing = initial_weights.preprocessing_of(model, weights, ImagePreprocessing)
            bundle = Bundle(network, task, preprocessing, ClassAnswer(head_of(network), labels))
        bundle.card |= {"architecture": model, "parameters": complexity.parameters(bundle.model), "data": weights}
        facts = {
            "command": command_line.of_pretrained(model, weights, task, model_args, run_dir, examples),
            "seconds": {"total": round(time.perf_counter() - started, 2)},
            "options": {},
            "data": {"name": weights, "source": None, "fingerprint": None, "examples": {}},
            "evaluated_on": None,
            **versions(),
            licenses.FACT: licenses.of_weights(model, weights),
        }
        run = Run(folder, bundle, pd.DataFrame(columns=["epoch", "loss"]), {}, facts, given)
        run.save()
        plots.draw(run, {}, None)
    run.dir = final
    return run


def _from_hub(spec: zoo.Spec, weights: str, task: str, model_args: Mapping[str, Any]) -> Bundle:
    """A network with the sizes, the head and the labels that a repository has."""
    preprocessing = published_input.read(weights)
    arguments, labels = spec.task_argument(task), ()
    if preprocessing.kind == "text":
        vocabulary = preprocessing.tokenizer.vocabulary
        arguments |= {"input_shape": (None,), "max_length": preprocessing.max_length}
        arguments["vocabulary_size"] = len(vocabulary)
    else:
        arguments["input_shape"] = preprocessing.shape
    if task.endswith("classification"):
        labels = published_input.labels(weights)
        arguments["num_classes"] = len(labels)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        network = zoo.build(spec.name, weights=weights, **{**arguments, **model_args})
    if fresh := [str(warning.message) for warning in said if "fresh weights" in str(warning.message)]:
        raise ValueError(f"These weights cannot answer {task}. {fresh[0]} Other tasks: {', '.join(spec.tasks)}.")
    if task == "masked-language-modeling":
        answer = MaskedAnswer()
    elif task == "language-modeling":
        answer = NextTokenAnswer()
    elif task == "token-classification":
        answer, preprocessing = TagAnswer("logits", labels), dataclasses.replace(preprocessing, by_word=True)
    else:
        answer = ClassAnswer("logits", labels)
    return Bundle(network, task, preprocessing, answer)


def _examples(task: str, source: str | Path | None) -> Examples:
    """Raw examples from a folder or a file, or those that need none."""
    if not targets.reads_text(task):
        pictures = _photographs() if source is None else _files(Path(source))
        return Examples({"image_bytes": objects(pictures)}, np.array([UNKNOWN] * len(pictures), object), "label")
    # Of a task without targets: the texts are all that is wanted.
    found = sample(load("sentences" if source is None else source, task="language-modeling"), 0, EXAMPLES)
    if task == "masked-language-modeling":
        return with_masks(found, 0)
    return Examples(found.raw, np.array([UNKNOWN] * len(found), object), targets.default_name(task))


def _imagenet_labels(count: int) -> tuple[str, ...]:
    """Names of ImageNet's classes; the two pairs of the same name get their WordNet ids."""
    try:
        entries = keras.applications.imagenet_utils.decode_predictions(np.eye(count, dtype=np.float32), top=1)
    except Exception as error:  # get_file raises a bare Exception
        raise OSError(f"The names of ImageNet's classes cannot be fetched: {error}") from error
    names = [name for ((_, name, _),) in entries]
    return tuple(f"{name} ({wordnet})" if names.count(name) > 1 else name for ((wordnet, name, _),) in entries)


def _photographs() -> list[bytes]:
    """Parts of real photographs, of many sizes, as JPEG files."""
    rng = np.random.default_rng(0)
    photographs = load_sample_images().images
    pictures = []
    for i in range(EXAMPLES):
        pixels = photographs[i % len(photographs)]
        height, width = (int(rng.integers(SMALLEST_CROP, size + 1)) for size in pixels.shape[:2])
        top, left = (int(rng.integers(0, n - m + 1)) for n, m in zip(pixels.shape, (height, width), strict=False))
        file = io.BytesIO()
        Image.fromarray(pixels[top : top + height, left : left + width]).save(file, "JPEG", quality=90)
        pictures.append(file.getvalue())
    return pictures


def _files(folder: Path) -> list[bytes]:
    found = sorted(filter(is_picture, folder.rglob("*")))
    if not found:
        raise ValueError(f"No pictures in {str(folder)!r}. Accepted: a folder with files {', '.join(SUFFIXES)}.")
    return [path.read_bytes() for path in found[:EXAMPLES]]
