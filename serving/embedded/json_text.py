"""JSON as RapidJSON reads and writes it, which is how TF Serving reads and writes it.

Reading: RapidJSON's grammar with NaN and Infinity, the first value only, no check of UTF-8. Objects keep every member
in order (of duplicate keys TF Serving takes the first), integers stay integers up to uint64.

Writing: ``PrettyWriter``'s layout with an indent of four, arrays either one element a line or on one line.
"""

import contextlib
import math
from collections.abc import Iterator

import rapidjson

from serving.embedded.status import invalid_argument

MAX_DEBUG_BYTES = 256
INDENT = "    "

_BOM = b"\xef\xbb\xbf"
_ESCAPES = {code: f"\\u{code:04X}" for code in range(0x20)} | {
    ord("\b"): "\\b",
    ord("\f"): "\\f",
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}
# Bytes that are not UTF-8 pass through RapidJSON untouched, but not through Python's decoder. While the text is parsed
# they stand as characters of a private plane, afterwards as Python's surrogate escapes.
_TO_PRIVATE_PLANE = {0xDC00 + byte: 0x10DC00 + byte for byte in range(0x80, 0x100)}
_FROM_PRIVATE_PLANE = {private: escape for escape, private in _TO_PRIVATE_PLANE.items()}


class Object(list):
    """A JSON object: its (key, value) pairs in the order of the text, duplicates included."""

    def find(self, key: str, default: object = None) -> object:
        """The value of the first member called ``key``."""
        for name, value in self:
            if name == key:
                return value
        return default

    def __contains__(self, key: object) -> bool:
        return any(name == key for name, _ in self)


class _Decoder(rapidjson.Decoder):
    def start_object(self) -> Object:
        return Object()


_decode = _Decoder(number_mode=rapidjson.NM_NATIVE | rapidjson.NM_NAN)


def parse(body: bytes) -> object:
    """The first JSON value of ``body`` as str, int, float, bool, None, list or Object; what follows it is ignored.

    Bytes in strings that are not UTF-8 come back as surrogate escapes. Raises INVALID_ARGUMENT with RapidJSON's text
    and the offset of the fault, or when lists and objects are nested deeper than the interpreter's recursion limit.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    start = len(_BOM) if body.startswith(_BOM) else 0
    try:
        return _parse_first(body[start:])
    except RecursionError:
        raise invalid_argument("JSON Parse error: Lists and objects are nested too deeply") from None
    except _ParseError as error:
        message, offset = error.args
        raise invalid_argument(f"JSON Parse error: {message} at offset: {start + offset}") from None


def encode(text: str) -> bytes:
    """The bytes of a string that ``parse`` gave."""
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    """A string that ``encode`` turns into ``data`` again, whatever the bytes."""
    return data.decode("utf-8", "surrogateescape")


class _ParseError(Exception):
    """(RapidJSON's message, offset in bytes)"""


def _parse_first(body: bytes) -> object:
    try:
        return _decode(body)
    except UnicodeDecodeError:
        return _parse_with_stray_bytes(body)
    except rapidjson.JSONDecodeError as error:
        message, offset = _fault(error)
        if message == "The document root must not be followed by other values.":
            return _parse_first(body[:offset])
        raise _ParseError(_iterative_message(message, offset, body), offset) from None


def _fault(error: rapidjson.JSONDecodeError) -> tuple[str, int]:
    """``Parse error at offset 12: Invalid value.`` -> (``Invalid value.``, 12)"""
    where, message = str(error).split(": ", 1)
    return message, int(where.rsplit(" ", 1)[1])


def _iterative_message(message: str, offset: int, body: bytes) -> str:
    """To RapidJSON's iterative parser, which TF Serving uses, a document that opens with a stray mark is empty."""
    if not body[:offset].strip(b" \t\r\n") and body[offset : offset + 1] in (b"]", b"}", b",", b":"):
        return "The document is empty."
    return message


def _parse_with_stray_bytes(body: bytes) -> object:
    stand_in = body.decode("utf-8", "surrogateescape").translate(_TO_PRIVATE_PLANE).encode()
    try:
        return _restore(_parse_first(stand_in))
    except _ParseError as error:
        message, offset = error.args
        consumed = stand_in[:offset].decode("utf-8", "ignore").translate(_FROM_PRIVATE_PLANE)
        raise _ParseError(message, len(encode(consumed))) from None


def _restore(value: object) -> object:
    if isinstance(value, str):
        return value.translate(_FROM_PRIVATE_PLANE)
    if isinstance(value, Object):
        return Object((_restore(key), _restore(item)) for key, item in value)
    if isinstance(value, list):
        return [_restore(item) for item in value]
    return value


def type_name(value: object) -> str:
    """RapidJSON's type of a parsed value, as TF Serving's messages name it."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, Object):
        return "Object"
    if isinstance(value, list):
        return "Array"
    return "String" if isinstance(value, str) else "Number"


def quote(text: str) -> str:
    """A JSON string of ``text``, escaped as RapidJSON does (hexadecimal digits in capitals, nothing above U+001F)."""
    return f'"{text.translate(_ESCAPES)}"'


def decimal(number: float) -> str:
    """The shortest text that reads back as ``number``, in RapidJSON's layout: 1.0, 0.001, 1e30, 1.5e-7."""
    if number == 0:
        return "-0.0" if math.copysign(1, number) < 0 else "0.0"
    sign = "-" if number < 0 else ""
    mantissa, _, exponent = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) if whole != "0" else int(exponent or 0) - (len(fraction) - len(digits))
    digits = digits.rstrip("0") or "0"
    return sign + _place_point(digits, point)


def _place_point(digits: str, point: int) -> str:
    """``digits`` with the decimal point after ``point`` of them (negative: that many zeros before them)."""
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits)) + ".0"
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{point - 1}"


def debug_text(value: object) -> str:
    """A value as TF Serving quotes it in messages: arrays on one line, cut after the token that passes 256 bytes.

    A NaN or an Infinity ends the text where it stands: RapidJSON's writer refuses it.
    """
    text, size = [], 0
    with contextlib.suppress(_NotWritableError):
        for token in _tokens(value, 0, ""):
            text.append(token)
            size += len(encode(token))
            if size >= MAX_DEBUG_BYTES:
                break
    return "".join(text)


class _NotWritableError(Exception):
    """NaN or Infinity: RapidJSON's writer stops."""


def _tokens(value: object, level: int, prefix: str) -> Iterator[str]:
    """One token for each event of RapidJSON's writer, each with the white space before it."""
    if isinstance(value, Object):
        yield prefix + "{"
        for index, (key, item) in enumerate(value):
            yield f"{',' if index else ''}\n{INDENT * (level + 1)}{quote(key)}"
            yield from _tokens(item, level + 1, ": ")
        yield f"\n{INDENT * level}}}" if value else "}"
    elif isinstance(value, list):
        yield prefix + "["
        for index, item in enumerate(value):
            yield from _tokens(item, level + 1, ", " if index else "")
        yield "]"
    elif isinstance(value, float) and not math.isfinite(value):
        yield prefix
        raise _NotWritableError
    else:
        yield prefix + _scalar(value)


def _scalar(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(value)
    return decimal(value) if isinstance(value, float) else str(value)
