"""CSV files: read in pieces, so that one larger than memory can be checked."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from recipes.data import csv_file, targets, texts
from recipes.data.checks import inspecting
from recipes.data.checks.inspecting import Unusable
from recipes.data.checks.progress import shown
from recipes.data.checks.survey import Survey

PIECE = 10_000
"""Rows in memory at once."""

MOST_CLASSES = 20
"""Most whole numbers in a target column that are taken for classes, where no task is named."""

MOST_VALUES = 10_000
"""A column of more different ones is none of classes."""


def check_csv(path: Path, task: str | None, text: str | None, target: str | None, verbose: bool) -> Survey:
    """Read every row of a CSV file once.

    Args:
        path: the file.
        task: None: of texts, where a column is named or has a usual name of one; else of tables.
        text, target: names of columns; of None, those with a usual name. Without a target, all columns are looked at
            alike.
        verbose: show progress.

    Raises:
        ValueError: no table, or no such column.
    """
    header = csv_file.read(path, nrows=0).columns.tolist()
    if target is not None or (task is not None and targets.kind(task)):
        target = csv_file.find_target(path, header, target)
    else:
        usual = [name for name in header if name.strip().lower() in csv_file.TARGET_NAMES]
        target = usual[0] if len(usual) == 1 else None
    has_text = any(name.strip().lower() in texts.TEXT_NAMES for name in header if name != target)
    if targets.reads_text(task) if task else text is not None or has_text:
        return _check_texts(path, task, texts.text_column(path, header, text, target), target, verbose)
    return _check_table(path, task, header, target, verbose)


def _check_texts(path: Path, task: str | None, column: str, target: str | None, verbose: bool) -> Survey:
    if task is None:
        task = "language-modeling" if target is None else _task_of_pairs(path, target)
    survey = Survey(str(path), task, "text", ["train"], _row)
    columns, is_class = [column, target] if target and targets.kind(task) else [column], targets.kind(task) == "class"
    options = {"dtype": str, "keep_default_na": False}
    number = -1
    for piece in shown(csv_file.pieces(path, PIECE, **options), None, "Reading rows", verbose):
        for cells in piece[columns].fillna("").itertuples(index=False, name=None):
            number += 1
            content, of_it = (*cells, "")[:2]
            if len(columns) == 2 and not of_it.strip():
                survey.note("missing", target, detail=_row("train", number))
                continue
            try:
                seen = inspecting.text(_encoded(content), b"" if is_class else _encoded(of_it))
            except Unusable as unusable:
                survey.note(unusable.kind, _row("train", number), detail=unusable.reason)
                continue
            survey.example("train", number, seen, of_it.strip() if is_class else None)
    if is_class:
        survey.note_refused_classes()
    return survey


def _task_of_pairs(path: Path, target: str) -> str:
    """Of texts with a target: whether that is a class, which several have, or another text."""
    values, rows = _values(path, target)
    return "text-classification" if len(values) <= max(rows / 2, 2) else "sequence-to-sequence"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _values(path: Path, column: str) -> tuple[set[str], int]:
    """The values of a column, up to `MOST_VALUES` of them, and the number of rows."""
    values, rows = set(), 0
    for piece in csv_file.pieces(path, PIECE, usecols=[column], dtype=str, keep_default_na=False):
        rows += len(piece)
        if len(values) < MOST_VALUES:
            values.update(piece[column].fillna("").str.strip())
    return values - {""}, rows


def _row(part: str, number: int) -> str:
    return f"row {number + 1}"


def _check_table(path: Path, task: str | None, header: list[str], target: str | None, verbose: bool) -> Survey:
    task = task or _task_of_numbers(path, target)
    is_class = target is not None and targets.kind(task) == "class"
    columns = [name for name in header if not (is_class and name == target)]
    survey, wrong, first = Survey(str(path), task, "table", ["train"], _row), WrongCells(), 0
    options = csv_file.reading(columns, {target: str} if is_class else None)
    for piece in shown(csv_file.pieces(path, PIECE, **options), None, "Reading rows", verbose):
        rows = _numbers(piece[columns], first, wrong)
        survey.measure(dict(zip(columns, rows.T, strict=True)))
        labels = piece[target].fillna("").str.strip() if is_class else None
        if is_class:
            wrong.add("missing", target, labels == "", first, labels)
        for i, row in enumerate(rows):
            # What is no number is the same where it is written the same.
            content = row.tobytes() if np.isfinite(row).all() else repr(tuple(piece[columns].iloc[i])).encode()
            survey.example("train", first + i, inspecting.row(content), (labels.iloc[i] or None) if is_class else None)
        first += len(piece)
    wrong.note_in(survey)
    if is_class:
        survey.note_refused_classes()
    return survey


def _task_of_numbers(path: Path, target: str | None) -> str:
    """Of a table with a target: whether that is a class, in words or by few whole numbers, or a number."""
    if target is None:
        return "regression"
    values, _ = _values(path, target)
    numbers = pd.to_numeric(pd.Series(sorted(values - set(csv_file.MISSING))), errors="coerce")
    is_class = numbers.isna().any() or (len(numbers) <= MOST_CLASSES and (numbers % 1 == 0).all())
    return "binary-classification" if is_class else "regression"


def _numbers(table: pd.DataFrame, first: int, wrong: "WrongCells") -> np.ndarray:
    """The table as float32 `(rows, columns)`, NaN or infinite where `wrong` then has a cell."""
    found = []
    for name, column in table.items():
        values = pd.to_numeric(column, errors="coerce").to_numpy(np.float32)
        wrong.add("missing", name, column.isna(), first, column)
        wrong.add("not-a-number", name, ~np.isfinite(values) & ~column.isna(), first, column)
        found.append(values)
    return np.stack(found, axis=1) if found else np.empty((len(table), 0), np.float32)


class WrongCells:
    """Cells that training refuses, counted by kind and column."""

    def __init__(self):
        self._counts: Counter[tuple[str, str]] = Counter()
        self._first: dict[tuple[str, str], str] = {}

    def add(self, kind: str, column: str, is_wrong: pd.Series, first: int, cells: pd.Series) -> None:
        """Note the cells that are wrong, of rows from number `first` on."""
        found = np.flatnonzero(is_wrong)
        if len(found):
            cell = f" ({cells.iloc[found[0]]!r})" if kind != "missing" else ""
            self._first.setdefault((kind, column), f"first in {_row('train', first + int(found[0]))}{cell}")
            self._counts[kind, column] += len(found)

    def note_in(self, survey: Survey) -> None:
        """Note every column that has some."""
        for (kind, column), count in self._counts.items():
            survey.note(kind, column, detail=f"{count}, {self._first[kind, column]}", count=count)
