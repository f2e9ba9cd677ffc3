"""No recipe ignores an option of training in silence: each changes the weights, or is refused by name."""

import numpy as np
import pytest

from recipes.evaluation import TASKS as ALL
from tests.recipes import doomed_trainer

CASES = (
    "image", "rows", "classes", "adaptation", "pair", "vae", "detector", "masks", "style", "text", "tags", "language",
    "masked", "sequence",
)  # fmt: skip
PLAIN = {
    "epochs": 1, "checkpoint_every": "1h", "ema": None, "gradient_accumulation": 1, "clip_norm": None,
    "schedule": "constant", "warmup_epochs": 0.0, "weight_decay": None, "optimizer": "adam",
}  # fmt: skip
OTHERS = {
    "learning_rate": 0.05, "optimizer": "momentum", "schedule": "cosine", "warmup_epochs": 1.0, "weight_decay": 0.5,
    "l1": 0.1, "l2": 0.1, "clip_norm": 1e-4, "ema": 0.5, "gradient_accumulation": 2, "precision": "bfloat16",
    "shuffle": False, "seed": 1, "batch_size": 5, "class_weights": "balanced",
}  # fmt: skip


def weights(case, folder, **options):
    return doomed_trainer.train(case, folder, resume=False, **PLAIN | options).model.get_weights()


def test_every_recipe_is_among_the_cases():
    assert {doomed_trainer.TASKS[case][1] for case in CASES} == set(ALL)


@pytest.mark.slow  # some fifteen trainings of five steps for every recipe
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", CASES)
def test_every_option_has_an_effect_or_is_refused_by_name(case, tmp_path):
    plain, ignored = weights(case, tmp_path / "plain"), []
    for name, value in OTHERS.items():
        try:
            other = weights(case, tmp_path / name, **{name: value})
        except ValueError as error:
            ignored += [] if name in str(error) else [f"{name}: {error}"]
            continue
        if all(np.array_equal(a, b) for a, b in zip(plain, other, strict=True)):
            ignored.append(name)
    assert not ignored
