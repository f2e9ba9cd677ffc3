"""Configuration files: messages in protobuf's text format (tensorflow_serving/util/proto_util.h)."""

from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from serving.embedded.status import invalid_argument, not_found

AnyMessage = TypeVar("AnyMessage", bound=Message)


def read(path: str | Path, message: AnyMessage) -> AnyMessage:
    """``message``, filled with what the file says. NOT_FOUND without it; INVALID_ARGUMENT, with the line, where it does
    not parse or is empty.
    """
    try:
        text = Path(path).read_text("utf-8")
    except FileNotFoundError:
        raise not_found(f"{path}; No such file or directory") from None
    except (OSError, UnicodeDecodeError) as error:
        raise invalid_argument(f"{path}; {error}") from None
    if not text.strip():
        raise invalid_argument(f"{path}; Invalid argument")
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise invalid_argument(f"Invalid protobuf file: '{path}': {error}") from None
