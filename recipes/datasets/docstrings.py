"""Running text that is on every machine: the docstrings of Python and of the packages that this one needs.

The files are parsed, never imported, so nothing runs and nothing is missed for want of an optional import. What is kept
is prose: whole sentences in English, without code, tables, lists and markup.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import inspect
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

SKIPPED_FOLDERS = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo", "_vendor"}

# By the name under which each is imported, its name on PyPI and its licence.
_PUBLISHED = {
    "aiohttp": ("aiohttp", "Apache 2.0"),
    "keras": ("keras", "Apache 2.0"),
    "matplotlib": ("matplotlib", "matplotlib's own, as the PSF's"),
    "numpy": ("numpy", "BSD"),
    "pandas": ("pandas", "BSD"),
    "scipy": ("scipy", "BSD"),
    "sklearn": ("scikit-learn", "BSD"),
    "tensorflow": ("tensorflow", "Apache 2.0"),
    "urllib3": ("urllib3", "MIT"),
}

# The sections of numpydoc that list names. Those of Google's style are indented, which prose is not.
_LISTS = {"attributes", "examples", "methods", "other parameters", "parameters", "raises", "receives", "references"}
_LISTS |= {"returns", "see also", "warns", "yields"}
_UNDERLINE = re.compile(r"([-=~^*\"])\1{2,}")
_ROLE = re.compile(r":[\w:+-]+:(`[^`]+`)")
_QUOTED = re.compile(r"`+~?\.?([^`]+?)(?: <[^`>]*>)?`+_*")
_END = re.compile(r"(?<=[.!?]) (?=[A-Z])(?<!e\.g\. )(?<!i\.e\. )(?<!cf\. )(?<!vs\. )(?<!al\. )")
_SENTENCE = re.compile(r"[A-Z][A-Za-z0-9 ,;:'’()/.!?\"–—-]*[.!?]")
_WORD = re.compile(r"\(?\"?[A-Za-z]+(['’-][A-Za-z]+)*[\"),.;:!?]*")
FEWEST_WORDS, MOST_WORDS = 6, 50
SHARE_OF_WORDS = 0.9


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The installed version of each package, by name; `python` is the standard library."""
    return {p: importlib.metadata.version(_PUBLISHED[p][0]) if p in _PUBLISHED else _PYTHON for p in packages}


def licences(packages: Iterable[str]) -> str:
    """Under which licence each package is published, in one line."""
    return "; ".join(f"{p}: {_PUBLISHED[p][1] if p in _PUBLISHED else 'PSF'}" for p in packages)


_PYTHON = platform.python_version()


@functools.cache
def modules(package: str, beginning: str = "") -> dict[str, list[list[str]]]:
    """The modules of a package in which there is prose: by the path of the file, such as `numpy/linalg/_linalg.py`, its
    paragraphs, each a list of sentences. `beginning` is a regular expression that paths must begin with.
    """
    root = _root(package)
    paths = [path for path in sorted(root.rglob("*.py")) if not SKIPPED_FOLDERS & set(path.relative_to(root).parts)]
    named = {f"{package}/{path.relative_to(root).as_posix()}": path for path in paths}
    found = {
        module: [text for one in _docstrings(path) for text in prose(one)]
        for module, path in named.items()
        if re.match(beginning, module)
    }
    return {module: paragraphs for module, paragraphs in found.items() if paragraphs}


def _root(package: str) -> Path:
    if package == "python":
        return Path(sysconfig.get_path("stdlib"))
    return Path(importlib.util.find_spec(package).submodule_search_locations[0])


def _docstrings(path: Path) -> list[str]:
    """The docstrings in a file, in order; none of a file that this Python cannot parse."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return []
    texts = (ast.get_docstring(node, clean=False) for node in _documented(tree))
    return [inspect.cleandoc(text) for text in texts if text]


def _documented(node: ast.AST) -> Iterator[ast.AST]:
    """A module, class or function, and the classes and functions in its body."""
    yield node
    for statement in node.body:
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _documented(statement)


def prose(docstring: str) -> list[list[str]]:
    """The paragraphs of a docstring that are running text, each as the list of its sentences."""
    paragraphs, in_list = [], False
    for block in re.split(r"\n\s*\n", docstring):
        lines = block.strip("\n").splitlines()
        if len(lines) > 1 and _UNDERLINE.fullmatch(lines[1].strip()):
            in_list = lines[0].strip().lower() in _LISTS
            lines = lines[2:]
        if in_list or any(_is_no_prose(line) for line in lines):
            continue
        sentences = [text for text in _END.split(_without_markup(" ".join(lines))) if _is_sentence(text)]
        if sentences:
            paragraphs.append(sentences)
    return paragraphs


def _is_no_prose(line: str) -> bool:
    """Whether a line is indented, or of code, a list, a table or a directive."""
    return line.startswith((" ", "\t", ">>>", "..", "- ", "* ", "+ ", "|", ":", "@", "#", "$")) or "::" in line


def _without_markup(text: str) -> str:
    return " ".join(_QUOTED.sub(r"\1", _ROLE.sub(r"\1", text)).replace("**", "").split())


def _is_sentence(text: str) -> bool:
    """Whether a text is one whole sentence, nearly all of it plain words."""
    words = text.split()
    is_whole = _SENTENCE.fullmatch(text) and text.count("(") == text.count(")")
    plain = sum(_WORD.fullmatch(word) is not None for word in words)
    return bool(is_whole) and FEWEST_WORDS <= len(words) <= MOST_WORDS and plain >= SHARE_OF_WORDS * len(words)


def share(name: str) -> float:
    """A number in [0, 1) that depends on a name alone, by which it goes to one part or another."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
