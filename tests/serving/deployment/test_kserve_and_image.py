"""What KServe and ``docker build`` are given."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from tests.serving.deployment.yaml_file import load

SCHEMA = json.loads((Path(__file__).with_name("schemas") / "inferenceservice-v1beta1.json").read_text())
BUCKET = "--storage s3://bucket/models"


def predictor(folder, name):
    return load(folder / f"{name}.yaml")["spec"]["predictor"]


def test_a_canary_is_a_revision_with_a_share_of_the_traffic(written):
    folder = written(f"kserve served/lenet5 {BUCKET} --version 1 --canary-percent 10 --cpus 2 --max-batch 8")
    service = load(folder / "lenet5.yaml")
    Draft202012Validator(SCHEMA).validate(service)
    part = service["spec"]["predictor"]
    assert part["canaryTrafficPercent"] == 10
    assert part["scaleTarget"] == 2
    model = part["model"]
    assert model["modelFormat"]["name"] == "tensorflow"
    assert model["runtimeVersion"] == "2.20.0"
    assert model["storageUri"] == "s3://bucket/models/lenet5-1"
    assert model["args"] == [
        "--monitoring_config_file=/etc/serving/monitoring.config",
        "--tensorflow_intra_op_parallelism=2",
        "--tensorflow_inter_op_parallelism=2",
        "--enable_batching=true",
        "--batching_parameters_file=/etc/serving/batching.config",
        "--enable_profiler=false",
    ]
    assert model["securityContext"]["runAsNonRoot"]
    part["canaryTraficPercent"] = 10
    with pytest.raises(ValidationError, match="canaryTraficPercent"):
        Draft202012Validator(SCHEMA).validate(service)


def test_every_model_gets_a_service_of_its_own_under_a_legal_name(written):
    folder = written(f"kserve served/lenet5 served/style_transfer {BUCKET}")
    for name, uri in {"lenet5": "lenet5-2", "style-transfer": "style_transfer-3"}.items():
        Draft202012Validator(SCHEMA).validate(load(folder / f"{name}.yaml"))
        assert load(folder / f"{name}.yaml")["metadata"]["name"] == name
        model = predictor(folder, name)["model"]
        assert model["storageUri"] == f"s3://bucket/models/{uri}"
        # KServe's runtime calls the model what its service is called
        assert model["readinessProbe"]["httpGet"]["path"] == f"/v1/models/{name}/metadata"
    assert "canaryTrafficPercent" not in predictor(folder, "lenet5")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on this machine")
def test_kubectl_puts_services_and_configuration_together(written):
    folder = written(f"kserve served/lenet5 {BUCKET}")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True)
    objects = {o["metadata"]["name"]: o for o in yaml.safe_load_all(done.stdout)}
    volumes = objects["lenet5"]["spec"]["predictor"]["volumes"]
    (config,) = [volume["configMap"]["name"] for volume in volumes if "configMap" in volume]
    assert 'path: "/metrics"' in objects[config]["data"]["monitoring.config"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("served/lenet5", "Missing option '--storage'"),
        ("served/lenet5 --storage /srv/models", "Received: '/srv/models'"),
        (f"served/lenet5 {BUCKET} --version 9", "It has: 1, 2"),
        (f"served/lenet5 served/style_transfer {BUCKET} --canary-percent 5", "go with one BASE_PATH"),
        (f"served/lenet5 {BUCKET} --canary-percent 101", "101 is not in the range"),
    ],
)
def test_what_kserve_would_refuse_is_refused_here(zoo_deploy, words, said):
    result = zoo_deploy(f"kserve out {words}")
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_the_image_holds_the_labelled_versions_and_nothing_else(written):
    folder = written("image served/lenet5 served/style_transfer --label lenet5:stable=1")
    command = json.dumps(
        [
            "tensorflow_model_server",
            "--port=8500",
            "--rest_api_port=8501",
            "--model_config_file=/etc/serving/models.config",
            "--allow_version_labels_for_unavailable_models=true",
            "--grpc_channel_arguments=grpc.max_connection_age_ms=300000",
            "--monitoring_config_file=/etc/serving/monitoring.config",
            "--tensorflow_intra_op_parallelism=1",
            "--tensorflow_inter_op_parallelism=1",
            "--enable_profiler=false",
        ]
    )
    assert (folder / "Dockerfile").read_text().splitlines() == [
        "FROM tensorflow/serving:2.20.0",
        "COPY --from=lenet5 --chown=65534:65534 1/ /models/lenet5/1/",
        "COPY --from=style-transfer --chown=65534:65534 3/ /models/style_transfer/3/",
        "COPY --chown=65534:65534 models.config monitoring.config /etc/serving/",
        "USER 65534:65534",
        "EXPOSE 8500 8501",
        f"ENTRYPOINT {command}",
    ]
    (build,) = re.findall(r"\$ (docker build .*)", (folder / "README.md").read_text())
    assert build == (
        "docker build --build-context lenet5=served/lenet5 --build-context style-transfer=served/style_transfer "
        "--tag REGISTRY/NAME:TAG out"
    )
