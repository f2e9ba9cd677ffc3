"""What a finished Run says of itself, read without its network."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

BUNDLE_FILE = "bundle.json"
METRICS_FILE = "metrics.json"
HISTORY_FILE = "history.csv"


@dataclass(frozen=True)
class Record:
    """A finished Run without its network.

    Attributes:
        dir: its folder.
        task: what it was trained for.
        card: of its bundle: `architecture`, `parameters`, `data`, …
        history, metrics, facts: see `recipes.Run`.
    """

    dir: Path
    task: str
    card: dict[str, Any]
    history: pd.DataFrame
    metrics: dict[str, float]
    facts: dict[str, Any]


def read(folder: str | Path) -> Record:
    """Read the record of a Run.

    Raises:
        ValueError: the folder does not hold a complete Run.
    """
    folder = Path(folder)
    if not (folder / METRICS_FILE).is_file():
        what = "an unfinished run" if (folder / HISTORY_FILE).exists() else "no run"
        raise ValueError(
            f"{folder} holds {what}: {METRICS_FILE} not found. Accepted: the run_dir of a finished recipe."
        )
    bundle, facts = (_json(folder / name) for name in (BUNDLE_FILE, METRICS_FILE))
    history = pd.read_csv(folder / HISTORY_FILE)
    return Record(folder, bundle["task"], bundle["card"], history, facts.pop("metrics"), facts)


def _json(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from None
