"""What a cluster is given: valid by the schemas, confined, and replaced without a gap."""

import json
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from tests.serving.deployment.yaml_file import load

SCHEMAS = Path(__file__).with_name("schemas")
OLDEST, NEWEST = "1.30", "1.37"
NOT_APPLIED = {"kustomization.yaml", "prometheus-adapter.yaml", "loader.yaml"}

VARIANTS = {
    "claim": "",
    "bucket": "--storage gs://bucket/models",
    "image": "--image registry.example.org/lenet5:7",
    "all": "served/style_transfer --label lenet5:stable=1 --label lenet5:canary=2 --host models.example.org "
    "--storage pvc://models/of/today --cpus 4 --max-batch 16 "
    "--tls-certificate pem/server.pem --tls-key pem/server.key --tls-client-ca pem/ca.pem",
}


@pytest.fixture(params=VARIANTS)
def folder(request, written, pem):
    return written(f"kubernetes served/lenet5 {VARIANTS[request.param]}")


def check(manifest: dict) -> None:
    """Raises for what the schema of its kind does not know."""
    if manifest["apiVersion"].startswith("monitoring.coreos.com/"):
        schema = json.loads((SCHEMAS / f"{manifest['kind'].lower()}-v1.json").read_text())
        Draft202012Validator(schema).validate(manifest)
    else:
        for version in (OLDEST, NEWEST):
            kubernetes_validate.validate(manifest, version, strict=True)


def pod_of(folder: Path) -> dict:
    return load(folder / "deployment.yaml")["spec"]["template"]["spec"]


def test_every_object_is_valid_and_all_are_applied(folder):
    manifests = {path.name for path in folder.glob("*.yaml")} - NOT_APPLIED
    assert set(load(folder / "kustomization.yaml")["resources"]) == manifests
    for name in manifests:
        check(load(folder / name))
    if (folder / "loader.yaml").exists():
        check(load(folder / "loader.yaml"))


def test_the_schemas_refuse_what_is_misspelt(written):
    folder = written("kubernetes served/lenet5")
    deployment = load(folder / "deployment.yaml")
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        check(deployment)
    monitor = load(folder / "service-monitor.yaml")
    monitor["spec"]["endpoints"][0]["metricsPath"] = "/"
    with pytest.raises(ValidationError, match="metricsPath"):
        check(monitor)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on this machine")
def test_kubectl_puts_it_together(folder):
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True)
    objects = list(yaml.safe_load_all(done.stdout))
    names = {(o["kind"], o["metadata"]["name"]) for o in objects}
    volumes = next(o for o in objects if o["kind"] == "Deployment")["spec"]["template"]["spec"]["volumes"]
    config = next(volume["configMap"]["name"] for volume in volumes if "configMap" in volume)
    assert config.startswith(("lenet5-config-", "models-config-"))
    assert ("ConfigMap", config) in names
    secrets = [volume["secret"]["secretName"] for volume in volumes if "secret" in volume]
    assert all(("Secret", name) in names for name in secrets)
    assert bool(secrets) == (folder / "ssl.config").exists()


def test_every_container_has_as_few_rights_as_can_be(folder):
    pods = [pod_of(folder)]
    pods += [load(folder / "loader.yaml")["spec"]] if (folder / "loader.yaml").exists() else []
    for pod in pods:
        assert pod["automountServiceAccountToken"] is False
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert container["securityContext"] == {
                "runAsNonRoot": True,
                "runAsUser": 65534,
                "runAsGroup": 65534,
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            }
            assert not container["image"].endswith(":latest")
            assert set(container["resources"]["requests"]) == set(container["resources"]["limits"]) == {"cpu", "memory"}


def test_the_servers_command_line(written, pem):
    server = pod_of(written(f"kubernetes served/lenet5 {VARIANTS['all']}"))["containers"][0]
    assert server["image"] == "tensorflow/serving:2.20.0"
    assert server["command"] == ["tensorflow_model_server"]
    assert server["args"] == [
        "--port=8500",
        "--rest_api_port=8501",
        "--model_config_file=/etc/serving/models.config",
        "--allow_version_labels_for_unavailable_models=true",
        "--grpc_channel_arguments=grpc.max_connection_age_ms=300000",
        "--ssl_config_file=/etc/serving-tls/ssl.config",
        "--monitoring_config_file=/etc/serving/monitoring.config",
        "--tensorflow_intra_op_parallelism=4",
        "--tensorflow_inter_op_parallelism=4",
        "--enable_batching=true",
        "--batching_parameters_file=/etc/serving/batching.config",
        "--enable_profiler=false",
    ]
    mounts = {mount["mountPath"]: mount for mount in server["volumeMounts"]}
    assert mounts["/models"]["subPath"] == "of/today"
    assert mounts["/models"]["readOnly"]


def test_servers_replace_one_another_when_a_version_is_available(written):
    folder = written("kubernetes served/lenet5")
    spec = load(folder / "deployment.yaml")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert "replicas" not in spec  # an apply would undo the autoscaler
    pod = spec["template"]["spec"]
    server = pod["containers"][0]
    for probe in ("startupProbe", "readinessProbe"):
        assert server[probe]["httpGet"] == {"path": "/v1/models/lenet5/metadata", "port": "rest"}
    startup = server["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 600 < spec["progressDeadlineSeconds"]
    assert server["livenessProbe"]["tcpSocket"] == {"port": "grpc"}
    assert server["lifecycle"]["preStop"]["sleep"]["seconds"] < pod["terminationGracePeriodSeconds"]


def test_versions_in_a_bucket_are_fetched_before_the_server_starts(written):
    folder = written("kubernetes served/lenet5 --storage s3://bucket/models/ --label stable=1 --label canary=2")
    (fetch,) = pod_of(folder)["initContainers"]
    assert fetch["args"] == [  # with a slash at the end: a prefix "…/1" would fetch version 10, too
        *("s3://bucket/models/lenet5/1/", "/models/lenet5/1"),
        *("s3://bucket/models/lenet5/2/", "/models/lenet5/2"),
    ]
    assert "s3://" not in (folder / "models.config").read_text()  # the image has no file system for it
    assert load(folder / "network-policy.yaml")["spec"]["egress"]


def test_nothing_goes_out_and_metrics_stay_in(written):
    folder = written("kubernetes served/lenet5 --host models.example.org --body-limit 3")
    policy = load(folder / "network-policy.yaml")["spec"]
    assert policy["egress"] == []
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    ingress = load(folder / "ingress.yaml")
    assert set(ingress["metadata"]["annotations"].values()) == {"3m"}
    (rule,) = ingress["spec"]["rules"]
    assert [path["path"] for path in rule["http"]["paths"]] == ["/v1/models/"]
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]] == ["models.example.org"]


def test_the_autoscaler_asks_for_the_metric_that_the_adapter_makes(written):
    folder = written("kubernetes served/lenet5 --cpus 3 --min-replicas 3 --max-replicas 5")
    spec = load(folder / "autoscaler.yaml")["spec"]
    (rule,) = load(folder / "prometheus-adapter.yaml")["rules"]["custom"]
    pods = spec["metrics"][0]["pods"]
    assert pods["metric"]["name"] == rule["name"]["as"]
    assert pods["target"] == {"type": "AverageValue", "averageValue": "3"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 5)


def test_a_claim_is_made_only_where_none_was_named(written, workplace):
    assert load(written("kubernetes served/lenet5") / "claim.yaml")["metadata"]["name"] == "lenet5-models"
    shutil.rmtree(workplace / "out")
    assert not (written("kubernetes served/lenet5 --storage pvc://mine") / "claim.yaml").exists()


def test_the_private_key_is_readable_by_its_owner_alone_and_not_committed(written, pem):
    folder = written(f"kubernetes served/lenet5 {VARIANTS['all']}")
    assert (folder / "ssl.config").stat().st_mode & 0o777 == 0o600
    assert (folder / ".gitignore").read_text() == "ssl.config\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--storage ftp://x/y", "Received: 'ftp://x/y'"),
        ("--storage s3://", "s3://BUCKET/path"),
        ("--storage pvc://models/../others", "pvc://CLAIM/path"),
        ("--image registry:5000/lenet5", "pinned by a tag"),
        ("--image registry/lenet5:latest", "not latest"),
        ("--image registry/lenet5:1 --storage pvc://a", "not both"),
        ("--host https://models.example.org", "Received: 'https://models.example.org'"),
        ("--min-replicas 3 --max-replicas 2", "3 and 2"),
        ("--name 3D", "RFC 1035"),
        ("--tls-key pem/server.key", "--tls-certificate and --tls-key"),
        ("--tls-certificate pem/server.pem --tls-key pem/other.key", "do not belong together"),
    ],
)
def test_what_a_cluster_would_refuse_is_refused_here(zoo_deploy, workplace, pem, options, words):
    result = zoo_deploy(f"kubernetes out served/lenet5 {options}")
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
    assert not (workplace / "out").exists()
