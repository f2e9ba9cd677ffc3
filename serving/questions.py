"""From what a person has (pictures, folders, texts, CSV files, rows) to inputs of a signature.

A question is one row: what to show of it, its values by input name, and the truth where it is known.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from serving.metadata import ModelMetadata, Signature, TensorSpec, nearest

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")  # what a folder is searched for
TEXTS = ".txt"
LONGEST_FIELD = 2**30
USUAL = {"max_new_tokens": 64, "temperature": 0.0, "top_k": 0, "top_p": 1.0, "seed": 0}
"""What signatures that write texts are told, where nothing else is: the most probable token, again and again."""
EXAMPLES = ("examples", "inputs")
"""The names under which serialized tf.Examples are sent."""
_TRUTH_COLUMNS = ("label", "target")
_BINARY_SIGNATURE = "bytes"  # the name that published image models have
_ROW_SIGNATURE = "row"  # the name that published tabular models have
_TEXT = "text"  # the name of the signature that published models of text have, and of its input
_PREDICT = "tensorflow/serving/predict"
_PICTURE = re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|BM|RIFF....WEBP|\xff\x0a|\0\0\0\x0cJXL ", re.DOTALL)
"""How the files begin that TensorFlow decodes: PNG, JPEG, GIF, BMP, WebP, JPEG XL."""
_LONGEST_NAME = 200  # characters of a question in a message


@dataclass(frozen=True)
class Question:
    """``values`` may be paths: those files are read when they are asked about."""

    shown: str
    values: Mapping[str, object]
    truth: str | None = None

    @property
    def named(self) -> str:
        """What is shown, for a message: on one line, not too long, and without what a terminal takes for commands."""
        return repr(self.shown if len(self.shown) <= _LONGEST_NAME else self.shown[: _LONGEST_NAME - 1] + "…")


def of_files(
    metadata: ModelMetadata,
    paths: Sequence[Path],
    settings: Mapping[str, str],
    signature: str | None,
    limit: int | None = None,
) -> tuple[str, Iterable[Question]]:
    """The signature that fits files, or the one that is named, and what to ask it.

    ``paths`` are pictures, folders of pictures, .txt files with one text a line, or one CSV file, of which the first
    ``limit`` rows are read. ``settings`` are inputs that files need not have. ValueError where nothing fits.
    """
    kinds = {path.suffix.lower() for path in paths}
    if ".csv" in kinds:
        if len(paths) > 1:
            raise ValueError("Give one CSV file and nothing beside it")
        table = read_table(paths[0], limit)
        if "file" not in table[0]:
            return of_table(metadata, table, settings, signature)
        chosen, input_name = picture_signature(metadata, signature)
        return chosen, pictures_of_table(paths[0], table, input_name)
    if TEXTS in kinds:
        if len(kinds) > 1:
            raise ValueError("Give .txt files and nothing beside them")
        chosen, input_name = text_signature(metadata, signature)
        return chosen, texts((line for path in paths for line in read_texts(path)), input_name)
    chosen, input_name = picture_signature(metadata, signature)
    return chosen, pictures(paths, input_name)


def of_table(
    metadata: ModelMetadata, table: list[dict[str, str]], settings: Mapping[str, str], signature: str | None
) -> tuple[str, Iterable[Question]]:
    """The signature that fits a table's columns, or the one that is named, and what to ask it."""
    chosen = row_signature(metadata, table[0], signature, settings)
    return chosen, rows_of_table(table, metadata.signatures[chosen])


def picture_signature(metadata: ModelMetadata, name: str | None = None) -> tuple[str, str]:
    """The name of the signature that takes a picture's bytes, and of its input. ValueError if there is none."""
    if name is not None:
        signature = _named(metadata, name)
        if not takes_one_string(signature):
            raise ValueError(f"The signature {name!r} takes {_inputs(signature)}, not the bytes of a picture")
        return name, next(iter(signature.inputs))
    fitting = [
        name for name, each in metadata.signatures.items() if takes_one_string(each) and _TEXT not in each.inputs
    ]
    if not fitting:
        raise ValueError(f"{metadata.name} has no signature that takes the bytes of a picture. It has {_all(metadata)}")
    chosen = _BINARY_SIGNATURE if _BINARY_SIGNATURE in fitting else fitting[0]
    return chosen, next(iter(metadata.signatures[chosen].inputs))


def text_signature(metadata: ModelMetadata, name: str | None = None) -> tuple[str, str]:
    """The name of the signature that takes texts, and of its input: of all such the one with the fewest other inputs.

    ValueError if there is none.
    """
    if name is not None:
        signature = _named(metadata, name)
        if (text := _text_input(signature)) is None:
            raise ValueError(f"The signature {name!r} takes {_inputs(signature)}, not texts")
        return name, text
    fitting = {name: text for name, each in metadata.signatures.items() if (text := _text_input(each))}
    if not fitting:
        raise ValueError(f"{metadata.name} has no signature that takes texts. It has {_all(metadata)}")
    chosen = _TEXT if _TEXT in fitting else min(fitting, key=lambda name: len(metadata.signatures[name].inputs))
    return chosen, fitting[chosen]


def row_signature(
    metadata: ModelMetadata, columns: Iterable[str], name: str | None = None, settings: Iterable[str] = ()
) -> str:
    """The name of the signature whose inputs are all among ``columns`` and ``settings``. ValueError if there is none.

    A signature that is named may take what is usual besides.
    """
    names = {_identifier(each) for each in (*columns, *settings, *(USUAL if name is not None else ()))}
    candidates = [name] if name is not None else [_ROW_SIGNATURE, _TEXT, *metadata.signatures]
    for candidate in candidates:
        signature = metadata.signatures.get(candidate) if name is None else _named(metadata, candidate)
        if signature is not None and signature.inputs and {_identifier(each) for each in signature.inputs} <= names:
            return candidate
    wanted = next((each for each in candidates if each in metadata.signatures), None)
    if wanted in (name, _ROW_SIGNATURE) and wanted is not None:
        lacking = [each for each in metadata.signatures[wanted].inputs if _identifier(each) not in names]
        raise ValueError(f"The signature {wanted!r} also takes {', '.join(lacking)}")
    raise ValueError(f"No signature of {metadata.name} takes {', '.join(columns)} by name. It has {_all(metadata)}")


def picture_files(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """The paths, each of a picture that can be read. ValueError or OSError names the first that is not."""
    files = [_picture(Path(path)) for path in ([paths] if isinstance(paths, (str, Path)) else paths)]
    if not files:
        raise ValueError("Give at least one picture")
    return files


def pictures(paths: Sequence[Path], input_name: str) -> Iterator[Question]:
    """Each picture, and those in each folder. In a folder, the name of a sub-folder is the truth of its pictures."""
    for path in paths:
        if not path.is_dir():
            yield Question(str(path), {input_name: _picture(path)})
            continue
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in PICTURES)
        if not found:
            raise ValueError(f"No pictures ({', '.join(PICTURES)}) in {path}")
        for file in found:
            inside = file.relative_to(path)
            yield Question(str(inside), {input_name: _picture(file)}, inside.parts[0] if inside.parts[1:] else None)


def pictures_of_table(table: Path, rows: list[dict[str, str]], input_name: str) -> Iterator[Question]:
    """The pictures that a CSV file names in its column ``file``, relative to itself."""
    truth = truth_column(list(rows[0]), ["file"])
    for row in rows:
        picture = _picture(table.parent / row["file"])
        yield Question(row["file"], {input_name: picture}, row[truth] if truth else None)


def text_lines(texts: str | bytes | Iterable[str | bytes]) -> list[str]:
    """The texts as str; bytes that are no UTF-8 are kept. ValueError for what is no text, and for none."""
    lines = [texts] if isinstance(texts, (str, bytes)) else list(texts)
    for number, line in enumerate(lines):
        if not isinstance(line, (str, bytes)):
            raise ValueError(
                f"text {number} is neither str nor bytes. Received: {line!r} of type {type(line).__name__}"
            )
    if not lines:
        raise ValueError("Give at least one text")
    return [line.decode("utf-8", "surrogateescape") if isinstance(line, bytes) else line for line in lines]


def texts(lines: Iterable[str], input_name: str) -> Iterator[Question]:
    """Each text."""
    return (Question(line, {input_name: line}) for line in lines)


def read_texts(path: Path) -> list[str]:
    """The lines of a file that are not empty. ValueError if there is none. Bytes that are no UTF-8 are kept."""
    lines = path.read_bytes().decode("utf-8-sig", "surrogateescape").split("\n")
    if not (found := [line.removesuffix("\r") for line in lines if line.strip()]):
        raise ValueError(f"{path} has no lines of text")
    return found


def rows_of_table(rows: list[dict[str, str]], signature: Signature) -> Iterator[Question]:
    """Each row, its columns matched by name to the signature's inputs."""
    by_identifier = {_identifier(column): column for column in rows[0]}
    columns = {
        name: by_identifier[_identifier(name)] for name in signature.inputs if _identifier(name) in by_identifier
    }
    text = columns.get(_text_input(signature))
    truth = truth_column(list(rows[0]), columns.values())
    if truth and not any(row[truth] for row in rows):
        truth = None  # running text has none, and its column is empty
    for number, row in enumerate(rows, start=1):
        values = {
            name: _parsed(row[column], signature.inputs[name], f"row {number}, column {column!r}")
            for name, column in columns.items()
        }
        shown = _row_shown(number, row, columns.values()) if text is None else row[text]
        yield Question(shown, values, row[truth] if truth else None)


def with_settings(
    questions: Sequence[Question], name: str, signature: Signature, settings: Mapping[str, object]
) -> list[Question]:
    """The questions with the inputs of the signature that they lack: one value for all, as set, else the usual one.

    A str is read as the input's dtype. ValueError for a setting that is no input or is asked for already, and for an
    input that is not set.
    """
    asked = questions[0].values
    for each in settings:
        if each not in signature.inputs or each in asked:
            what = "the questions have it already" if each in asked else f"{name!r} takes {_inputs(signature)}"
            raise ValueError(f"setting {each}: {what}{nearest(each, signature.inputs.keys() - asked.keys())}")
    further = {
        each: _parsed(value, signature.inputs[each], f"setting {each}") if isinstance(value, str) else value
        for each, value in settings.items()
    }
    lacking = [each for each in signature.inputs if each not in {*asked, *further, *signature.defaults}]
    if unknown := [each for each in lacking if each not in USUAL]:
        raise ValueError(f"The signature {name!r} also takes {', '.join(unknown)}. Set it: {unknown[0]}=VALUE")
    further |= {each: USUAL[each] for each in lacking}
    return [replace(question, values={**question.values, **further}) for question in questions]


def read_table(path: Path, limit: int | None = None) -> list[dict[str, str]]:
    """The rows of a CSV file with a header, by column name. ValueError for one that has no rows or ragged ones.

    Blanks behind commas are no part of a value where the header has such, too. Bytes that are no UTF-8 are kept.
    """
    csv.field_size_limit(LONGEST_FIELD)
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        has_blanks = any(column.startswith(" ") for column in next(csv.reader(file), []))
        file.seek(0)
        reader = csv.DictReader(file, skipinitialspace=has_blanks)
        rows = []
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"{path}, line {reader.line_num}: the header has {len(reader.fieldnames)} columns")
            rows.append(row)
            if len(rows) == limit:
                break
    if not rows:
        raise ValueError(f"{path} has no rows below its header")
    return rows


def parse_row(text: str) -> dict[str, str]:
    """``bmi=32.1,age=59`` by name."""
    pairs = [pair.partition("=") for pair in next(csv.reader([text], skipinitialspace=True))]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise ValueError(f"A row is written name=value,name=value. Received: {text!r}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def parse_settings(settings: Iterable[str]) -> dict[str, str]:
    """``max_new_tokens=40`` and others by name."""
    pairs = [setting.partition("=") for setting in settings]
    if wrong := [name for name, equals, _ in pairs if not name.strip() or not equals]:
        raise ValueError(f"A setting is written --set name=value. Received: {wrong[0]!r}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def truth_column(columns: Sequence[str], used: Iterable[str]) -> str | None:
    """``label`` or ``target``, or the only column that is no input."""
    left = [column for column in columns if column not in set(used)]
    named = [column for column in left if column.lower() in _TRUTH_COLUMNS]
    if named:
        return named[0]
    return left[0] if len(left) == 1 else None


def stack(questions: Sequence[Question], signature: Signature) -> dict[str, list]:
    """The questions as one batch: a list per input, with a size-one dimension where a column is declared with one."""
    return {
        name: [_in_rank(_read(question.values[name]), signature.inputs[name]) for question in questions]
        for name in questions[0].values
    }


def takes_one_string(signature: Signature) -> bool:
    """One input, a string for each row, and none that is a serialized tf.Example."""
    specs = list(signature.inputs.values())
    return (
        signature.method_name in ("", _PREDICT)
        and len(specs) == 1
        and specs[0].dtype == "string"
        and next(iter(signature.inputs)) not in EXAMPLES
    )


def _text_input(signature: Signature) -> str | None:
    """The only string that a signature takes, if it is neither the bytes of a picture nor a serialized tf.Example."""
    strings = [name for name, spec in signature.inputs.items() if spec.dtype == "string"]
    is_text = signature.method_name in ("", _PREDICT) and len(strings) == 1
    return strings[0] if is_text and not strings[0].endswith("bytes") and strings[0] not in EXAMPLES else None


def _named(metadata: ModelMetadata, name: str) -> Signature:
    if name not in metadata.signatures:
        raise ValueError(f"{metadata.name} has no signature {name!r}. It has {_all(metadata)}")
    return metadata.signatures[name]


def _picture(path: Path) -> Path:
    """The path of a file that begins as pictures do. ValueError, or OSError, for any other."""
    with path.open("rb") as file:
        head = file.read(12)
    if not _PICTURE.match(head):
        begins = f"begins with {head!r}" if head else "is empty"
        raise ValueError(f"{path} is no picture: it {begins}. Accepted: PNG, JPEG, GIF, BMP, WebP, JPEG XL")
    return path


def _read(value: object) -> object:
    return value.read_bytes() if isinstance(value, Path) else value


def _in_rank(value: object, spec: TensorSpec) -> object:
    return [value] if spec.shape is not None and len(spec.shape) == 2 else value


def _parsed(text: str, spec: TensorSpec, where: str) -> object:
    try:
        if spec.dtype == "string":
            return text
        if spec.dtype == "bool":
            return {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()]
        return int(text) if "int" in spec.dtype else float(text)
    except (ValueError, KeyError):
        raise ValueError(f"{where}: {text!r} is no {spec.dtype}") from None


def _identifier(column: str) -> str:
    """A column's name as a signature can have it: ``mean radius`` is the input ``mean_radius``."""
    return re.sub(r"\W+", "_", column.strip()).lower()


def _row_shown(number: int, row: Mapping[str, str], columns: Iterable[str]) -> str:
    pairs = [f"{column}={row[column]}" for column in columns]
    return f"{number}: " + ", ".join(pairs[:3]) + (", …" if len(pairs) > 3 else "")


def _inputs(signature: Signature) -> str:
    return ", ".join(f"{name}: {spec}" for name, spec in signature.inputs.items())


def _all(metadata: ModelMetadata) -> str:
    return "; ".join(f"{name} ({_inputs(signature)})" for name, signature in metadata.signatures.items())
