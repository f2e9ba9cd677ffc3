"""What a stranger wrote, as it can be shown: no control characters for the terminal, and no end of it."""

_LONGEST = 120


def shown(text: str) -> str:
    """The text with escapes in the place of what cannot be printed, and shortened."""
    printable = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return printable if len(printable) <= 4 * _LONGEST else printable[: 4 * _LONGEST - 1] + "…"
