"""Errors that name what was received, what is accepted, and the nearest match."""

import difflib
from collections.abc import Iterable


def unknown(kind: str, received, accepted: Iterable[str]) -> ValueError:
    """The error for a name that is not among the accepted ones.

    >>> raise unknown("model", "lenet", ["alexnet", "lenet5"])
    ValueError: Unknown model 'lenet'. Did you mean 'lenet5'? Accepted: alexnet, lenet5.
    """
    accepted = list(accepted)
    matches = difflib.get_close_matches(str(received), accepted, n=1, cutoff=0.5)
    hint = f" Did you mean {matches[0]!r}?" if matches else ""
    return ValueError(f"Unknown {kind} {received!r}.{hint} Accepted: {', '.join(accepted) or 'none'}.")


def choose(kind: str, received: str, accepted: Iterable[str]) -> str:
    """Return `received` if it is accepted, else raise `unknown`."""
    accepted = list(accepted)
    if received not in accepted:
        raise unknown(kind, received, accepted)
    return received
