"""Trainings that come to grief, each at another moment: `python -m tests.recipes.doomed_trainer FOLDER TRAINING…`.

A TRAINING is a case, a run's folder and a moment, such as "text/run step 7": "step N" and "test N", at whose end it
sends itself SIGKILL (the step is counted over the whole training); "sync N", in place of the N-th writing to the disk,
before (odd) or after (even) a checkpoint has its name; "saving", when all is trained; "full N", the step from whose end
on no file can be written any more; "never". It resumes what was stopped in its folder.

One process imports TensorFlow and forks one for every training. Prints for each what became of it: "killed", "trained",
or its error.
"""

import os
import sys
from pathlib import Path

import recipes
import zoo
from recipes import pipeline, plots
from recipes.callbacks import SignalsBetweenSteps, StopOnNonFiniteLoss
from recipes.folders import staging_of
from recipes.run import Run
from tests import raw_data
from tests.export.doomed_publisher import die, fill_the_disk

EVERY = {"epochs": 3, "batch_size": 4, "validation": 0.125, "test": 0.125, "checkpoint_every": "2steps"}
STEPS = 5 * EVERY["epochs"]
"""Of every training: 18 examples are left, the last batch of an epoch has two."""
OF_SOME_TASKS = {"samples": 2, "max_length": 16, "measured": 8, "compare": False, "judge": None}
TASKS = {
    "image": ("mlp", "image-classification", {
        "dropout": 0.3, "augment": ("flip",), "ema": 0.8, "gradient_accumulation": 3,
        "schedule": "cosine", "warmup_epochs": 1.0, "clip_norm": 1.0,
    }),
    "residual": ("resnet20", "image-classification", {"augment": ("shift", "rand_augment"), "mixup": 0.3, "ema": 0.8}),
    "streamed": ("mlp", "image-classification", {"dropout": 0.5, "optimizer": "nesterov", "patience": 2}),
    "frozen": ("vgg11", "image-classification", {"freeze": "backbone", "unfreeze_at": 1, "ema": 0.9, "patience": 1}),
    "float16": ("lenet5", "image-classification", {"precision": "float16"}),
    "rows": ("linear_regression", "regression", {"optimizer": "rmsprop", "patience": 2}),
    "classes": ("logistic_regression", "binary-classification", {"weight_decay": 0.1}),
    "adaptation": ("dann", "domain-adaptation", {"augment": ("flip",), "schedule": "annealed"}),
    "pair": ("wgan_gp", "image-generation", {"critic_steps": 2, "ema": 0.9}),
    "vae": ("vae", "image-generation", {}),
    "detector": ("faster_rcnn_small", "object-detection", {"augment": ("flip", "contrast")}),
    "masks": ("unet", "semantic-segmentation", {"augment": ("flip",)}),
    "style": ("style_transfer", "style-transfer", {
        "style": "gravel", "image_size": 24, "perception": "random",
        "perception_args": {"depths": (1,) * 5, "widths": (4,) * 5},
    }),
    "text": ("text_cnn", "text-classification", {"dropout": 0.3}),
    "recurrent": ("bilstm", "text-classification", {"dropout": 0.3}),
    "tags": ("bert_tiny", "token-classification", {"dropout": 0.3, "optimizer": "adamw"}),
    "language": ("transformer_xl", "language-modeling", {"segments": 2}),
    "masked": ("bert_tiny", "masked-language-modeling", {}),
    "sequence": ("seq2seq_lstm", "sequence-to-sequence", {}),
}  # fmt: skip


def recipe_of(task: str):
    """The recipe of a task."""
    return getattr(recipes, task.replace("-", "_"))


def train(case: str, folder: Path, resume: bool, **others) -> Run:
    """Train one of `TASKS`, perhaps with other options than those."""
    name, task, own = TASKS[case]
    spec, recipe = zoo.spec(name), recipe_of(task)
    known = recipe.config.__dataclass_fields__
    options = EVERY | {k: v for k, v in OF_SOME_TASKS.items() if k in known} | own | others
    data = raw_data.of_task(task, spec)
    if task == "domain-adaptation":
        options["target_data"] = (255 - data[0], data[1])
    decided = ("input_shape", "image_shape", "num_classes", "vocabulary_size")
    given = {k: v for k, v in {**spec.tiny, **spec.task_argument(task)}.items() if k not in decided}
    if "freeze" in own:
        options["weights"] = start(folder.with_name("start"), name, data, given)
    if case == "streamed":
        pipeline.MEMORY_LIMIT = 0
    return recipe(name, data, run_dir=str(folder), resume=resume, model_args=given, verbose=False, **options)


def start(folder: Path, name: str, data, given: dict) -> str:
    """A Run to begin with, and its folder."""
    if not folder.exists():
        recipes.image_classification(name, data, run_dir=str(folder), epochs=1, model_args=given, verbose=False)
    return str(folder)


def disturb(kind: str, number: int) -> None:
    """Let a moment come."""
    if kind in ("step", "full"):
        home, name = StopOnNonFiniteLoss, "on_train_batch_end"
    else:
        home, name = {
            "test": (SignalsBetweenSteps, "on_test_batch_end"), "sync": (os, "fsync"), "saving": (Run, "save"),
        }[kind]  # fmt: skip
    original, calls = getattr(home, name), 0

    def disturbed(*args, **kwargs):
        nonlocal calls
        calls += 1
        at = args[0]._epoch * args[0].steps + args[1] + 1 if kind in ("step", "full") else calls
        if at == number:
            (fill_the_disk if kind == "full" else die)()
        return original(*args, **kwargs)

    setattr(home, name, disturbed)


def come_to_grief(folder: Path, case: str, kind: str, number: int) -> None:
    """Train, if there is anything left to train, in a process of its own, and let what is to happen happen."""
    if folder.exists():
        print("trained", flush=True)
        return
    plots.draw = lambda *arguments: None
    resume = staging_of(folder).exists()
    if kind != "never":
        disturb(kind, number)
    try:
        train(case, folder, resume)
        said = "trained"
    except Exception as error:  # of any kind: the test judges it
        said = f"{type(error).__name__}: {error}".replace("\n", " ")
    print(said, flush=True)


def main() -> None:
    base = Path(sys.argv[1])
    for _, task, _ in TASKS.values():
        recipe_of(task)  # loaded once, for all trainings
    for training in sys.argv[2:]:
        place, kind, number = f"{training} 1".split(" ")[:3]
        child = os.fork()
        if not child:
            come_to_grief(base / place, place.partition("/")[0], kind, int(number))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            print("killed", flush=True)


if __name__ == "__main__":
    main()
