"""Versions and configurations that change under 32 clients, and a server that dies: on each engine of this machine.

Every client asks without a retry, so that no failed request is hidden.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from google.protobuf import text_format

import serving
from serving.docker import MODELS
from serving.engines import ENGINES
from serving.protos import serving_pb2 as pb

NUM_CLIENTS = 32
PAUSE_SECONDS = 0.02
ANSWERS = {"affine/1": 14.1, "affine/2": 28.1}
"""What the models say of [1, 2, 3], first number."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(params=[name for name, engine in ENGINES.items() if engine.why_not() is None])
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@dataclass
class Callers:
    """What clients were answered, and what went wrong: in all, and the latest for each."""

    answers: list[float] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    latest: dict[int, float | Exception] = field(default_factory=dict)

    def record(self, number: int, answer: float | Exception) -> None:
        """Of the client with this number."""
        (self.faults if isinstance(answer, Exception) else self.answers).append(answer)
        self.latest[number] = answer

    def wait_for(self, answer: float) -> None:
        """Waits until every client is answered so."""
        eventually(lambda: list(self.latest.values()) == [answer] * NUM_CLIENTS)

    def wait_for_faults(self) -> None:
        """Waits until every client fails."""
        eventually(lambda: all(isinstance(answer, Exception) for answer in list(self.latest.values())))


@contextlib.contextmanager
def calling(server: serving.Server) -> Iterator[Callers]:
    """Clients that ask all the time, half of them over REST and half over gRPC."""
    callers, done = Callers(), threading.Event()

    def ask(number: int) -> None:
        target = server.rest_url if number % 2 else server.grpc_address
        with serving.Client(target, retries=0, timeout=60) as client:
            while not done.wait(PAUSE_SECONDS):
                try:
                    answer = client.predict("m", [[1.0, 2.0, 3.0]])["y"]
                except Exception as error:
                    callers.record(number, error)
                else:
                    callers.record(number, round(float(answer[0, 0]), 1))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(NUM_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield callers
    finally:
        done.set()
        for thread in threads:
            thread.join()


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def publish(models: Path, base: Path, version: int, source: str = "affine/1") -> None:
    """A copy of a model under a new number, whole at once."""
    shutil.copytree(models / source, base / f"staging-{version}").rename(base / str(version))


def states(server: serving.Server) -> dict[int, str]:
    with serving.Client(server.rest_url) as client:
        return {status.version: status.state for status in client.status("m")}


def test_swaps_and_rollbacks_fail_no_request(engine, contract_models, tmp_path):
    base = tmp_path / "m"
    publish(contract_models, base, 1)
    with serving.serve(base, engine=engine) as server, calling(server) as callers:
        for version in range(2, 8):
            source = f"affine/{2 - version % 2}"
            publish(contract_models, base, version, source)
            callers.wait_for(ANSWERS[source])
        eventually(lambda: states(server)[6] == "END")
        shutil.rmtree(base / "7")
        callers.wait_for(ANSWERS["affine/2"])
    print(f"{engine}: {len(callers.answers)} answers, {len(callers.faults)} failed")
    assert not callers.faults
    assert set(callers.answers) == set(ANSWERS.values())


def test_a_broken_version_leaves_the_old_one_answering(engine, contract_models, tmp_path):
    base = tmp_path / "m"
    publish(contract_models, base, 1)
    with serving.serve(base, engine=engine) as server, calling(server) as callers:
        for version, harm in enumerate((cut_graph, cut_weights, lose_weights, lose_graph), 2):
            shutil.copytree(contract_models / "affine/2", base / f"staging-{version}")
            harm(base / f"staging-{version}")
            (base / f"staging-{version}").rename(base / str(version))
            eventually(lambda version=version: states(server).get(version) == "END")
            assert states(server)[1] == "AVAILABLE"
        publish(contract_models, base, 6, "affine/2")
        callers.wait_for(ANSWERS["affine/2"])
    assert not callers.faults
    assert set(callers.answers) == set(ANSWERS.values())


def cut_graph(version: Path) -> None:
    graph = version / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:-100])


def cut_weights(version: Path) -> None:
    weights = version / "variables/variables.data-00000-of-00001"
    weights.write_bytes(weights.read_bytes()[:10])


def lose_weights(version: Path) -> None:
    (version / "variables/variables.index").write_bytes(b"")


def lose_graph(version: Path) -> None:
    (version / "saved_model.pb").write_bytes(b"no graph")


def test_reloads_fail_no_request(engine, contract_models, tmp_path):
    base = tmp_path / "m"
    publish(contract_models, base, 1)
    publish(contract_models, base, 2, "affine/2")
    seen = f"{MODELS}/m" if engine == "docker" else str(base)
    first, newest = [f"specific {{ versions: {version} }}" for version in (1, 2)]
    with serving.serve(base, engine=engine) as server, calling(server) as callers:
        for _ in range(3):
            reload(server, config("m", seen, first))
            callers.wait_for(ANSWERS["affine/1"])
            reload(server, config("m", seen, "all {}", 'version_labels { key: "stable" value: 1 }'))
            callers.wait_for(ANSWERS["affine/2"])
            reload(server, config("m", seen, newest) + config("other", seen, first))
            reload(server, config("m", seen, newest))
    print(f"{engine}: {len(callers.answers)} answers, {len(callers.faults)} failed")
    assert not callers.faults
    assert set(callers.answers) == set(ANSWERS.values())


def config(name: str, base: str, policy: str, labels: str = "") -> str:
    return (
        f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" '
        f"model_version_policy {{ {policy} }} {labels} }}\n"
    )


def reload(server: serving.Server, configs: str) -> None:
    """Asks for these models and no others, and waits until they answer."""
    request = pb.ReloadConfigRequest()
    text_format.Parse(f"model_config_list {{ {configs} }}", request.config)
    with grpc.insecure_channel(server.grpc_address) as channel:
        call = channel.unary_unary(
            "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
            pb.ReloadConfigRequest.SerializeToString,
            pb.ReloadConfigResponse.FromString,
        )
        assert call(request, timeout=60).status.error_code == 0


def test_a_killed_server_is_unavailable_and_found_again_when_it_is_back(engine, contract_models, tmp_path):
    base = tmp_path / "m"
    publish(contract_models, base, 1)
    with serving.serve(base, engine=engine) as server, calling(server) as callers:
        callers.wait_for(ANSWERS["affine/1"])
        kill(server)
        assert server.wait(60)
        callers.wait_for_faults()
        ports = [int(address.rsplit(":", 1)[1]) for address in (server.rest_url, server.grpc_address)]
        publish(contract_models, base, 2, "affine/2")
        with serving.serve(base, engine=engine, rest_port=ports[0], grpc_port=ports[1]):
            callers.wait_for(ANSWERS["affine/2"])
            failed = len(callers.faults)
            callers.answers.clear()
            eventually(lambda: len(callers.answers) > 4 * NUM_CLIENTS)
            assert len(callers.faults) == failed
            assert not [fault for fault in callers.faults if type(fault) is not serving.Unavailable]


def kill(server: serving.Server) -> None:
    """``kill -9`` of the server itself, not of what watches over it."""
    port = server.rest_url.rsplit(":", 1)[1]
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            arguments = command.read_bytes().decode(errors="replace").split("\0")
            if any(argument.endswith("child.py") for argument in arguments):
                continue
            if f"--rest_api_port={port}" in arguments:
                os.kill(int(command.parent.name), signal.SIGKILL)
            elif any(argument.startswith("--publish=") and f":{port}:" in argument for argument in arguments):
                name = next(argument for argument in arguments if argument.startswith("--name="))
                subprocess.run(["docker", "kill", "--signal=KILL", name.partition("=")[2]], check=True)
