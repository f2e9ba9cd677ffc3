"""The catalogue: what the registry knows, computed once and kept as JSON, so that a listing needs no Keras.

`make catalog` writes it anew. It holds a hash of the sources it was computed from; a test fails when they have changed.
"""

import fnmatch
import hashlib
import json
import math
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("catalog.json")
SHARED = ("attention", "boxes", "complexity", "graphs", "layers", "roi_align")
"""Modules that the architectures are made of."""
OPEN_SIZE = 256
"""Height and width, in pixels, for which the facts of a network are given that takes pictures of any size."""


def compute() -> dict[str, dict[str, Any]]:
    """Build every registered model with its defaults and read its facts off it, by name."""
    from zoo import registry

    return {name: entry(registry.spec(name)) for name in registry.list_models()}


def entry(spec) -> dict[str, Any]:
    """Build a model with its defaults, and its tiny version, and read its facts off them."""
    from zoo import registry
    from zoo.complexity import activation_bytes, multiply_adds, parameters

    shape = spec.arguments["input_shape"]
    sized = tuple(OPEN_SIZE if n is None else n for n in shape) if spec.any_size else shape
    model = spec.build(input_shape=sized)
    return {
        "summary": spec.summary,
        "tasks": spec.tasks,
        "paper": spec.paper,
        "parameters": parameters(model),
        "multiply_adds": multiply_adds(model),
        "activation_bytes": activation_bytes(model),
        "inputs": [{"name": x.name, "shape": list(x.shape[1:]), "dtype": x.dtype} for x in model.inputs],
        "output": {"shape": list(model.output_shape[1:]), "dtype": model.outputs[0].dtype},
        "partner": spec.partner and parameters(registry.build_partner(spec.name)),
        "min_size": spec.min_size,
        "module": spec.build.__wrapped__.__module__.rpartition(".")[2],
        "weights": sorted(spec.weights),
        "stages": {name: list(shape) for name, shape in registry.stages(model).items()},
        "arguments": spec.arguments,
        "tiny": {"arguments": spec.tiny, "networks": {task: _tiny(spec, task) for task in spec.tasks}},
    }


def _tiny(spec, task: str) -> dict[str, Any]:
    from zoo.complexity import parameters

    model = spec.build(**spec.tiny, **spec.task_argument(task))
    return {"parameters": parameters(model), "fingerprint": fingerprint(model)}


def fingerprint(model) -> str:
    """Equal for two models that are the same network, layer for layer, whatever their names."""
    import keras

    config = json.dumps(model.get_config() | {"name": None}, sort_keys=True)
    for i, operation in enumerate(model.operations):
        if not isinstance(operation, keras.Layer):  # Keras counts them in the order in which they are made
            config = config.replace(f'"{operation.name}"', f'"operation {i}"')
    return hashlib.sha256(config.encode()).hexdigest()[:12]


def sources() -> str:
    """Hash of the source files that the facts come from."""
    folder = PATH.parent
    files = [*sorted(folder.glob("architectures/*.py")), *(folder / f"{n}.py" for n in SHARED)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def write() -> None:
    """Write the catalogue of the registry as it is now."""
    PATH.write_text(json.dumps({"sources": sources(), "models": compute()}, indent=1) + "\n")


def read(pattern: str = "*", task: str | None = None, max_params: float = math.inf) -> dict[str, dict[str, Any]]:
    """The stored catalogue by name, of the models that match a shell pattern and what else is given.

    Args:
        pattern: of names.
        task: what they answer.
        max_params: most trainable parameters.
    """
    entries = json.loads(PATH.read_text())["models"]
    return {
        name: entries[name]
        for name in fnmatch.filter(entries, pattern)
        if (task is None or task in entries[name]["tasks"]) and entries[name]["parameters"] <= max_params
    }


if __name__ == "__main__":
    write()
