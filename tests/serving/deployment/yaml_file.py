"""Reading what was written."""

from pathlib import Path

import yaml


def load(path: Path) -> dict:
    """The one document of a YAML file."""
    return yaml.safe_load(path.read_text("utf-8"))
