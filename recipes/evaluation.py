"""Evaluate a finished Run again, on its own test part or on other data."""

import dataclasses

from recipes.data import targets
from recipes.run import Run
from recipes.tasks.binary_classification import BinaryClassification, binary_classification
from recipes.tasks.domain_adaptation import DomainAdaptation, domain_adaptation
from recipes.tasks.image_classification import ImageClassification, image_classification
from recipes.tasks.image_generation import ImageGeneration, image_generation
from recipes.tasks.language_modeling import LanguageModeling, language_modeling
from recipes.tasks.masked_language_modeling import MaskedLanguageModeling, masked_language_modeling
from recipes.tasks.object_detection import ObjectDetection, object_detection
from recipes.tasks.regression import Regression, regression
from recipes.tasks.semantic_segmentation import SemanticSegmentation, semantic_segmentation
from recipes.tasks.sequence_to_sequence import SequenceToSequence, sequence_to_sequence
from recipes.tasks.style_transfer import StyleTransfer, style_transfer
from recipes.tasks.text_classification import TextClassification, text_classification
from recipes.tasks.token_classification import TokenClassification, token_classification
from recipes.training import load_data

TASKS = {
    ImageClassification.name: (ImageClassification, image_classification.config),
    DomainAdaptation.name: (DomainAdaptation, domain_adaptation.config),
    BinaryClassification.name: (BinaryClassification, binary_classification.config),
    ImageGeneration.name: (ImageGeneration, image_generation.config),
    LanguageModeling.name: (LanguageModeling, language_modeling.config),
    MaskedLanguageModeling.name: (MaskedLanguageModeling, masked_language_modeling.config),
    ObjectDetection.name: (ObjectDetection, object_detection.config),
    Regression.name: (Regression, regression.config),
    SemanticSegmentation.name: (SemanticSegmentation, semantic_segmentation.config),
    SequenceToSequence.name: (SequenceToSequence, sequence_to_sequence.config),
    StyleTransfer.name: (StyleTransfer, style_transfer.config),
    TextClassification.name: (TextClassification, text_classification.config),
    TokenClassification.name: (TokenClassification, token_classification.config),
}


def evaluate(run: Run, data=None, *, data_dir: str | None = None) -> dict[str, float]:
    """Figures of a Run's bundle on the test part of some data, by name.

    Args:
        run: a finished Run.
        data: what a recipe takes as data, with the labels of the Run. None: the data of the Run, which must have been
            given by name or path.
        data_dir: where TFDS data sets lie; None: as when the Run was made.

    Raises:
        ValueError: other labels or columns than the Run's, or the Run's data is not there or has changed.
    """
    task_type, config_type = TASKS[run.bundle.task]
    config = config_type(**run.facts["options"])
    if data_dir is not None:
        config = dataclasses.replace(config, data_dir=data_dir)
    if data is None:
        data = run.facts["data"]["source"]
        if data is None and run.facts["evaluated_on"] is None:
            raise ValueError("The Run was made of published weights, without data. Say data=….")
        if data is None:
            raise ValueError("The Run was made from data in memory, which it did not keep. Say data=….")
        recorded = run.facts["data"]["fingerprint"]
    else:
        recorded = None
    source = load_data(data, task_type, config)
    if recorded not in (None, source.fingerprint):
        raise ValueError(
            f"{source.name!r} is not the data that the Run was made with: it has changed since. To evaluate on it all "
            "the same, say data=…; what is split off for the test may then be examples the Run was trained on."
        )
    if targets.kind(run.bundle.task) and (source.labels or ()) != run.bundle.labels:
        raise ValueError(
            f"The Run answers with the labels {', '.join(run.bundle.labels) or 'none'}. "
            f"{source.name!r} has: {', '.join(source.labels or ()) or 'none'}."
        )
    columns = getattr(run.bundle.preprocessing, "columns", None)
    if source.columns != columns:
        raise ValueError(f"The Run reads the columns {columns}. {source.name!r} has {source.columns}.")
    task = task_type(source, config)
    task.folder = run.dir
    task.adopt(run.model)
    return task.figures(*task.answers(run.bundle))
