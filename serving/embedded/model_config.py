"""Which models to serve: TF Serving's ModelServerConfig in protobuf's text format, checked as ServerCore checks it."""

from pathlib import Path

from serving.base_path import is_url
from serving.embedded import proto_file
from serving.embedded.status import invalid_argument
from serving.protos import serving_pb2 as pb
from serving.served_models import PLATFORM


def read(path: str | Path) -> pb.ModelServerConfig:
    """The configuration in a file. NOT_FOUND without it, INVALID_ARGUMENT with the line where it does not parse."""
    return proto_file.read(path, pb.ModelServerConfig())


def single_model(name: str, base_path: str) -> pb.ModelServerConfig:
    """The configuration that ``--model_name`` and ``--model_base_path`` stand for."""
    config = pb.ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform=PLATFORM)
    return config


def check(config: pb.ModelServerConfig) -> list[pb.ModelConfig]:
    """The models listed. INVALID_ARGUMENT for a list that cannot be served as a whole."""
    kind = config.WhichOneof("config")
    if kind == "custom_model_config":
        raise invalid_argument("Missing custom_model_config_loader in ServerCore Options")
    if kind is None:
        raise invalid_argument("ServerModelConfig type not supported. Only ModelConfigList is currently supported")
    models = list(config.model_config_list.config)
    names = set()
    for model in models:
        if model.name in names:
            raise invalid_argument(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
    for model in models:
        _check_path(model)
        _check_platform(model)
        if model.HasField("logging_config"):
            raise invalid_argument("No request-logger-creator provided.")
    return models


def _check_path(model: pb.ModelConfig) -> None:
    if is_url(model.base_path):
        raise invalid_argument(
            f"Expected model {model.name} to lie in a folder of this machine; the embedded server reads no "
            f"{model.base_path}"
        )
    if not Path(model.base_path).is_absolute():
        raise invalid_argument(
            f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
        )


def _check_platform(model: pb.ModelConfig) -> None:
    if model.model_type:
        if model.model_platform:
            raise invalid_argument(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and "
                f"ModelServerConfig::model_platform, model name is {model.name}"
            )
        if model.model_type != pb.TENSORFLOW:
            raise invalid_argument(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
        return
    if not model.model_platform:
        raise invalid_argument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            f"ModelServerConfig::model_platform, model name is {model.name}"
        )
    if model.model_platform != PLATFORM:
        raise invalid_argument(f"Model {model.name} requests unsupported platform {model.model_platform}")
