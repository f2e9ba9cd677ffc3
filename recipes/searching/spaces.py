"""What is searched for a task where nobody says otherwise, and by which figure trials are judged."""

from collections.abc import Mapping
from typing import Any

from recipes.config import BUILDER_OPTIONS, Config
from recipes.searching.space import Numbers, Space, Values

_TRAINING = {
    "learning_rate": Numbers(1e-4, 1e-1, log=True),
    "batch_size": Values((16, 32, 64, 128)),
    "optimizer": Values(("adam", "adamw", "momentum")),
    "schedule": Values(("constant", "cosine")),
    "weight_decay": Numbers(1e-6, 1e-2, log=True),
    "dropout": Numbers(0.0, 0.5),
}
_SMOOTHED = _TRAINING | {"label_smoothing": Numbers(0.0, 0.2)}
# Transformers and recurrent networks bear smaller steps.
_TEXT = _TRAINING | {"learning_rate": Numbers(1e-5, 1e-2, log=True), "clip_norm": Values((0.5, 1.0, 5.0))}

SPACES: dict[str, Space] = {
    "regression": _TRAINING,
    "binary-classification": _SMOOTHED,
    "image-classification": _SMOOTHED | {"mixup": Numbers(0.0, 0.4), "stochastic_depth": Numbers(0.0, 0.3)},
    "text-classification": _TEXT | {"label_smoothing": Numbers(0.0, 0.2)},
    "token-classification": _TEXT,
    "language-modeling": _TEXT,
    "masked-language-modeling": _TEXT,
    "sequence-to-sequence": _TEXT | {"label_smoothing": Numbers(0.0, 0.2)},
    "semantic-segmentation": _TRAINING | {"batch_size": Values((4, 8, 16, 32))},
    "object-detection": _TRAINING | {"batch_size": Values((4, 8, 16, 32)), "clip_norm": Values((1.0, 10.0))},
    "domain-adaptation": _TRAINING | {"adaptation": Numbers(0.1, 3.0, log=True)},
    "style-transfer": {"learning_rate": Numbers(1e-4, 1e-2, log=True), "batch_size": Values((4, 8, 16))},
    "image-generation": {
        "learning_rate": Numbers(1e-5, 1e-3, log=True),
        "batch_size": Values((32, 64, 128)),
        "partner_rate": Numbers(0.25, 4.0, log=True),
        "beta_1": Values((0.0, 0.5, 0.9)),
    },
}

OBJECTIVES = {
    "binary-classification": "val_accuracy",
    "image-classification": "val_accuracy",
    "text-classification": "val_accuracy",
    "token-classification": "val_accuracy",
    "semantic-segmentation": "val_mean_iou",
    "regression": "val_mae",
    "sequence-to-sequence": "val_perplexity",
    "image-generation": "frechet",
}
"""Those of other tasks are judged by `val_loss`. Where options change the loss itself, it says nothing."""


def usual(task: str, fixed: Mapping[str, Any], arguments) -> dict[str, Values | Numbers]:
    """The space of a task, without the options that are fixed, and those that the model's builder does not take.

    Args:
        task: its name.
        fixed: options that every trial has.
        arguments: of the builder.
    """
    takes = {name for name in SPACES[task] if name not in BUILDER_OPTIONS or name in arguments}
    return {name: of for name, of in SPACES[task].items() if name in takes and name not in fixed}


def objective(task: str, config: Config) -> str:
    """By what trials of a task are judged."""
    return config.monitor or OBJECTIVES.get(task, "val_loss")
