"""A real server, started as the files say: it is ready where probes look, and exports what queries ask for."""

import json
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import promql_parser
import pytest
import yaml

import serving
from serving.deployment import compose, container, dashboard, monitoring, text_protos
from serving.deployment.plan import plan
from tests.serving.contract.conftest import start

NOT_OURS = ("--port", "--rest_api_port", "--enable_profiler", "--grpc_channel_arguments")


@pytest.fixture(scope="module")
def moving(models):
    return plan([models / "moving"], ["stable=1", "canary=2"])


@pytest.fixture(scope="module")
def server(moving, models, tmp_path_factory):
    """The embedded server under the command line of the container, which differs in places and ports alone."""
    folder = tmp_path_factory.mktemp("etc")
    for name, text in container.config_files(moving).items():
        (folder / name).write_text(text)
    labels = {model.name: model.labels for model in moving.models}
    (folder / container.MODEL_CONFIG).write_text(text_protos.model_config(labels, root=str(models)))
    program, *flags = [word.replace(container.CONFIG, str(folder)) for word in container.command(moving)]
    assert program == "tensorflow_model_server"
    running = start(folder / "server.log", *(flag for flag in flags if not flag.startswith(NOT_OURS)))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def page(server):
    """The metrics after an answer and a refusal."""
    rest_url = f"http://127.0.0.1:{server.rest_port}"
    with serving.Client(rest_url) as client:
        client.predict("moving", {"x": np.zeros(1, np.float32)}, label="stable")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{rest_url}/v1/models/moving:predict", data=b"{}")
    with urllib.request.urlopen(f"{rest_url}/monitoring/prometheus/metrics") as answer:
        return answer.read().decode()


def test_labels_lead_to_their_versions(server):
    with serving.Client(f"127.0.0.1:{server.grpc_port}") as client:
        assert client.metadata("moving", label="stable").version == 1
        assert client.metadata("moving", label="canary").version == 2
        assert client.metadata("moving").version == 2  # who names no label asks the canary


def test_the_probe_of_the_cluster_and_that_of_compose_find_the_server_ready(server, moving):
    path = container.ready_path(moving)
    assert urllib.request.urlopen(f"http://127.0.0.1:{server.rest_port}{path}").status == 200
    files = compose.files(moving, Path("/out"), "1000:1000", body_limit=8, slow=1.0)
    program, *words = yaml.safe_load(files["compose.yaml"])["services"]["server"]["healthcheck"]["test"][1:]
    words[-1] = words[-1].replace("$$", "$").replace("8501", str(server.rest_port))
    assert subprocess.run([program, *words]).returncode == 0
    words[-1] = words[-1].replace(path, "/v1/models/other/metadata")
    assert subprocess.run([program, *words]).returncode == 1


def queries():
    expressions = [rule["expr"] for rule in monitoring.alert_groups("moving", 0.5)[0]["rules"]]
    panels = json.loads(dashboard.files()["dashboard.json"])["panels"]
    expressions += [target["expr"] for panel in panels for target in panel["targets"]]
    return [*expressions, monitoring.in_flight('namespace="default"', by="pod")]


def test_every_query_is_promql_of_metrics_and_labels_that_a_server_has(page):
    exported = {}
    for name, labels in re.findall(r"^([a-zA-Z0-9_:]+)\{(.*)\}", page, re.MULTILINE):
        exported.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    added = {"job", "instance", "namespace"}  # by Prometheus
    asked = set()

    def note(node):
        if isinstance(node, promql_parser.VectorSelector) and node.name != "up":
            asked.add((node.name, *(matcher.name for matcher in node.matchers.matchers)))

    for query in queries():
        assert promql_parser.walk(promql_parser.parse(query), note)
    assert len({name for name, *_ in asked}) >= 6
    for name, *labels in asked:
        assert name in exported, name
        assert set(labels) <= exported[name] | added, (name, labels)


def test_a_refusal_is_the_callers_fault_and_no_alert_of_ours(page):
    statuses = set(re.findall(r'request_count\{model_name="moving",status="(\w+)"\}', page))
    assert statuses == {"OK", "INVALID_ARGUMENT"}
    (ours,) = re.findall(r'status!~"([^"]*)"', monitoring.servers_fault(""))
    assert all(re.fullmatch(ours, status) for status in statuses)
    assert not re.fullmatch(ours, "INTERNAL")


def test_the_panels_of_the_dashboard_lie_side_by_side():
    board = json.loads(dashboard.files()["dashboard.json"])
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in board["panels"]}) == 6
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert variables == {"source", "model"}
