"""The trials of a search, each a Run in a folder of its own."""

import dataclasses
import importlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import recipes
import zoo
from recipes import checkpoint, command_line, records
from recipes.callbacks import TrainingDiverged, more_is_better
from recipes.config import Config, as_json
from recipes.evaluation import TASKS
from recipes.folders import has_checkpoints, staging_of
from recipes.records import METRICS_FILE, Record
from recipes.searching import spaces
from recipes.searching.space import Numbers, Space, Values, check, options_of, parse
from recipes.training import load_data, usual_dir
from zoo.nearest import choose

ORACLES = ("random", "bayesian", "hyperband")
FOLDER = "trial-{:04d}"
EPOCHS, BEFORE = "tuner/epochs", "tuner/trial_id"
"""What hyperband proposes besides: for how long, and the trial that is made longer."""
OF_HYPERBAND = ("epochs", "patience")
"""What it decides: `epochs` are those of the longest trials."""
OF_THE_SEARCH = ("run_dir", "resume", "overwrite", "override")


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        dir: its Run.
        values: of the options that are searched.
        options: all that the recipe was given.
        epochs: that it was trained for.
        score: the figure of the validation part that it is judged by; None where the loss became NaN.
        seconds: that its last training took; None where the loss became NaN.
    """

    dir: Path
    values: dict[str, Any]
    options: dict[str, Any] = field(repr=False)
    epochs: int
    score: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        objective: the figure that trials are judged by.
        trials: in the order in which they were made.
        command: that makes the best Run again, in a folder of its own; None where no trial has a score.
    """

    objective: str
    trials: tuple[Trial, ...]
    command: str | None

    @property
    def ranked(self) -> list[Trial]:
        """The trials, the best one first, those without a score last."""
        return _ranked(self.trials, self.objective)

    @property
    def best(self) -> Trial | None:
        """The best trial; None where none has a score."""
        return next((trial for trial in self.ranked if trial.score is not None), None)


def search(
    model: str,
    data,
    *,
    task: str | None = None,
    trials: int = 20,
    oracle: str = "random",
    space: Mapping[str, str | Values | Numbers] | None = None,
    **options,
) -> Found:
    """Train a network with options that an oracle proposes, time after time; each is a Run, in `trial-0000`, ….

    They are judged on the validation part, by the weights that the Run has; the test part has no say. Hyperband trains
    many shortly and the best of them longer: from where they stopped, unless a schedule depends on the length.

    Args:
        model: a registry name.
        data: what a recipe takes as data.
        task: name of the recipe's task; None: the model's own.
        trials: how many, at most.
        oracle: of KerasTuner: "random", "bayesian" or "hyperband".
        space: what is searched, by the option's name: see `recipes.searching.space.ACCEPTED`. None: the task's own
            space, without the options that are given.
        options: of the recipe, for all trials. `run_dir` is the folder of the trials, `resume` goes on with a search
            that was stopped, `overwrite` begins anew, `monitor` is the figure that trials are judged by.

    Raises:
        ValueError: bad options or a bad space, no validation part, or a folder with other trials.
        ImportError: KerasTuner is not installed.
    """
    tuner = _tuner()
    choose("oracle", oracle, ORACLES)
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise ValueError(f"trials must be a whole number of at least 1. Received: {trials!r}.")
    if not isinstance(model, str):
        raise ValueError(f"model is of type {type(model).__name__}. Accepted: a registry name, from which each begins.")
    task = choose("task", task or zoo.spec(model).task, TASKS)
    plan = _Plan.of(task, model, data, space, options)
    for name in OF_HYPERBAND if oracle == "hyperband" else ():
        if name in plan.space or (name == "patience" and plan.config().patience is not None):
            raise ValueError(f"hyperband says itself when a training stops. Received: {name}. Accepted: none.")
    _prepare(plan.dir, plan.given)
    config, made = plan.config(), []
    proposing = tuner.oracle_of(
        oracle, plan.space, plan.objective, more_is_better(plan.objective), trials, config.epochs, config.seed
    )
    tuner.run_all(proposing, lambda trial: plan.run(int(trial.trial_id), trial.hyperparameters.values, made, trials))
    best = next((trial for trial in _ranked(made, plan.objective) if trial.score is not None), None)
    return Found(plan.objective, tuple(made), best and plan.command(best))


def _tuner():
    try:
        return importlib.import_module("recipes.searching.tuner")
    except ModuleNotFoundError as error:
        if error.name != "keras_tuner":
            raise
        raise ImportError(
            "A search needs KerasTuner, which is not installed: pip install servable-zoo[search]"
        ) from error


def _ranked(trials, objective: str) -> list[Trial]:
    sign = -1 if more_is_better(objective) else 1
    return sorted(trials, key=lambda trial: (trial.score is None, sign * (trial.score or 0.0)))


@dataclass(frozen=True)
class _Plan:
    """What all trials have together.

    Attributes:
        task, model, data: what is trained, on what, for what.
        space: what is searched.
        fixed: options of every trial.
        given: options that the search itself is given.
        dir: where the trials lie.
        objective: what they are judged by.
        fingerprint: of the data.
    """

    task: str
    model: str
    data: Any = field(repr=False)
    space: Space
    fixed: dict[str, Any]
    given: dict[str, Any]
    dir: Path
    objective: str
    fingerprint: str

    @classmethod
    def of(cls, task: str, model: str, data, space, options: Mapping[str, Any]) -> "_Plan":
        """Raise ValueError for what cannot be searched."""
        task_type, config_type = TASKS[task]
        fields, arguments = config_type.__dataclass_fields__, zoo.spec(model).arguments
        for name in options:
            choose(f"option of {task}", name, fields)
        given = {name: value for name, value in options.items() if name in OF_THE_SEARCH}
        fixed = {name: value for name, value in options.items() if name not in OF_THE_SEARCH}
        config = config_type(**fixed)
        space = spaces.usual(task, fixed, arguments) if space is None else parse(space, config_type)
        check(space, config_type, fixed, arguments)
        source = load_data(data, task_type, config)
        objective = spaces.objective(task, config)
        if objective.startswith("val_") and not source.sizes.get("validation"):
            raise ValueError(
                f"Trials are judged by {objective}, and {source.name!r} has no validation part. "
                "Accepted: validation above 0, or data with such a part."
            )
        folder = Path(given.get("run_dir") or f"{usual_dir(model, source)}-search")
        return cls(task, model, data, space, fixed, given, folder, objective, source.fingerprint)

    def config(self, **options) -> Config:
        """The options of the recipe, complete."""
        return TASKS[self.task][1](**{**self.fixed, **options})

    def run(self, number: int, proposed: Mapping[str, Any], made: list[Trial], trials: int) -> dict[str, float]:
        """Make a trial, add it to those that are made, and return its score by its name."""
        options = options_of(self.space, proposed, self.fixed) | {"monitor": self.objective}
        if EPOCHS in proposed:
            options["epochs"] = proposed[EPOCHS]
        folder = self.dir / FOLDER.format(number)
        values = {name: dimension.value(proposed[name]) for name, dimension in self.space.items()}
        trial = Trial(folder, values, options, self.config(**options).epochs)
        if self.config().verbose:
            print(f"trial {number + 1} of {trials}: {', '.join(f'{k} {v}' for k, v in values.items())}", flush=True)
        if BEFORE in proposed:
            self._begin_where(self.dir / FOLDER.format(int(proposed[BEFORE])), folder, options)
        try:
            record = self._finished(folder, options) or self._trained(folder, options)
        except TrainingDiverged:
            made.append(trial)
            raise
        score = self._score(record)
        made.append(dataclasses.replace(trial, score=score, seconds=record.facts["seconds"]["total"]))
        return {self.objective: score}

    def command(self, trial: Trial) -> str:
        """`zoo train` that makes the Run of a trial again."""
        config = self.config(**trial.options, run_dir=f"{self.dir}-best")
        return command_line.of_training(self.task, self.model, self.data, config)

    def _begin_where(self, before: Path, folder: Path, options: Mapping[str, Any]) -> None:
        """Let a trial begin with what another one has learned, if that is what it would have learned itself."""
        if checkpoint.depends_on_length(self.config(**options).recorded()) or folder.exists():
            return
        copying = folder.with_name(f".{folder.name}.copying")
        shutil.rmtree(copying, ignore_errors=True)
        shutil.copytree(before, copying)
        os.replace(copying, folder)

    def _finished(self, folder: Path, options: Mapping[str, Any]) -> Record | None:
        """The record of a trial that was finished before; None where it is to be trained, or trained on.

        Raises:
            ValueError: the folder holds another one.
        """
        if not (folder / METRICS_FILE).exists():
            return None
        record = records.read(folder)
        was = record.facts["options"]
        now = {name: as_json(value) for name, value in options.items() if name in was}
        differing = [name for name in now if name != "epochs" and was[name] != now[name]]
        if record.facts["data"]["fingerprint"] != self.fingerprint or record.task != self.task or differing:
            what = [f"{name}={was[name]!r} where {now[name]!r} is proposed" for name in differing] or ["other data"]
            raise ValueError(
                f"{folder} is no trial of this search: {', '.join(what)}. Accepted: the command that it began with, "
                "with --resume; or begin anew (overwrite=True, --overwrite), or choose another run_dir."
            )
        return record if was["epochs"] == self.config(**options).epochs else None

    def _trained(self, folder: Path, options: Mapping[str, Any]) -> Record:
        """The record of a trial that is trained now, from its checkpoint if it was stopped."""
        resume = has_checkpoints(folder) or has_checkpoints(staging_of(folder))
        recipe = getattr(recipes, self.task.replace("-", "_"))
        recipe(self.model, self.data, **options, run_dir=str(folder), resume=resume)
        return records.read(folder)

    def _score(self, record: Record) -> float:
        """The figure of the epoch whose weights the Run has."""
        figures = record.history[self.objective]
        if self.config().patience is None:
            return float(figures.iloc[-1])
        return float(figures.max() if more_is_better(self.objective) else figures.min())


def word(value) -> str:
    """A value in a line: numbers as short as they can be told apart."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _prepare(folder: Path, given: Mapping[str, Any]) -> None:
    """Make room for trials.

    Raises:
        ValueError: there are some, and nobody said what shall become of them.
    """
    there = [path for pattern in ("trial-*", ".trial-*") for path in folder.glob(pattern)]
    if given.get("overwrite") and given.get("resume"):
        raise ValueError("overwrite begins anew and resume goes on. Accepted: one of them.")
    if there and not (given.get("overwrite") or given.get("resume")):
        raise ValueError(
            f"{folder} holds trials already. Go on (resume=True, --resume: the same command with --resume), begin anew "
            "(overwrite=True, --overwrite), or choose another run_dir."
        )
    if given.get("resume") and not there:
        raise ValueError(
            f"There is no search to go on with in {folder}. Accepted: the run_dir of one that was stopped."
        )
    for path in there if given.get("overwrite") else ():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
