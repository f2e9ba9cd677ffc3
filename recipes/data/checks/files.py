"""Folders of pictures or texts: every file is read as training would read it, and what cannot be read is noted."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from recipes.data import annotated, folder, targets, texts
from recipes.data.checks import inspecting
from recipes.data.checks.inspecting import Seen, Unusable
from recipes.data.checks.progress import shown
from recipes.data.checks.survey import Survey
from recipes.data.parts import NAMES

KINDS = {"image": ("picture", "PNG or JPEG"), "text": ("text", texts.SUFFIX)}
"""What files are called in errors."""


@dataclass(frozen=True)
class Layout:
    """What lies where in a folder.

    Attributes:
        task: that reads it.
        has_classes: whether each file's class is the folder it lies in, below its part's.
        beside: names of what lies in a part's folder and belongs to the pictures.
    """

    task: str
    has_classes: bool
    beside: tuple[str, ...] = ()

    @property
    def is_wanted(self) -> Callable[[Path], bool]:
        """Whether a file is named like one that is read."""
        return texts.is_text if targets.reads_text(self.task) else folder.is_picture


def layout_of(path: Path, task: str | None) -> Layout:
    """How a folder is laid out for a task; of None, for the task that its files are fit for.

    Raises:
        ValueError: nothing there to be read, or a task that no folder serves.
    """
    roots = folder.part_folders(path).values()
    if task is None:
        if all((root / annotated.ANNOTATIONS).is_file() for root in roots):
            task = "object-detection"
        elif all((root / name).is_dir() for root in roots for name in (annotated.PICTURES, annotated.MASKS)):
            task = "semantic-segmentation"
        else:
            task = _task_of_files(path, roots)
    kind = targets.kind(task)
    if kind in ("values", "tags", "text"):
        raise ValueError(f"A folder cannot hold what {task} learns from. Accepted: a CSV file, a TFDS name, arrays.")
    return Layout(task, kind == "class", {"mask": (annotated.MASKS,), "boxes": (annotated.ANNOTATIONS,)}.get(kind, ()))


def _task_of_files(path: Path, roots) -> str:
    for is_wanted, with_classes, without in (
        (folder.is_picture, "image-classification", "image-generation"),
        (texts.is_text, "text-classification", "language-modeling"),
    ):
        found = [(file, root) for root in roots for file in visible_files(root) if is_wanted(file)]
        if found:
            return with_classes if len({class_of(*pair) for pair in found} - {None}) > 1 else without
    raise ValueError(f"{path} holds neither pictures (PNG, JPEG) nor texts (.txt).")


def visible_files(root: Path) -> Iterator[Path]:
    """All files below a folder, sorted, but those that are hidden or in hidden folders; broken links, too."""
    for parent, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")) and not _is_loop(parent, name))
        yield from (Path(parent, name) for name in sorted(files) if not name.startswith("."))


def _is_loop(parent: str, name: str) -> bool:
    """Whether a folder is a link to one that it lies in."""
    return Path(parent).resolve().is_relative_to(Path(parent, name).resolve())


def class_of(file: Path, root: Path) -> str | None:
    """The class of a file, which is the folder that it lies in, if that lies in the part's."""
    return file.parent.name if file.parent.parent == root else None


def check_folder(path: Path, task: str | None, verbose: bool) -> Survey:
    """Read every file of a folder once.

    Raises:
        ValueError: as `layout_of`.
    """
    layout = layout_of(path, task)
    roots = folder.part_folders(path)
    files, ignored = _sorted_out(roots, layout)
    names = [file.path.relative_to(path).as_posix() for file in files]
    is_text = targets.reads_text(layout.task)
    parts = [part for part in NAMES if part in roots]
    survey = Survey(str(path), layout.task, "text" if is_text else "image", parts, lambda _, i: names[i])
    found = inspecting.several(files, _reading(inspecting.text if is_text else inspecting.picture))
    for i, (file, seen) in enumerate(shown(found, len(files), "Reading files", verbose)):
        if isinstance(seen, Unusable):
            survey.note(seen.kind, names[i], detail=seen.reason)
        else:
            survey.example(file.part, i, seen, file.label)
    for file in ignored:
        survey.note("ignored", file.relative_to(path).as_posix(), detail="" if file.exists() else "broken link")
    if refusal := _refusal(path, layout, survey):
        survey.note("refused", detail=refusal)
    return survey


@dataclass(frozen=True)
class File:
    """A file that training reads, its part and its class."""

    path: Path
    part: str
    label: str | None


def _sorted_out(roots: Mapping[str, Path], layout: Layout) -> tuple[list[File], list[Path]]:
    """The files that training reads, those of the training part first; and the others."""
    files, others = [], []
    for part, root in sorted(roots.items(), key=lambda pair: NAMES.index(pair[0])):
        for path in visible_files(root):
            label = class_of(path, root) if layout.has_classes else None
            if path.relative_to(root).parts[0] in layout.beside:
                continue
            if layout.is_wanted(path) and (label or not layout.has_classes):
                files.append(File(path, part, label))
            else:
                others.append(path)
    return files, others


def _reading(inspect: Callable[[bytes], Seen]) -> Callable[[File], Seen]:
    """What is seen of a file."""

    def read(file: File) -> Seen:
        try:
            return inspect(file.path.read_bytes())
        except OSError as error:
            raise Unusable("unreadable", error.strerror or type(error).__name__) from None

    return read


def _refusal(path: Path, layout: Layout, survey: Survey) -> str | None:
    """What training says against the folder as a whole, if it does."""
    try:
        if layout.has_classes:
            listed = folder.listed_classes(path, layout.is_wanted, *KINDS[survey.kind])
            counts = [len(listed["train"][label]) for label in folder.labels_of(path, listed)]
            targets.check_classes(str(path), counts, sorted(listed["train"]), layout.task)
        elif layout.beside and not survey.has_errors():  # reads all the pictures once more
            annotated.open_folder(path, task=layout.task)
    except ValueError as error:
        return str(error)
    return None
