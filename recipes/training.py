"""The training that every recipe shares: build, compile, fit, evaluate, write the Run."""

import platform
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import metadata
from pathlib import Path

import keras
import pandas as pd
import tensorflow as tf

import zoo
from recipes import (
    autologging,
    backend,
    checkpoint,
    command_line,
    distribution,
    event_files,
    fine_tuning,
    initial_weights,
    licenses,
)
from recipes.auxiliary_heads import first_head
from recipes.bundle import Bundle, check_inputs_and_output, input_is_named
from recipes.callbacks import (
    AfterEpoch,
    AveragedWeights,
    BestWeights,
    CallbacksFromStep,
    CopiedWeights,
    History,
    Interrupted,
    SignalsBetweenSteps,
    StopOnNonFiniteLoss,
    TrainingDiverged,
)
from recipes.checkpoint import Checkpointing, Found
from recipes.config import BUILDER_OPTIONS, Config
from recipes.data import Data, load, overview
from recipes.distribution import OneDevice
from recipes.event_files import EventFiles
from recipes.folders import staged_run
from recipes.interval import Interval, Timer
from recipes.optimizers import make, peak_rate
from recipes.preprocessing import Preprocessing
from recipes.progress import ProgressDisplay
from recipes.run import HISTORY_FILE, Run
from recipes.tasks.task import Task
from recipes.trained_form import trained_form
from zoo import complexity
from zoo.nearest import choose

INPUT_NAMES = {"image": "image", "table": "features", "text": "tokens"}  # by the kind of preprocessing
BEST_WEIGHTS_FILE = "best.weights.h5"
PACKAGES = ("servable-zoo", "keras", "tensorflow", "tensorflow-datasets", "numpy")


@tf.autograph.experimental.do_not_convert  # All control flow is written out; looking for more takes long.
def train(task_type: type[Task], model: str | keras.Model, data, config: Config) -> Run:
    """Train a model for a task, and write the Run's folder.

    The folder appears whole when all is done. When the loss becomes NaN it holds the weights of the best epoch and the
    history, but no Run.
    """
    started = time.perf_counter()
    task_type.check_backend(config)  # before the data is read
    check_model(model)
    autologging.check()
    if config.tensorboard:
        event_files.check_installed()
    place = distribution.begin(config.distribute, task_type.name, task_type.distributes, config.batch_size)
    name = model if isinstance(model, str) else model.name
    source = data if isinstance(data, Data) else load_data(data, task_type, config)
    about = overview.of(source, task_type.name)
    if config.verbose and place.process == 0:
        print(overview.sentence(source, about), flush=True)
    final = Path(config.run_dir or usual_dir(name, source))
    terms = checkpoint.terms(task_type.name, name, config.recorded(), source.fingerprint)
    place.check_same("model, data and options", terms)
    found = place.of_first(lambda: _found(final, terms, config)) if config.resume else None
    with _folder(final, config, found, place) as folder:
        # Same seed, same run: with op determinism the order of additions is part of the result.
        keras.utils.set_random_seed(config.seed + 1)  # a global seed of 0 is one that tf.data cannot trace
        tf.config.experimental.enable_op_determinism()

        task = task_type(source, config)
        task.folder = folder
        preprocessing = task.preprocessing(model)
        with_all_heads = _network(model, task, preprocessing, config)
        network = first_head(with_all_heads)
        task.adopt(network)
        history, costs = _fit(with_all_heads, task, preprocessing, terms, found, place)
        training_seconds = time.perf_counter() - started

        bundle = Bundle(network, task.name, preprocessing, task.answer, _card(name, network, source))
        answers, truth = task.answers(bundle)
        metrics = bundle.card["metrics"] = task.figures(answers, truth)
        made_of = [*task.licenses(), *licenses.of_weights(name, config.weights)]
        facts = {
            "command": command_line.of_training(task.name, model, data, config),
            "seconds": {"training": round(training_seconds, 2)},
            "checkpoints": {"written": len(costs), "seconds": round(sum(costs), 3)},
            **_facts(data, source, about, config),
            **place.record(),
            **({"overridden": found.overridden} if found and found.overridden else {}),
            licenses.FACT: [each for i, each in enumerate(made_of) if each not in made_of[:i]],
        }
        run = Run(folder, bundle, pd.DataFrame(history), metrics, facts, task.examples())
        if backend.name() != backend.TENSORFLOW:
            run.answers = bundle.predict(run.examples.raw)
        facts["seconds"]["total"] = round(time.perf_counter() - started, 2)
        run.save()
        from recipes import plots  # matplotlib, which no step waits for

        plots.draw(run, answers, truth)
        if config.tensorboard:
            event_files.write_test(folder, metrics, len(history))
    run.dir = final
    return run


def usual_dir(model: str, source: Data) -> str:
    """Where a Run goes if nobody says where."""
    return f"runs/{model}-{source.name.replace('/', '-').replace(':', '-')}"


def _found(final: Path, terms: dict, config: Config) -> Found | None:
    """The checkpoint to go on from, if there is one yet."""
    found = checkpoint.find(final)
    return found and checkpoint.checked(found, terms, final, config)


def _folder(final: Path, config: Config, found: Found | None, place: OneDevice) -> AbstractContextManager[Path]:
    """Where a process makes the Run: what becomes `final`, of the first process; of others what passes away."""
    if place.process:
        return distribution.passing_folder()
    stops = TrainingDiverged, KeyboardInterrupt
    return staged_run(final, config.overwrite, config.resume, found and found.folder, stops)


def check_model(model) -> None:
    """Raise ValueError unless the model is a registry name, or a built `keras.Model` with one input and output."""
    if isinstance(model, str):
        zoo.spec(model)
    elif isinstance(model, keras.Model):
        check_inputs_and_output(model)
    else:
        raise ValueError(f"model is of type {type(model).__name__}. Accepted: a registry name, or a keras.Model.")


def load_data(data, task_type: type[Task], config: Config) -> Data:
    """Read what a recipe takes as data, with the options of its configuration."""
    return load(
        data,
        task=task_type.name,
        data_dir=config.data_dir,
        train_split=config.train_split,
        test_split=config.test_split,
        validation=config.validation,
        test=config.test,
        text=getattr(config, "text", None),
        target=config.target,
        seed=config.seed,
    )


def _network(model, task: Task, preprocessing: Preprocessing, config: Config) -> keras.Model:
    """The network of that name for this data, or the model that was given."""
    if not isinstance(model, str):
        given = {name: getattr(config, name, None) for name in ("model_args", *BUILDER_OPTIONS, "weights")}
        if given := [name for name, value in given.items() if value]:
            raise ValueError(f"{' and '.join(given)} build a model by name; here a built keras.Model was given.")
        return model if input_is_named(model) else _with_named_input(model, preprocessing)
    arguments = dict(config.model_args)
    for name in BUILDER_OPTIONS:
        value = getattr(config, name, None)
        if value is not None:
            if name not in zoo.spec(model).arguments:
                raise ValueError(f"{model!r} takes no {name}. Received: {name}={value}.")
            arguments[name] = value
    network = zoo.build(model, **{**task.builder_arguments(zoo.spec(model), preprocessing), **arguments})
    if config.weights is not None:
        keep_head = initial_weights.keep_head(config.weights, task.name, task.data.labels)
        zoo.load_weights(network, model, config.weights, keep_head=keep_head)
    elif config.freeze is not None:
        raise ValueError(f"freeze={config.freeze!r} keeps weights as they are, and none are given: say weights=….")
    return network


def _with_named_input(model: keras.Model, preprocessing: Preprocessing) -> keras.Model:
    """The same network and weights behind an input with a name, by which clients can send it."""
    given = model.inputs[0]
    named = keras.Input(given.shape[1:], dtype=given.dtype, name=INPUT_NAMES[preprocessing.kind])
    return keras.Model(named, model(named), name=model.name)


def _fit(
    network: keras.Model,
    task: Task,
    preprocessing: Preprocessing,
    terms: dict,
    found: Found | None,
    place: OneDevice,
) -> tuple[list[dict[str, float]], list[float]]:
    """Fit a network in the precision asked for, phase after phase.

    Returns:
        A row of figures for each epoch, and the seconds that each checkpoint took.

    Args:
        network, task, preprocessing: what is trained, for what, on what input. Checkpoint, samples and, if it stops
            short, history and best weights go into the task's folder.
        terms: of the checkpoint.
        found: the checkpoint to go on from.
        place: where it is trained.
    """
    config = task.config
    place.lay_out(network)
    with place.scope():
        form = trained_form(network, config.precision, place)
    phases = fine_tuning.phases(form, config)
    factors = fine_tuning.rate_factors(form, config.rate_decay)
    with place.scope():
        trained, read = task.in_training(form, preprocessing)
    if config.l1 or config.l2:
        for weight in trained.trainable_variables:
            if weight.name == "kernel":
                weight.regularizer = keras.regularizers.L1L2(config.l1, config.l2)
    training = task.training_part("train", preprocessing)
    validation = None
    if task.validates and task.data.sizes.get("validation"):
        validation = task.training_part("validation", preprocessing)
        validation = _read_by(read, validation.batches(place.at_once(task.at_once(preprocessing))))
        validation = place.of_validation(validation)
    steps = training.steps(config.batch_size)

    measured = ["loss", *(metric.name for metric in task.metrics())]
    measured += [f"val_{name}" for name in measured] if validation else []
    usual = task.monitor or ("val_loss" if validation else "loss")
    monitor = choose("monitor", config.monitor or usual, [*measured, *task.logged])
    history, finite, best = History(), StopOnNonFiniteLoss(steps), BestWeights(form, monitor, config.patience)
    # What is looked at is on one device.
    seen, copied = (form, []) if place.devices == 1 else (network, [CopiedWeights(form, network)])
    of_task = [*copied, *task.callbacks(Bundle(seen, task.name, preprocessing, task.answer))]
    timer = Timer(config.checkpoint_every and Interval.parse(config.checkpoint_every))
    keeper = Checkpointing(task.folder, terms, timer, config.checkpoint_keep, config.epochs, steps, history, best)
    keeper.writes = place.process == 0
    watching = []
    if place.process == 0:
        watching += [ProgressDisplay(config.epochs, steps, best)] if config.verbose else []
        watching += [EventFiles(task.folder, history, config.recorded())] if config.tensorboard else []
    if found:
        found = found.counted_by(steps)
        found.into_callbacks(history, best)
    try:
        with SignalsBetweenSteps() as signals, place.watched():
            for number, phase in enumerate(phases):
                if found and number < found.position.phase:
                    continue
                with fine_tuning.keeping(phase.frozen):
                    with place.scope():
                        task.compile(trained, _optimizers(config, steps, phase, factors))
                    first, done = phase.first, 0
                    if found:
                        found.into(trained)
                        at = found.position
                        first, done = (phase.last, 0) if best.has_stopped else (at.epoch, at.step)
                    else:
                        best.waited = 0
                    augment = task.augment(preprocessing)
                    # Of pictures that are mixed with those of other processes, each needs them all.
                    whole = place.processes == 1 or getattr(augment, "mixes", False)
                    share = {} if whole else {"share": place.share}
                    batches = training.epochs(
                        config.batch_size, config.seed, config.shuffle, augment, first, done, **share
                    )
                    batches = _read_by(read, batches)
                    with place.scope():
                        given = place.of_training(trained, batches, task.class_weights())
                        keeper.begin(trained, number, phase.first, found, batches)
                    found = None
                    callbacks = [
                        signals,
                        finite,
                        # The averages are in the model when those after them look at it.
                        keeper,
                        *_averages(config),
                        *of_task,
                        history,
                        best,
                        AfterEpoch(keeper.after_epoch),
                        *watching,
                    ]
                    trained.fit(
                        **given,
                        initial_epoch=first,
                        epochs=phase.last,
                        steps_per_epoch=steps,
                        validation_data=validation,
                        callbacks=[CallbacksFromStep(callbacks, done, steps)],
                        shuffle=False,  # the pipeline does it
                        verbose=0,
                    )
                if config.patience is not None:
                    form.set_weights(best.weights)
    except Interrupted:
        raise _diverged(finite.step, steps, config, _keep_best(best, history, network, task.folder)) from None
    except KeyboardInterrupt:
        _keep_best(best, history, network, task.folder)
        raise
    finally:
        for watcher in watching:
            watcher.close()
    if form is not network:
        network.set_weights(form.get_weights())
    return history.rows, keeper.costs


def _optimizers(config: Config, steps: int, phase: fine_tuning.Phase, factors: Mapping[str, float]) -> Callable:
    """What makes the optimizers of a phase: see `Task.compile`."""
    return lambda own=config, every=1: make(own, -(-steps // every), phase, factors)


def _read_by(read: Callable | None, batches: tf.data.Dataset) -> tf.data.Dataset:
    """Batches `(x, y)` as the network that is trained reads them."""
    return batches if read is None else batches.map(read).prefetch(tf.data.AUTOTUNE)


def _averages(config: Config) -> list[keras.callbacks.Callback]:
    """What uses the moving averages of an optimizer, if it keeps them."""
    return [] if config.ema is None else [AveragedWeights()]


def _keep_best(best: BestWeights, history: History, network: keras.Model, folder: Path) -> str:
    """Keep the history and the best weights of a training that stops short; return a sentence on them."""
    if best.weights is None:
        return "No epoch was finished, so no weights were kept."
    pd.DataFrame(history.rows).to_csv(folder / HISTORY_FILE, index=False)
    network.set_weights(best.weights)
    first_head(network).save_weights(folder / BEST_WEIGHTS_FILE)
    return f"The weights of the best epoch, {best.epoch + 1}, are kept as {BEST_WEIGHTS_FILE} in the run's folder."


def _diverged(step: int, steps: int, config: Config, kept: str) -> TrainingDiverged:
    return TrainingDiverged(
        step,
        f"The loss became NaN or infinite at step {step} (epoch {(step - 1) // steps + 1}). {kept} "
        f"Try a learning_rate below {peak_rate(config):g}, or clip_norm=1.",
    )


def _card(name: str, network: keras.Model, source: Data) -> dict:
    return {
        "architecture": name,
        "parameters": complexity.parameters(network),
        "data": source.name,
        "examples": source.sizes,
        "evaluated_on": source.evaluated_on,
        "fingerprint": source.fingerprint,
    }


def _facts(data, source: Data, about: Mapping, config: Config) -> dict:
    return {
        "options": config.recorded(),
        "seed": config.seed,
        "data": {
            "name": source.name,
            "source": str(data) if isinstance(data, (str, Path)) else None,
            "fingerprint": source.fingerprint,
            "examples": source.sizes,
            "drawn": list(source.drawn),
            **about,
        },
        "evaluated_on": source.evaluated_on,
        **versions(),
    }


def versions() -> dict:
    """What a Run was made with: backend, packages, Python, platform."""
    computing = () if backend.name() == backend.TENSORFLOW else (backend.name(),)
    return {
        "backend": backend.name(),
        "versions": {package: metadata.version(package) for package in (*PACKAGES, *computing)},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
