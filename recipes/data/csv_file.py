"""CSV files: a header, numeric feature columns, one target column."""

import contextlib
import csv
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recipes.data import columns, targets
from recipes.data.arrays import fingerprint
from recipes.data.parts import Rows
from recipes.data.source import Source
from zoo.nearest import unknown

TARGET_NAMES = ("target", "label", "class", "y")
DELIMITERS = ",;\t|"
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")


def open_csv(path: Path, *, task: str, target: str | None = None) -> Source:
    """Open a CSV file, UTF-8, separated by commas, semicolons, tabs or bars. The fingerprint covers every value.

    Args:
        path: the file.
        task: for classification every value of the target column is a class; integers are sorted by value, anything
            else as text.
        target: name of the target column; else the column called target, label, class or y.

    Raises:
        ValueError: no such column; a cell that is missing, infinite or no number, named by column and row; a file that
            is empty or no table.
    """
    header = read(path, nrows=0).columns.tolist()
    target = find_target(path, header, target)
    features = [name for name in header if name != target]
    if not features:
        raise ValueError(f"{path} has no column beside the target {target!r}.")
    is_text = targets.is_classification(task)
    table = _read_table(path, features if is_text else header, {target: str} if is_text else None)
    x = numbers(path, table[features])
    if is_text:
        y, labels = classes(path, table[target])
        targets.check_classes(str(path), np.bincount(y, minlength=len(labels)), labels, task)
    else:
        y, labels = numbers(path, table[[target]]), None
    *names, target = columns.legal([*features, target])
    parts = {"train": Rows(x, y)}
    digest = fingerprint(parts, labels, tuple(names))
    return Source(str(path), "table", parts, target, digest, labels=labels, columns=tuple(names))


def find_target(path: Path, header: Sequence[str], target: str | None) -> str:
    """The header's name for the target column.

    Raises:
        ValueError: the column named is not there, or none is named and not exactly one has a usual name.
    """
    if target is not None:
        if target not in header:
            raise unknown(f"target column of {path}:", target, header)
        return target
    usual = [name for name in header if name.strip().lower() in TARGET_NAMES]
    if len(usual) != 1:
        found = f"both {' and '.join(usual)}" if usual else f"none of {', '.join(TARGET_NAMES)}"
        raise ValueError(
            f"Name the target column of {path} with target=…: it has {found}. Columns: {', '.join(header)}."
        )
    return usual[0]


def numbers(path: Path, table: pd.DataFrame) -> np.ndarray:
    """The table as float32 [N, F].

    Raises:
        ValueError: a cell that is missing, infinite or no number; names its column and row.
    """
    for name, column in table.items():
        values = pd.to_numeric(column, errors="coerce").to_numpy(np.float32)
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            cell = column.iloc[wrong[0]]
            found = "a missing value" if pd.isna(cell) else f"{cell!r}, which is no finite number"
            raise ValueError(f"Column {name!r} of {path} holds {found}, first in row {wrong[0] + 1} after the header.")
    return table.astype(np.float32).to_numpy()


def classes(path: Path, column: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class ids, int64 [N], and the classes' names as they stand in the file.

    Raises:
        ValueError: an empty cell, or numbers with fractions.
    """
    names = column.str.strip()
    empty = np.flatnonzero(names == "")
    if len(empty):
        row = empty[0] + 1
        raise ValueError(
            f"Column {column.name!r} of {path} holds a missing value, first in row {row} after the header."
        )
    as_numbers = pd.to_numeric(names, errors="coerce")
    if as_numbers.notna().all() and (as_numbers % 1 != 0).any():
        raise ValueError(
            f"Column {column.name!r} of {path} holds fractions, which are no classes: that is a regression."
        )
    # Sorted by value where all are numbers, so that "10" follows "9".
    order = as_numbers if as_numbers.notna().all() else names
    _, first, ids = np.unique(order.to_numpy(), return_index=True, return_inverse=True)
    return ids.astype(np.int64), tuple(names.iloc[first])


def _read_table(path: Path, numeric: Sequence[str], dtype: dict | None) -> pd.DataFrame:
    return read(path, **reading(numeric, dtype))


def reading(numeric: Sequence[str], dtype: dict | None = None) -> dict[str, Any]:
    """Options of `read` by which cells that stand for a missing number become NaN.

    Args:
        numeric: columns of numbers. What stands for a missing number may be the name of a class: "NA".
        dtype: of other columns.
    """
    return {"dtype": dtype, "keep_default_na": False, "na_values": dict.fromkeys(numeric, MISSING)}


def read(path: Path, **options) -> pd.DataFrame:
    """The file as a table; `options` are those of `pandas.read_csv`.

    Raises:
        ValueError: no table.
    """
    with _refused(path):
        return pd.read_csv(path, **_form(path), **options)


def pieces(path: Path, rows: int, **options) -> Iterator[pd.DataFrame]:
    """The file as tables of so many rows, one after the other; `options` are those of `pandas.read_csv`.

    Raises:
        ValueError: no table.
    """
    with _refused(path):
        reader = pd.read_csv(path, **_form(path), chunksize=rows, **options)
    with reader:
        while True:
            with _refused(path):
                piece = next(reader, None)
            if piece is None:
                return
            yield piece


def _form(path: Path) -> dict[str, Any]:
    return {"sep": _delimiter(path), "index_col": False, "skipinitialspace": True, "encoding": "utf-8-sig"}


@contextlib.contextmanager
def _refused(path: Path) -> Iterator[None]:
    """ValueErrors for what pandas says of a file that is no table."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            yield
    except (pd.errors.EmptyDataError, pd.errors.ParserError, pd.errors.ParserWarning, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no CSV file: {error}") from None


def _delimiter(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline()
    try:
        return csv.Sniffer().sniff(header, DELIMITERS).delimiter
    except csv.Error:  # a single column
        return ","
