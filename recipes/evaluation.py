"""Evaluate a finished Run again, on its own test part or on other data."""

import dataclasses

from recipes.run import Run
from recipes.tasks.binary_classification import BinaryClassification, binary_classification
from recipes.tasks.image_classification import ImageClassification, image_classification
from recipes.tasks.regression import Regression, regression
from recipes.training import answer_test_part, load_data

TASKS = {
    ImageClassification.name: (ImageClassification, image_classification.config),
    BinaryClassification.name: (BinaryClassification, binary_classification.config),
    Regression.name: (Regression, regression.config),
}


def evaluate(run: Run, data=None, *, data_dir: str | None = None) -> dict[str, float]:
    """Figures of a Run's bundle on the test part of some data, by name.

    Args:
        run: a finished Run.
        data: what a recipe takes as data, with the labels of the Run. None: the data of the Run, which must have been
            given by name or path.
        data_dir: where TFDS data sets lie; None: as when the Run was made.

    Raises:
        ValueError: other labels than the Run's, or the Run's data cannot be read again.
    """
    task_type, config_type = TASKS[run.bundle.task]
    config = config_type(**run.facts["options"])
    if data_dir is not None:
        config = dataclasses.replace(config, data_dir=data_dir)
    if data is None:
        data = run.facts["data"]["source"]
        if data is None:
            raise ValueError("The Run was made from data in memory, which it did not keep. Say data=….")
    source = load_data(data, task_type, config)
    if (source.labels or ()) != run.bundle.labels:
        raise ValueError(
            f"The Run answers with the labels {', '.join(run.bundle.labels) or 'none'}. "
            f"{source.name!r} has: {', '.join(source.labels or ()) or 'none'}."
        )
    answers, truth = answer_test_part(run.bundle, source)
    return task_type(source, config).figures(answers, truth)
