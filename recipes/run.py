"""A Run: what a recipe returns, and the folder it is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from recipes import arrays, backend, records
from recipes.arrays import Arrays
from recipes.bundle import Bundle
from recipes.examples import Examples
from recipes.records import HISTORY_FILE, METRICS_FILE

ANSWERS_FILE = "answers.npz"


@dataclass
class Run:
    """A trained model with its story.

    Attributes:
        dir: the folder: `model.keras`, `bundle.json`, `history.csv`, `metrics.json`, `examples.csv`, plots.
        bundle: the model with its preprocessing, answer, labels and card.
        history: one row per epoch; columns `epoch`, `loss`, `val_loss`, the metrics, `learning_rate`, `seconds`.
        metrics: figures of the test part by name (`accuracy`, …).
        facts: how it came about: command, seed, versions, data fingerprint, seconds, arguments.
        examples: raw examples of the test part.
        answers: those of the backend that it was trained on to the examples, by name; None of TensorFlow, which can
            be asked again.
    """

    dir: Path
    bundle: Bundle
    history: pd.DataFrame
    metrics: dict[str, float]
    facts: dict[str, Any]
    examples: Examples
    answers: Arrays | None = None

    @property
    def model(self) -> keras.Model:
        """The trained model."""
        return self.bundle.model

    def save(self) -> None:
        """Write everything but the plots into `dir`; `metrics.json` last: with it the Run is complete."""
        self.bundle.save(self.dir)
        self.examples.save(self.dir)
        if self.answers is not None:
            with open(self.dir / ANSWERS_FILE, "wb") as file:
                arrays.save(file, {"answers": self.answers})
        self.history.to_csv(self.dir / HISTORY_FILE, index=False)
        record = {"metrics": self.metrics, **self.facts}
        (self.dir / METRICS_FILE).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def load_run(folder: str | Path) -> Run:
    """Give back the Run that a recipe wrote.

    Raises:
        ValueError: the folder does not hold a complete Run.
    """
    record = records.read(folder)
    folder = record.dir
    bundle = Bundle.load(folder)
    is_word = bool(bundle.labels) or bundle.preprocessing.kind == "text"
    return Run(
        dir=folder,
        bundle=bundle,
        history=record.history,
        metrics=record.metrics,
        facts=record.facts,
        examples=Examples.load(
            folder,
            {name: spec.dtype.as_numpy_dtype for name, spec in bundle.preprocessing.raw_specs().items()},
            labelled=is_word,
        ),
        answers=_answers(record),
    )


def _answers(record: records.Record) -> Arrays | None:
    trained_on, file = record.facts.get("backend", backend.TENSORFLOW), record.dir / ANSWERS_FILE
    if trained_on == backend.TENSORFLOW:
        return None
    if not file.is_file():
        raise ValueError(f"{record.dir} was trained on {trained_on}, and its answers are not there: {ANSWERS_FILE}.")
    with open(file, "rb") as opened:
        return arrays.load(opened)["answers"]
