"""Configuration files in protobuf's text format, and what is said of those that cannot be read."""

from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from serving.embedded.status import invalid_argument, not_found

M = TypeVar("M", bound=Message)


def read(path: str | Path, into: M) -> M:
    """``into``, filled from a file. NOT_FOUND without it; INVALID_ARGUMENT, with the line, where it does not parse."""
    try:
        text = Path(path).read_text("utf-8")
    except FileNotFoundError:
        raise not_found(f"{path}; No such file or directory") from None
    except (OSError, UnicodeDecodeError) as error:
        raise invalid_argument(f"{path}; {error}") from None
    try:
        return text_format.Parse(text, into)
    except text_format.ParseError as error:
        raise invalid_argument(f"Invalid protobuf file: '{path}': {error}") from None
