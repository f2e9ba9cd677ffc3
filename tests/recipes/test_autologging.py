"""Recipes under MLflow's autologging."""

import importlib
import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import recipes

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)
Y = (X.sum(axis=1) > 0).astype(int)

# MLflow's client alone brings two dozen packages, which the tests of a package that does not need it should not.
needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="no package mlflow: pip install servable-zoo[mlflow]"
)


def train(folder, **options):
    options = {"epochs": 3, "batch_size": 16, "verbose": False, **options}
    return recipes.binary_classification("logistic_regression", (X, Y), run_dir=str(folder / "run"), **options)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """MLflow's store in a folder of the test's own."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow = importlib.import_module("mlflow")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    yield mlflow
    mlflow.set_tracking_uri(None)


@needs_mlflow
@pytest.mark.slow
@pytest.mark.parametrize(
    ("flavor", "rate"), [("keras", "optimizer_learning_rate"), ("tensorflow", "opt_learning_rate")]
)
def test_autologging_logs_parameters_and_every_epoch(tmp_path, store, flavor, rate):
    autolog = importlib.import_module(f"mlflow.{flavor}").autolog
    autolog(log_datasets=False, log_models=False)
    try:
        run = train(tmp_path, learning_rate=0.25)
    finally:
        autolog(disable=True)
    logged = store.last_active_run()
    assert logged.info.status == "FINISHED"
    assert float(logged.data.params[rate]) == 0.25
    assert logged.data.params["epochs"] == "3"
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        values = [each.value for each in store.MlflowClient().get_metric_history(logged.info.run_id, name)]
        assert values[:3] == pytest.approx(list(run.history[name]))


def test_it_is_refused_a_digest_of_data_without_end(tmp_path, monkeypatch):
    asked = {"keras": {"log_datasets": True}, "tensorflow": {}}
    stand_in = SimpleNamespace(
        get_autologging_config=lambda name, key, default: asked[name].get(key, default),
        autologging_is_disabled=lambda name: False,
    )
    monkeypatch.setitem(sys.modules, "mlflow.utils.autologging_utils", stand_in)
    with pytest.raises(ValueError, match=r"Accepted: mlflow\.keras\.autolog\(log_datasets=False\)"):
        train(tmp_path)
    assert list(tmp_path.iterdir()) == []
