"""Trainings under Ray, of two workers on this machine, by the script that `zoo deploy train --ray` writes."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
from click.testing import CliRunner

import recipes
from recipes.folders import staging_of
from recipes.job_commands import deploy_train
from tests.recipes.launched import ROOT, free_port

# Ray brings three dozen packages, which the tests of a package that does not need it should not.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="no package ray: pip install servable-zoo[ray]"),
]
OPTIONS = ["--epochs", "3", "--augment", "shift", "--checkpoint-every", "5steps"]


@pytest.fixture(scope="module")
def node(data_dir):
    """The process of Ray's node, and the environment in which it is found."""
    folder, port = tempfile.mkdtemp(prefix="ray"), free_port()  # its sockets lie in it: a path may not be long
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "TFDS_DATA_DIR": data_dir, "HOME": folder, "RAY_AUTH_MODE": "disabled",
    }  # fmt: skip
    started = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2", f"--port={port}",
         "--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={folder}"],
        env=environment,
    )  # fmt: skip
    try:
        yield started.pid, environment | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
    finally:
        started.terminate()
        started.wait(180)
        shutil.rmtree(folder)


def begin(node, run, restarts=10):
    """Start a training."""
    words = ["lenet5", "--data", "digits", "--ray", "--runs", str(run.parent), "--name", run.name, "--memory", "1"]
    done = CliRunner().invoke(deploy_train, [str(run.parent), *words, "--cpus", "1", "--force", "--", *OPTIONS])
    assert done.exit_code == 0, done.output
    script = (run.parent / "train.py").read_text()
    assert "max_failures=10" in script
    script = script.replace("max_failures=10", f"max_failures={restarts}")
    _, environment = node
    return subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def end(training):
    """Its exit status, and what it said."""
    said, _ = training.communicate(timeout=600)
    return training.returncode, said


@pytest.fixture(scope="module")
def whole(node, tmp_path_factory):
    """The Run of two workers that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    code, said = end(begin(node, folder))
    assert code == 0, said
    return recipes.load_run(folder)


def kill_a_worker(node, training, run, number):
    """Kill one of them within the first epoch, after its second checkpoint."""
    while len(list((staging_of(run) / "checkpoints").glob("step-*.npz"))) < 2:
        assert training.poll() is None, end(training)
        time.sleep(0.1)
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    processes = {
        int(pid): (int(parent), args) for pid, parent, args in (row.split(None, 2) for row in listed.splitlines())
    }
    daemons = [pid for pid, (parent, _) in processes.items() if parent == node[0]]
    workers = [pid for pid, (parent, args) in processes.items() if parent in daemons and "RayTrainWorker" in args]
    assert len(workers) == 2, listed
    os.kill(sorted(workers)[number], signal.SIGKILL)


def assert_same(run, whole):
    """Every bit."""
    run = recipes.load_run(run)
    assert run.history.drop(columns="seconds").equals(whole.history.drop(columns="seconds"))
    assert run.metrics == whole.metrics
    for mine, theirs in zip(run.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_two_workers_train_as_one_process_does(node, whole, tmp_path):
    command = [sys.executable, "-m", "zoo", "train", "lenet5", "--data", "digits", *OPTIONS]
    _, environment = node
    folder = tmp_path / "run"
    subprocess.run([*command, "--run-dir", folder], env=environment | {"KERAS_BACKEND": "jax"}, check=True)
    one = recipes.load_run(folder)
    assert whole.facts["distributed"] == {"by": "data", "devices": 2, "processes": 2}
    for name in ("loss", "val_loss", "accuracy", "val_accuracy"):
        assert list(whole.history[name]) == pytest.approx(list(one.history[name]), rel=1e-5)
    assert whole.metrics == pytest.approx(one.metrics, rel=1e-5)


def test_after_the_loss_of_a_worker_all_go_on_by_themselves(node, whole, tmp_path):
    training = begin(node, tmp_path / "run")
    kill_a_worker(node, training, tmp_path / "run", 0)
    code, said = end(training)
    assert code == 0, said
    assert_same(tmp_path / "run", whole)


def test_without_restarts_the_loss_is_told_and_the_same_call_goes_on(node, whole, tmp_path):
    training = begin(node, tmp_path / "run", restarts=0)
    kill_a_worker(node, training, tmp_path / "run", 1)
    code, said = end(training)
    assert code == 1
    assert "WorkerGroupError: Training failed due to worker errors" in said
    assert "The actor died unexpectedly" in said
    assert not (tmp_path / "run").exists()
    code, said = end(begin(node, tmp_path / "run", restarts=0))
    assert code == 0, said
    assert_same(tmp_path / "run", whole)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"recipe": "image_clasification"}, "Did you mean 'image_classification'"),
        ({"run_dir": "runs/lenet5"}, "run_dir must be absolute.*Received: 'runs/lenet5'"),
        ({"resume": True}, "resume is not said here"),
        ({"epoch": 3}, "Did you mean 'epochs'"),
        ({"epochs": 0}, "epochs must be"),
    ],
    ids=["recipe", "folder", "resume", "option", "value"],
)
def test_what_ray_could_not_train_is_refused(other, message):
    from ray.train import ScalingConfig

    from recipes.ray_training import trainer

    given = {"recipe": "image_classification", "model": "lenet5", "data": "digits", "run_dir": "/runs/lenet5", **other}
    with pytest.raises(ValueError, match=message):
        trainer(**given, scaling_config=ScalingConfig(num_workers=2))
