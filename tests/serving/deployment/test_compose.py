"""What Docker Compose is given."""

import json
import shutil
import subprocess
from pathlib import Path

import crossplane
import jsonschema
import pytest

from serving.deployment import nginx
from serving.embedded import flags
from serving.tf_serving_flags import as_options, placed
from tests.serving.deployment.yaml_file import load

SCHEMA = json.loads((Path(__file__).with_name("schemas") / "compose-spec.json").read_text())
HAS_COMPOSE = (
    shutil.which("docker") is not None
    and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
)


@pytest.fixture
def folder(written, pem):
    return written(
        "compose served/lenet5 served/style_transfer --cpus 2 --max-batch 8 "
        "--tls-certificate pem/server.pem --tls-key pem/server.key"
    )


def test_the_file_is_valid(folder):
    compose = load(folder / "compose.yaml")
    validator = jsonschema.Draft7Validator(SCHEMA)
    validator.validate(compose)
    compose["services"]["server"]["helthcheck"] = {}
    with pytest.raises(jsonschema.ValidationError, match="helthcheck"):
        validator.validate(compose)


def test_the_servers_command_line_starts_ours_as_well(folder):
    arguments = load(folder / "compose.yaml")["services"]["server"]["command"]
    read = as_options(arguments)
    assert set(read[::2]) == {"--flag"}, "an argument that is no flag of TensorFlow Serving"
    friendly = {"base_path": None, "name": None, "rest_port": None, "grpc_port": None}
    options = placed(dict(flag.split("=", 1) for flag in read[1::2]), friendly, {})
    assert (options["grpc_port"], options["rest_port"]) == (8500, 8501)
    assert options["flags"]["model_config_file"] == "/etc/serving/models.config"
    embedded = flags.parse(arguments)
    assert embedded.ssl_config_file


@pytest.mark.skipif(not HAS_COMPOSE, reason="no docker compose on this machine")
def test_docker_compose_reads_it(folder):
    command = ["docker", "compose", "--file", str(folder / "compose.yaml"), "config", "--quiet"]
    assert subprocess.run(command, capture_output=True, text=True).stderr == ""


def test_every_service_is_confined_and_pinned(folder):
    services = load(folder / "compose.yaml")["services"]
    assert list(services) == ["server", "nginx", "prometheus", "grafana"]
    for service in services.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
        assert service["image"].rpartition(":")[2][:1] in "v123456789"
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", []))
    assert services["server"]["user"].partition(":")[0] not in ("", "0", "root")


def test_the_server_has_no_way_out_and_only_nginx_a_way_in(folder):
    compose = load(folder / "compose.yaml")
    server = compose["services"]["server"]
    assert server["networks"] == ["inside"]
    assert compose["networks"]["inside"] == {"internal": True}
    assert "ports" not in server
    assert "--ssl_config_file=/etc/serving-tls/ssl.config" in server["command"]


def test_what_is_mounted_is_there(folder):
    for service in load(folder / "compose.yaml")["services"].values():
        for mount in service["volumes"]:
            if mount["type"] == "bind":
                assert (folder / mount["source"]).exists(), mount
                assert mount["read_only"]
    server = load(folder / "compose.yaml")["services"]["server"]
    sources = {mount["target"]: mount["source"] for mount in server["volumes"]}
    assert sources["/models/lenet5"] == "../served/lenet5"  # the folder may be moved together with the models


def test_nginx_reads_its_configuration(tmp_path):
    (tmp_path / "nginx.conf").write_text(nginx.config(5))
    read = crossplane.parse(str(tmp_path / "nginx.conf"), strict=True, check_ctx=True, check_args=True)
    assert (read["status"], read["errors"]) == ("ok", [])
    http = next(part for part in read["config"][0]["parsed"] if part["directive"] == "http")["block"]
    assert ["5m"] in [part["args"] for part in http if part["directive"] == "client_max_body_size"]
    (server,) = [part["block"] for part in http if part["directive"] == "server"]
    assert [part["args"] for part in server if part["directive"] == "location"] == [["/v1/models/"]]  # and no metrics


def test_the_alerts_are_those_that_prometheus_reads(folder):
    prometheus = load(folder / "prometheus.yaml")
    mounts = load(folder / "compose.yaml")["services"]["prometheus"]["volumes"]
    assert set(prometheus["rule_files"]) <= {mount["target"] for mount in mounts}
    (scraped,) = prometheus["scrape_configs"]
    assert scraped["metrics_path"] == "/monitoring/prometheus/metrics"
    assert f'job="{scraped["job_name"]}"' in load(folder / "alerts.yaml")["groups"][0]["rules"][0]["expr"]
