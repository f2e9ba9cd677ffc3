"""Checks of data before anything is trained on it: what cannot be read, what is there twice, what leaks into a test.

All is read once, as training would read it. Of an example only digests and sizes are kept, about 50 bytes; of a folder
also the names of its files. So data larger than memory can be checked.

>>> from recipes.data.checks import check_data
>>> report = check_data("digits")
>>> report.ok, report.examples
(True, {'train': 1437, 'test': 360})
"""

from recipes.data import loading, targets
from recipes.data.checks.files import check_folder
from recipes.data.checks.opened import check_source, task_of
from recipes.data.checks.report import DataReport, Finding, Place, Spread
from recipes.data.checks.survey import Survey
from recipes.data.checks.tables import check_csv
from recipes.data.prepared import find_builder

__all__ = ["DataReport", "Finding", "Place", "Spread", "check_data"]

TASKS_OF_SUFFIXES = {".txt": "language-modeling", ".json": "object-detection"}


def check_data(
    data, *, task: str | None = None, text: str | None = None, target: str | None = None, data_dir=None, verbose=True
) -> DataReport:
    """Read data once and report what is wrong with it, and what is worth to know.

    Errors are files and cells that training refuses, the same input in two parts, the same picture or text under
    several labels. Remarks are copies within a part, classes of very different sizes (10 to 1) or missing in a part,
    columns of a single value, files that nothing reads. Pictures are compared by their decoded pixels, rows of tables
    as float32, texts without the blanks around them; where the target is no class, together with the target.

    Args:
        data: what a recipe takes as data. Folders and CSV files may be broken; what else cannot be opened raises.
        task: for which it is read, such as "image-classification". None: for which its files or features are fit;
            arrays and data sets need one.
        text, target: names of columns or features, as in the recipes.
        data_dir: where TFDS data lies.
        verbose: show progress at a terminal.

    Raises:
        ValueError: nothing that can be opened for that task.
    """
    if task is not None:
        targets.kind(task)
    return _survey(data, task, text, target, data_dir, verbose).report()


def _survey(data, task, text, target, data_dir, verbose) -> Survey:
    path = loading.path_of(data, data_dir)
    if path and path.is_dir():
        return check_folder(path, task, verbose)
    if path and path.suffix.lower() not in TASKS_OF_SUFFIXES:
        return check_csv(path, task, text, target, verbose)
    if task is None and path:
        task = TASKS_OF_SUFFIXES[path.suffix.lower()]
    elif task is None and isinstance(data, str):
        task = task_of(find_builder(data, data_dir))
    elif task is None:
        raise ValueError(f"Say task=…, for which the {type(data).__name__} is meant: {', '.join(targets.TASKS)}.")
    names = {"target": target} | ({"text": text} if targets.reads_text(task) else {})
    source = loading.open_source(data, task=task, names=names, data_dir=data_dir, splits={})
    return check_source(source, task, verbose)
