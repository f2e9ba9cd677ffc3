"""What the variants of a version are worth beside the plain one: time, error, size, load and first request.

    python benchmarks/export.py                             # ten networks, each trained for a moment on real data
    python benchmarks/export.py --models lenet5,lstm        # some of them
    python benchmarks/export.py --keep runs                 # their Runs are kept there, and taken from there
    python benchmarks/export.py --runs runs/lenet5 runs/bert    # Runs that are there
    python benchmarks/export.py --models mobilenet_v2 --companions litert,onnx    # at serving_default alone

Every Run is published with all variants: see `export.choosing`. Each line is a variant that proved itself: its times
are in proportion to those of the plain version, which were taken in turns in one process, of `serving_default`, the
signature that a plain `model.export()` has, and as geometric means over all signatures, those that decode pictures or
write sentences among them. Less than 1 is better. Its error is the largest difference of an output from Keras'. The
last lines are the geometric means of what is published of each model: at batch 1 for the least latency there, at batch
8 for the most throughput there, over all signatures; the plain version where nothing gains 5 %. In float32, and with
bfloat16 where that has proved itself.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

# Python puts a script's own folder first on the path, and there this script is what "export" means.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import export  # noqa: E402 - only now is it the package
import recipes  # noqa: E402
from export import timing  # noqa: E402
from export.choosing import GAIN  # noqa: E402
from export.variants import PLAIN, VARIANTS  # noqa: E402
from export.version import DEFAULT  # noqa: E402

BATCH_SIZES = (1, 8)
SIZES = len(BATCH_SIZES)
PLAIN_ROW = [1.0] * 2 * SIZES
"""What `relative` gives for the plain version."""
MOMENT = {"epochs": 1, "batch_size": 8, "verbose": False}
PICTURES = {"image_size": (224, 224), "channels": 3, "train_split": "train[:128]", "test_split": "test[:256]"}
SCENES = "digit_scenes/small/count=1600"  # and 267 to test: fewer than 256 do not prove a reduced precision
MODELS = {
    "lenet5": ("image_classification", "digits", {}),
    "mobilenet_v2": ("image_classification", "digits", PICTURES),
    "resnet50": ("image_classification", "digits", PICTURES),
    "densenet121": ("image_classification", "digits", PICTURES),
    "efficientnet_b0": ("image_classification", "digits", PICTURES),
    "lstm": ("text_classification", "sentences", {"train_split": "train[:10%]"}),
    "bert_small": ("text_classification", "sentences", {"train_split": "train[:2%]"}),
    "transformer": ("sequence_to_sequence", "addition/2", {"train_split": "train[:10%]"}),
    "unet": ("semantic_segmentation", SCENES, {"train_split": "train[:10%]", "model_args": {"width": 16}}),
    "yolo_v1_small": ("object_detection", SCENES, {"train_split": "train[:10%]"}),
}
"""Name → recipe, data and options."""


def main():
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS), help="names, separated by commas")
    parser.add_argument("--keep", metavar="DIR", help="where the models' Runs are kept; what is there is not trained")
    parser.add_argument("--runs", nargs="+", default=(), help="folders of Runs, in place of models")
    parser.add_argument("--companions", default="", help="names, separated by commas")
    options = parser.parse_args()

    sizes = [f"batch {size}{of}" for of in ("", ", all signatures") for size in BATCH_SIZES]
    print(f"| model | variant | {' | '.join(sizes)} | error | size | load | first request | plain at batch 1, ms |")
    print("|---|---|" + "---:|" * (len(sizes) + 5))
    best = {"in float32": [], "with bfloat16": []}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.runs or options.models.split(","):
            kept = Path(options.keep or Path(folder) / "runs") / name
            run = recipes.load_run(name) if options.runs else trained(name, kept)
            version = export.publish(
                run,
                Path(folder) / "served" / Path(name).name,
                optimize="latency",
                batch_sizes=BATCH_SIZES,
                companions=options.companions.split(",") if options.companions else (),
            )
            tried = {trial["variant"]: trial for trial in version.card["optimization"]["tried"]}
            measured = {variant: trial for variant, trial in tried.items() if trial["milliseconds"]}
            for variant, trial in measured.items():
                if variant != PLAIN:
                    print(f"| {Path(name).name} | {variant} | {row(trial, tried[PLAIN])} |", flush=True)
            for variant, trial in tried.items():
                if variant not in measured:
                    print(f"| {Path(name).name} | {variant} | {trial['verdict'].splitlines()[0]} |", flush=True)
            rows = {variant: relative(trial) for variant, trial in measured.items() if variant in VARIANTS}
            exact = {variant: row for variant, row in rows.items() if VARIANTS[variant].precision == "float32"}
            best["in float32"].append(best_of(exact))
            best["with bfloat16"].append(best_of(rows))
    for what, rows in best.items():
        means = [statistics.geometric_mean(column) for column in zip(*rows, strict=True)]
        print(f"| **all** | {what} | {' | '.join(f'**{mean:.2f}**' for mean in means)} |" + " |" * 5)


def trained(name: str, folder: Path) -> recipes.Run:
    """A Run of a moment's training, or the one that is there."""
    if folder.exists():
        return recipes.load_run(folder)
    recipe, data, options = MODELS[name]
    return getattr(recipes, recipe)(name, data, run_dir=folder, **{**MOMENT, **options})


def best_of(rows) -> list[float]:
    """Of every batch size the cells of the row that is best there over all signatures: what is published for it."""
    best = []
    for size in range(SIZES):
        row = min(rows.values(), key=lambda row: row[SIZES + size], default=PLAIN_ROW)
        best.append(row if row[SIZES + size] < GAIN else PLAIN_ROW)
    return [best[column % SIZES][column] for column in range(2 * SIZES)]


def relative(trial) -> list[float]:
    """For every batch size, of `serving_default`; then the geometric means over all signatures."""
    default = [trial["relative"][timing.key(DEFAULT, size)] for size in BATCH_SIZES]
    every = [
        statistics.geometric_mean(value for key, value in trial["relative"].items() if key.endswith(f"@{size}"))
        for size in BATCH_SIZES
    ]
    return default + every


def row(trial, plain) -> str:
    """The cells of a variant."""
    error = max((value for of in trial["largest_difference"].values() for value in of.values()), default=0.0)
    cells = [f"{value:.2f}" for value in relative(trial)]
    cells += [f"{error:.1e}", *(f"{trial[what] / plain[what]:.2f}" for what in ("bytes", "load", "first"))]
    return " | ".join([*cells, f"{plain['milliseconds'][timing.key(DEFAULT, 1)]:.1f}"])


if __name__ == "__main__":
    main()
