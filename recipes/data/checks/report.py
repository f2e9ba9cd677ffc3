"""What a check of data found, as a record."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

ERRORS = {
    "corrupt": "cannot be decoded by training",
    "empty": "empty",
    "unreadable": "cannot be opened",
    "missing": "missing values",
    "not-a-number": "values that are no finite numbers",
    "leak": "in an earlier part, too: figures would be of what training has seen",
    "two-labels": "the same input under several labels",
    "refused": "training refuses this",
}
"""What training refuses, or what makes its figures wrong."""

REMARKS = {
    "duplicate": "copies within a part; where a test part is split off it, they may fall on both sides",
    "same-content": "copies that are stored otherwise, but are the same to training",
    "contradiction": "rows of the same columns in several classes",
    "ignored": "files that training does not read",
    "constant": "columns of a single value, which say nothing",
    "imbalance": "classes of very different sizes",
    "absent": "classes without an example in a part",
    "encoding": "no UTF-8",
}
"""What training takes, and a person may want to know."""

LISTED = 1000
"""Places that a finding lists at most; its count tells of all."""

TOGETHER = 20
"""Examples that a place names at most."""


@dataclass(frozen=True)
class Place:
    """Where something was found.

    Attributes:
        examples: files within the folder, `row 17` of a CSV file (the first after the header is 1), `train[17]` of
            other data (from 0), or columns. Several that belong together, such as copies of one picture.
        detail: what more there is to say.
    """

    examples: tuple[str, ...]
    detail: str = ""

    def __str__(self):
        return " ".join(filter(None, [" = ".join(self.examples), self.detail and f"({self.detail})"]))


@dataclass(frozen=True)
class Finding:
    """All that was found of one kind.

    Attributes:
        kind: a key of `ERRORS` or of `REMARKS`.
        count: how often; of copies, how many there are beyond the first one.
        places: where, the first ones.
    """

    kind: str
    count: int
    places: tuple[Place, ...]

    @property
    def is_error(self) -> bool:
        """Whether something is wrong."""
        return self.kind in ERRORS

    @property
    def meaning(self) -> str:
        """The kind in words."""
        return ERRORS[self.kind] if self.is_error else REMARKS[self.kind]


@dataclass(frozen=True)
class Spread:
    """The smallest, the mean and the largest of some numbers."""

    least: float
    mean: float
    most: float


@dataclass(frozen=True)
class DataReport:
    """What a check of data found.

    Attributes:
        name: TFDS name, path, "arrays" or "dataset".
        task: what it was read for.
        kind: "image", "table" or "text".
        examples: readable ones per part.
        classes: part → class → examples; None where the target is no class.
        measures: what was measured → how it is spread: height, width, channels and bytes of pictures, the values of a
            table's columns, characters of texts.
        findings: errors, then remarks.
    """

    name: str
    task: str
    kind: str
    examples: Mapping[str, int]
    classes: Mapping[str, Mapping[str, int]] | None
    measures: Mapping[str, Spread]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no finding is an error."""
        return not any(finding.is_error for finding in self.findings)

    def record(self) -> dict[str, Any]:
        """The report as JSON values."""
        findings = [
            {**asdict(one), "severity": "error" if one.is_error else "remark", "meaning": one.meaning}
            for one in self.findings
        ]
        return {**asdict(self), "findings": findings, "ok": self.ok}
