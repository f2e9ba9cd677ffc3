"""MLflow's autologging, where whoever calls a recipe has turned it on before."""

import sys

FLAVORS = "keras", "tensorflow"


def check() -> None:
    """Raise ValueError if MLflow is to take a digest of the training data: it reads all of it, and ours has no end."""
    mlflow = sys.modules.get("mlflow.utils.autologging_utils")
    for name in FLAVORS if mlflow else ():
        if mlflow.get_autologging_config(name, "log_datasets", False) and not mlflow.autologging_is_disabled(name):
            raise ValueError(
                f"mlflow.{name}.autolog() would read the batches of a training, which have no end, for their digest. "
                f"Accepted: mlflow.{name}.autolog(log_datasets=False). A Run has the fingerprint of its data."
            )
