"""How to ask the same from a shell, and from Python. Pure functions from a request, as JSON, to text."""

import base64
import json
import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from serving.tls import Tls

NOTHING: Mapping[str, str] = MappingProxyType({})
LONGEST_ARGUMENT = 100_000  # characters; Linux takes 131,072

_CURL_TLS = "--cacert", "--cert", "--key"
_PYTHON_TLS = "ca", "certificate", "key"


def curl_line(
    rest_url: str,
    model: str,
    signature: str,
    inputs: Mapping[str, object],
    files: Mapping[str, str] = NOTHING,
    tls: "Tls | None" = None,
) -> str:
    """A command that sends the request over REST. ``files`` names the file that holds the bytes of an input.

    Files are piped in, so that they may be of any size.
    """
    url = shlex.quote(f"{rest_url}/v1/models/{quote(model, safe='')}:predict")
    curl = " ".join(["curl", *(f"{flag} {_path(file)}" for flag, file in _pem_files(tls, *_CURL_TLS)), url])
    body = json.dumps({"signature_name": signature, "inputs": _with_marks(inputs, files)}, ensure_ascii=False)
    if not files:
        if len(body) <= LONGEST_ARGUMENT:
            return f"{curl} -d {shlex.quote(body)}"
        return f"{curl} -d @- <<'END'\n{body}\nEND"
    commands, rest = [], body
    for name, file in sorted(files.items(), key=lambda item: body.index(_mark(item[0]))):
        before, _, rest = rest.partition(_mark(name))
        commands += [f"printf %s {shlex.quote(before)}", f"base64 < {_path(file)} | tr -d '\\n'"]
    commands.append(f"printf %s {shlex.quote(rest)}")
    return f"({'; '.join(commands)}) | {curl} -d @-"


def python_lines(
    address: str,
    model: str,
    signature: str,
    inputs: Mapping[str, object],
    files: Mapping[str, str] = NOTHING,
    tls: "Tls | None" = None,
) -> str:
    """Lines that send the request through the client, over REST or gRPC, and print the answer."""
    values = {
        name: f"[Path({_literal(files[name])}).read_bytes()]" if name in files else _literal(value)
        for name, value in inputs.items()
    }
    arguments = ", ".join(f"{_literal(name)}: {value}" for name, value in values.items())
    asked = f"{_literal(model)}, {{{arguments}}}, signature={_literal(signature)}"
    known = ", ".join(f"{name}={_literal(file)}" for name, file in _pem_files(tls, *_PYTHON_TLS))
    return "\n".join(
        [
            *(["from pathlib import Path", ""] if files else []),
            f"from serving import Client{', Tls' if known else ''}",
            "",
            f"with Client({_literal(address)}{f', tls=Tls({known})' if known else ''}) as client:",
            f"    answer = client.predict({asked})",
            "print(answer)",
        ]
    )


def _pem_files(tls: "Tls | None", *names: str) -> list[tuple[str, str]]:
    """The files of ``tls``, each under its name: that of the authorities, of the certificate and of its key."""
    files = (tls.ca, tls.certificate, tls.key) if tls else ()
    return [(name, str(file)) for name, file in zip(names, files, strict=False) if file is not None]


def _with_marks(inputs: Mapping[str, object], files: Mapping[str, str]) -> dict[str, object]:
    """The inputs, with a mark where the base64 of a file is to stand: JSON would escape its NUL anywhere else."""
    return {name: [{"b64": _mark(name, escaped=False)}] if name in files else value for name, value in inputs.items()}


def _mark(name: str, *, escaped: bool = True) -> str:
    mark = f"\0{name}\0"
    return json.dumps(mark, ensure_ascii=False)[1:-1] if escaped else mark


def _path(file: str) -> str:
    """A file's name as an argument; one that begins with a dash is a file still."""
    return shlex.quote(f"./{file}" if file.startswith("-") else file)


def _literal(value: object) -> str:
    """JSON as Python writes it. A string of JSON with its characters as they are is one of Python, too."""
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return repr(base64.b64decode(value["b64"]))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
