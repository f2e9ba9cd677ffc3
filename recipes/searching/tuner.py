"""KerasTuner's side of a search; imported only where one is made, as KerasTuner is an extra."""

import tempfile
from collections.abc import Callable

import keras_tuner
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial
from keras_tuner.errors import FailedTrialError, FatalError
from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle, RandomSearchOracle

from recipes.callbacks import TrainingDiverged
from recipes.searching.space import Space


def oracle_of(
    name: str, space: Space, objective: str, more_is_better: bool, trials: int, epochs: int, seed: int
) -> keras_tuner.Oracle:
    """What proposes trials.

    Args:
        name: "random", "bayesian" or "hyperband".
        space: of the options.
        objective, more_is_better: by which figure, and in which direction.
        trials: at most.
        epochs: of the longest trials.
        seed: the same one proposes the same trials, if their results are the same.
    """
    parameters = keras_tuner.HyperParameters()
    for option, dimension in space.items():
        dimension.declare(parameters, option)
    arguments = {
        "objective": keras_tuner.Objective(objective, "max" if more_is_better else "min"),
        "hyperparameters": parameters,
        "seed": seed + 1,  # 0 is drawn by chance
        "max_consecutive_failed_trials": trials,  # whose loss became NaN, which large learning rates bring about
    }
    if name == "hyperband":
        oracle = HyperbandOracle(max_epochs=epochs, **arguments)
        oracle.max_trials = trials
        return oracle
    return {"random": RandomSearchOracle, "bayesian": BayesianOptimizationOracle}[name](max_trials=trials, **arguments)


def run_all(oracle: keras_tuner.Oracle, run: Callable[[Trial], dict[str, float]]) -> None:
    """Run trial after trial: `run` gives figures. Diverged ones count as failed; all other errors end the search."""
    with tempfile.TemporaryDirectory() as folder:  # of KerasTuner's own records, which nobody reads
        try:
            _Tuner(run, oracle, directory=folder).search(verbose=0)
        except FatalError as error:
            raise error.__cause__ from None


class _Tuner(BaseTuner):
    def __init__(self, run: Callable[[Trial], dict[str, float]], oracle: keras_tuner.Oracle, directory: str):
        self.run = run
        super().__init__(oracle, directory=directory)

    def run_trial(self, trial, **arguments):
        try:
            return self.run(trial)
        except TrainingDiverged as error:
            raise FailedTrialError from error
        except Exception as error:
            raise FatalError from error
