"""Train experiments again, and judge what comes out."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

import recipes
from recipes import command_line, folders, records
from recipes.config import Config
from recipes.experiments import few_scans, measured
from recipes.experiments.experiment import Experiment, FewScans, RunOf
from recipes.experiments.measured import Interval, Measured, OneRun
from recipes.experiments.rows import EXPERIMENTS
from recipes.figures import number
from recipes.records import Record

SEED_OF_TAKEN = 0
"""Of the Runs that other experiments take."""
NO_WEIGHTS = ("metrics.json", "history.csv", "checkpoints", "examples*", "samples*", "*.png")
"""What a Run is without when only its network with fresh weights is wanted."""


@dataclass(frozen=True)
class Verdict:
    """On one Run of an experiment.

    Attributes:
        experiment: which.
        run: its record.
        expected: figure by which it is judged → its interval, None where too few Runs are known to have one.
    """

    experiment: Experiment
    run: Record
    expected: Mapping[str, Interval | None]

    @property
    def outside(self) -> tuple[str, ...]:
        """Figures that are outside of what is expected; NaN is."""
        return tuple(
            name for name, ends in self.expected.items() if ends is not None and self.run.metrics[name] not in ends
        )

    def sentence(self) -> str:
        """What came out, and what is to be said of it."""
        return "; ".join(self._of_figure(name, ends) for name, ends in self.expected.items())

    def _of_figure(self, name: str, ends: Interval | None) -> str:
        said = f"{name} {number(self.run.metrics[name])}"
        if ends is None:
            return f"{said}, not judged: too few Runs are known"
        return f"{said}, {'outside' if name in self.outside else 'inside'} of {ends}"

    def record(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "experiment": self.experiment.name,
            "seed": self.run.facts["seed"],
            "run": str(self.run.dir),
            "metrics": self.run.metrics,
            "expected": {name: ends and [ends.low, ends.high] for name, ends in self.expected.items()},
            "outside": list(self.outside),
        }


def reproduce(
    experiment: Experiment, seed: int, known: Mapping[str, Measured], runs: Path, *, verbose: bool = True
) -> Verdict:
    """Train an experiment, unless its Run is there already, and judge it by what was measured before.

    Args:
        experiment: which.
        seed: of the training.
        known: what was measured before, by the names of experiments.
        runs: the folder of folders of Runs.
        verbose: show progress.

    Raises:
        ValueError: in the place of the Run there is one that was made otherwise.
    """
    found = run_of(experiment, seed, runs, verbose)
    expected = known[experiment.name].expected if experiment.name in known else {}
    return Verdict(experiment, found, {name: expected.get(name) for name in experiment.judged_by})


def run_of(experiment: Experiment, seed: int, runs: Path, verbose: bool = True) -> Record:
    """The Run of an experiment: the one that is there, or a new one. Those that it takes are made first."""
    for other in experiment.takes:
        run_of(EXPERIMENTS[other.experiment], SEED_OF_TAKEN, runs, verbose)
    config = config_of(experiment, seed, runs)
    folder = Path(config.run_dir)
    if (folder / records.METRICS_FILE).exists():
        found = records.read(folder)
        _check_same(found, experiment, config)
        return found
    _train(experiment, config, runs, verbose)
    return records.read(folder)


def _train(experiment: Experiment, config: Config, runs: Path, verbose: bool) -> None:
    """Train anew, or go on where a training for the folder was stopped."""
    for other in experiment.takes:
        if other.fresh:
            run = folder_of(other.experiment, SEED_OF_TAKEN, runs)
            _write_fresh(run, config.seed, _taken(other, config.seed, runs))
    _recipe(experiment)(
        experiment.model,
        few_scans.draw(experiment.data, config.seed) if isinstance(experiment.data, FewScans) else experiment.data,
        **_options(experiment, config.seed, runs),
        resume=folders.is_stopped(Path(config.run_dir)),
        verbose=verbose,
    )


def folder_of(name: str, seed: int, runs: Path) -> Path:
    """Where the Run of an experiment lies."""
    return Path(runs) / name / f"seed-{seed}"


def config_of(experiment: Experiment, seed: int, runs: Path) -> Config:
    """The options of its recipe.

    Raises:
        ValueError: the seed is none.
    """
    return _recipe(experiment).config(**_options(experiment, seed, runs))


def command_of(experiment: Experiment, seed: int = 0, runs: str | Path = "runs") -> str:
    """The command that trains it, once those that it needs are trained."""
    config = config_of(experiment, seed, Path(runs))
    return command_line.of_training(experiment.task, experiment.model, experiment.data, config)


def record(experiment: Experiment, found: Sequence[Record], path: Path) -> None:
    """Add Runs of an experiment to what was measured, in a file.

    Those from before stay if the same command made them, but for the seeds that come now.
    """
    known = measured.read(path)
    command, parameters = command_of(experiment), found[0].card["parameters"]
    before = known.get(experiment.name)
    if before is None or before.command != command or before.parameters not in (None, parameters):
        before = Measured(command, parameters, ())
    before = replace(before, parameters=parameters)
    known[experiment.name] = before.with_runs(map(OneRun.of, found), experiment.judged_by)
    measured.write({name: known[name] for name in EXPERIMENTS if name in known}, path)


def _recipe(experiment: Experiment):
    return getattr(recipes, experiment.task.replace("-", "_"))


def _options(experiment: Experiment, seed: int, runs: Path) -> dict[str, Any]:
    """What its recipe is called with: folders in the place of what stands for them."""
    options = {
        name: str(_taken(value, seed, runs)) if isinstance(value, RunOf) else value
        for name, value in experiment.options.items()
    }
    return {**options, "seed": seed, "run_dir": str(folder_of(experiment.name, seed, runs))}


def _taken(run: RunOf, seed: int, runs: Path) -> Path:
    """The folder of a Run that an experiment with this seed takes, or of its network with fresh weights."""
    folder = folder_of(run.experiment, SEED_OF_TAKEN, runs)
    return folder.with_name(f"fresh-{seed}") if run.fresh else folder


def _write_fresh(run: Path, seed: int, to: Path) -> None:
    """The network of a Run with fresh weights, and its preprocessing, in a folder that is no Run."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(run, to, ignore=shutil.ignore_patterns(*NO_WEIGHTS))
    keras.utils.set_random_seed(seed)
    keras.models.clone_model(recipes.load_run(run).model).save(to / "model.keras")


def _check_same(found: Record, experiment: Experiment, config: Config) -> None:
    """Raise ValueError unless a Run was made as the experiment asks for."""
    data = experiment.data if isinstance(experiment.data, str) else None
    was = {"model": found.card["architecture"], "data": found.facts["data"]["source"], **found.facts["options"]}
    now = {"model": experiment.model, "data": data, **config.recorded()}
    names = [name for name in dict.fromkeys([*now, *was]) if was.get(name) != now.get(name)]
    if names:
        differences = " ".join(f"Its {name} was {was.get(name)!r}, not {now.get(name)!r}." for name in names)
        raise ValueError(
            f"{found.dir} holds a Run that was made otherwise than {experiment.name} is. {differences} "
            "Accepted: another runs-dir, or that the folder is removed."
        )
