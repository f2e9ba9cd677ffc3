"""What a process of the command line imports of others along with TensorFlow."""

import json
import os
import subprocess
import sys

import pytest

IMPORTED = """
import gc, json, sys
from zoo.lean_imports import UNUSED, LeanImports
sys.meta_path.insert(0, LeanImports())
import keras
before = [name for name in (*UNUSED, "jax") if name in sys.modules]
import matplotlib.figure, sklearn.metrics
left_out = gc.isenabled() and gc.get_freeze_count() > 100_000
print(json.dumps([keras.backend.backend(), before, left_out, sklearn.metrics.roc_auc_score([0, 1], [0.0, 1.0])]))
"""


@pytest.mark.parametrize(
    ("told", "settings", "backend", "imported"),
    [
        ({}, None, "tensorflow", []),
        pytest.param({"KERAS_BACKEND": "jax"}, None, "jax", ["jax"], marks=pytest.mark.slow),
        pytest.param({}, {"backend": "jax"}, "jax", ["jax"], marks=pytest.mark.slow),
    ],
    ids=["TensorFlow", "JAX by its variable", "JAX by its settings"],
)
def test_keras_is_imported_without_what_no_command_needs_and_others_are_not_kept_from_it(
    tmp_path, told, settings, backend, imported
):
    if settings:
        (tmp_path / "keras.json").write_text(json.dumps(settings))
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED],
        env=environment | {"KERAS_HOME": str(tmp_path)} | told, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [backend, imported, True, 1.0]
