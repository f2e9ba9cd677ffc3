"""The command that repeats a training, for its record."""

import dataclasses
import json
import shlex
from collections.abc import Mapping
from pathlib import Path

import keras

from recipes.config import Config, as_json


def of_training(task: str, model: str | keras.Model, data, config: Config) -> str:
    """The `zoo train` command with these options; where model or data are objects, the Python call that names them."""
    recorded, in_memory = {"run_dir": config.run_dir, **config.recorded()}, {}
    options = {
        spec.name: getattr(config, spec.name)
        for spec in dataclasses.fields(config)
        if spec.name in recorded and recorded[spec.name] != as_json(_default(spec))
    }
    for name in recorded:
        if recorded[name] is None and (value := getattr(config, name)) is not None:
            in_memory[name] = value
    if isinstance(model, str) and isinstance(data, (str, Path)) and not in_memory:
        words = ["zoo", "train", model, "--data", str(data), "--task", task, *_words(options)]
        return shlex.join(words)
    arguments = [repr(model) if isinstance(model, str) else f"<{model.name}>", f"<{type(data).__name__}>"]
    arguments += [f"{name}={value!r}" for name, value in options.items()]
    arguments += [f"{name}=<{type(value).__name__}>" for name, value in in_memory.items()]
    return f"recipes.{task.replace('-', '_')}({', '.join(arguments)})"


def of_pretrained(model: str, weights: str, task: str, model_args, run_dir, examples) -> str:
    """The `zoo pretrained` command."""
    options = {"weights": weights, "task": task, "model_args": model_args, "run_dir": run_dir, "examples": examples}
    return shlex.join(["zoo", "pretrained", model, *_words({k: v for k, v in options.items() if v is not None})])


def _default(spec: dataclasses.Field):
    return spec.default if spec.default is not dataclasses.MISSING else spec.default_factory()


def _words(options: Mapping) -> list[str]:
    words = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{name.replace('_', '-')}")
        elif isinstance(value, Mapping):
            words += [flag, json.dumps(value)]
        elif isinstance(value, (tuple, list)):
            words += [flag, ",".join(map(str, value))]
        else:
            words += [flag, str(value)]
    return words
