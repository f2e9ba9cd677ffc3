"""Names of a table's columns, as identifiers that TensorFlow and Python accept."""

import keyword
import re
import unicodedata
from collections.abc import Iterable


def numbered(count: int) -> tuple[str, ...]:
    """Names for columns that have none: x0, x1, …"""
    return tuple(f"x{i}" for i in range(count))


def legal(names: Iterable[str]) -> tuple[str, ...]:
    """Snake-case ASCII identifiers, all different, in the given order.

    >>> legal(["Sepal length (cm)", "petalWidth", "2nd", "class", "2nd "])
    ('sepal_length_cm', 'petal_width', 'x2nd', 'class_', 'x2nd_2')
    """
    taken: list[str] = []
    for position, name in enumerate(names):
        identifier = _identifier(str(name)) or f"x{position}"
        candidate, count = identifier, 1
        while candidate in taken:
            count += 1
            candidate = f"{identifier}_{count}"
        taken.append(candidate)
    return tuple(taken)


def _identifier(name: str) -> str:
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", ascii_name)
    identifier = re.sub(r"[^A-Za-z0-9]+", "_", words).strip("_").lower()
    if identifier[:1].isdigit():
        identifier = f"x{identifier}"
    return f"{identifier}_" if keyword.iskeyword(identifier) else identifier
