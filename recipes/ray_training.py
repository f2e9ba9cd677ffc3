"""A training under Ray Train, on many machines: its workers are the processes of `recipes.distribution`.

Imported only where one is made, as Ray is an extra.
"""

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.train import RunConfig, ScalingConfig, get_context
from ray.train.collective import broadcast_from_rank_zero
from ray.train.v2.jax import JaxConfig, JaxTrainer

import recipes
from recipes.commands import CONFIGS
from recipes.distribution_variables import ADDRESSES, PROCESS, PROCESSES
from zoo.nearest import choose

OURS = ("resume", "overwrite")


def trainer(
    recipe: str,
    model: str,
    data,
    *,
    run_dir: str | Path,
    scaling_config: ScalingConfig,
    run_config: RunConfig | None = None,
    **options,
) -> JaxTrainer:
    """What trains by a recipe, on JAX, as one process on each of Ray's workers.

    The first worker makes the Run. If a training was stopped in its folder, `fit` goes on with it, to the Run of one
    that nobody disturbed. So it does by itself when a worker is lost, as often as `FailureConfig(max_failures=…)`
    says: by Ray's default never.

    Args:
        recipe: its name, such as "image_classification".
        model, data, options: what it takes. Every worker reads the data; a path is absolute.
        run_dir: folder of the Run, absolute, on storage that all nodes share.
        scaling_config: how many workers, and what each of them has. A batch must be a multiple of all their devices.
        run_config: restarts, Ray's own records, the environment of the workers.

    Returns:
        Its `fit()` gives a `ray.train.Result`, whose `return_value` are the Run's metrics. Where a worker failed it
        raises `ray.train.WorkerGroupError`, which holds the errors of all.

    Raises:
        ValueError: no such recipe, an option that it does not take or that says whether to go on, a value that it does
            not take, or a folder that is not absolute.
    """
    choose("recipe", recipe, [task.replace("-", "_") for task in CONFIGS])
    if given := [name for name in OURS if name in options]:
        raise ValueError(f"{given[0]} is not said here: a training that was stopped goes on. Accepted: none.")
    getattr(recipes, recipe).configured(**options)  # what is wrong here would fail on every worker, again and again
    if not Path(run_dir).is_absolute():
        raise ValueError(f"run_dir must be absolute, on storage that all nodes share. Received: {str(run_dir)!r}.")
    run_config = run_config or RunConfig()
    environment = dict(run_config.worker_runtime_env or {})
    environment["env_vars"] = {**environment.get("env_vars", {}), "KERAS_BACKEND": "jax"}
    return JaxTrainer(
        _train,
        train_loop_config={
            "recipe": recipe,
            "model": model,
            "data": data,
            "options": {**options, "run_dir": str(run_dir)},
        },
        jax_config=JaxConfig(),  # with no device, so that it is the recipe that calls the other processes
        scaling_config=scaling_config,
        run_config=replace(run_config, worker_runtime_env=environment),
    )


def _train(config: dict[str, Any]) -> dict[str, float]:
    """Train on one worker; figures of the Run."""
    from recipes.folders import is_stopped

    context, options = get_context(), config["options"]
    rank, told = context.get_world_rank(), None
    if rank == 0:
        told = _free_address(), is_stopped(Path(options["run_dir"]))
    address, resume = broadcast_from_rank_zero(told)
    os.environ |= {ADDRESSES: address, PROCESSES: str(context.get_world_size()), PROCESS: str(rank)}
    recipe = getattr(recipes, config["recipe"])
    return recipe(config["model"], config["data"], **options, resume=resume).metrics


def _free_address() -> str:
    """Where the others can call this process."""
    with socket.socket() as listening:
        listening.bind(("", 0))
        return f"{ray.util.get_node_ip_address()}:{listening.getsockname()[1]}"
