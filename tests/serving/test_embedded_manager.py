"""Versions come and go under load: a user must never see the gap between two of them, or a broken one take over."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.embedded.core import Core
from serving.embedded.manager import Manager, State
from serving.embedded.metrics import Metrics
from serving.embedded.service import Service
from serving.embedded.status import Code, ServingError
from serving.embedded.version_source import choose, find_versions
from serving.protos import serving_pb2 as pb


class FakeServable:
    """Answers with its version, and notices when it is used after its end."""

    def __init__(self, version: int):
        self.version = version
        self.closed = False

    def answer(self) -> int:
        time.sleep(0.001)
        assert not self.closed, "let go of while a request was on it"
        return self.version

    def close(self) -> None:
        self.closed = True


class FakeLoader:
    """Loads at once; refuses a folder with a file called ``broken``."""

    def __init__(self):
        self.attempts: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, model: str, version: int, path: Path) -> FakeServable:
        self.attempts.append(version)
        self.gate.wait(10)
        if (path / "broken").exists():
            raise ServingError(Code.OUT_OF_RANGE, "Read less bytes than requested")
        return FakeServable(version)


@pytest.fixture
def loader() -> FakeLoader:
    return FakeLoader()


@pytest.fixture
def core(loader: FakeLoader) -> Iterator[Core]:
    manager = Manager(loader)
    yield Core(manager)
    loader.gate.set()
    manager.stop()


def publish(base: Path, version: object, broken: bool = False) -> None:
    folder = base / f"staging-{version}"
    folder.mkdir(parents=True)
    if broken:
        (folder / "broken").touch()
    folder.rename(base / str(version))


def configure(core: Core, base: Path, name: str = "m", **policy) -> None:
    config = pb.ModelServerConfig()
    config.model_config_list.config.add(
        name=name, base_path=str(base), model_platform="tensorflow", model_version_policy=pb.VersionPolicy(**policy)
    )
    core.configure(config)


def states(core: Core, name: str = "m") -> dict[int, str]:
    return {status.version: State.Name(status.state) for status in core.manager.statuses(name)}


def wait_for_states(core: Core, expected: dict[int, str]) -> None:
    assert core.manager.wait_for(lambda: states(core) == expected, timeout=10), states(core)


def ask(core: Core, **spec) -> int:
    with core.servable(pb.ModelSpec(name="m", **spec)) as loaded:
        return loaded.servable.answer()


def test_a_swap_under_load_fails_no_request(core, tmp_path):
    publish(tmp_path, 1)
    configure(core, tmp_path)
    wait_for_states(core, {1: "AVAILABLE"})
    answers, faults, done = [], [], threading.Event()

    def client() -> None:
        while not done.is_set():
            try:
                answers.append(ask(core))
            except Exception as error:
                faults.append(error)

    clients = [threading.Thread(target=client) for _ in range(8)]
    for thread in clients:
        thread.start()
    for version in range(2, 8):
        publish(tmp_path, version)
        core.poll()
        assert core.manager.wait_for(lambda v=version: states(core)[v - 1] == "END", timeout=10)
    done.set()
    for thread in clients:
        thread.join()
    assert not faults
    assert {1, 7} <= set(answers)


def test_the_old_version_serves_while_the_new_one_loads(core, loader, tmp_path):
    publish(tmp_path, 1)
    configure(core, tmp_path)
    wait_for_states(core, {1: "AVAILABLE"})
    loader.gate.clear()
    publish(tmp_path, 2)
    core.poll()
    wait_for_states(core, {2: "LOADING", 1: "AVAILABLE"})
    assert ask(core) == 1
    loader.gate.set()
    wait_for_states(core, {2: "AVAILABLE", 1: "END"})
    assert ask(core) == 2
    with pytest.raises(ServingError, match=r"NOT_FOUND: Servable not found for request: Specific\(m, 1\)"):
        ask(core, version=pb.Int64Value(value=1))


def test_a_broken_version_leaves_the_old_one_serving_and_repairing_it_in_place_does_nothing(core, loader, tmp_path):
    publish(tmp_path, 1)
    configure(core, tmp_path)
    publish(tmp_path, 2, broken=True)
    core.poll()
    wait_for_states(core, {2: "END", 1: "AVAILABLE"})
    assert ask(core) == 1
    (broken, _) = core.status(pb.ModelSpec(name="m")).model_version_status
    assert broken.status.error_code == Code.OUT_OF_RANGE
    assert broken.status.error_message == "Read less bytes than requested"
    (tmp_path / "2" / "broken").unlink()
    core.poll()
    assert loader.attempts == [1, 2]
    publish(tmp_path, 3)
    core.poll()
    wait_for_states(core, {3: "AVAILABLE", 2: "END", 1: "END"})


def test_a_request_under_way_finishes_before_its_version_is_let_go(core, tmp_path):
    publish(tmp_path, 1)
    configure(core, tmp_path)
    wait_for_states(core, {1: "AVAILABLE"})
    with core.servable(pb.ModelSpec(name="m")) as loaded:
        publish(tmp_path, 2)
        core.poll()
        wait_for_states(core, {2: "AVAILABLE", 1: "UNLOADING"})
        assert loaded.servable.answer() == 1
    wait_for_states(core, {2: "AVAILABLE", 1: "END"})
    assert loaded.servable.closed


def test_a_version_that_is_wanted_again_while_it_is_let_go_comes_back(core, tmp_path):
    publish(tmp_path, 1)
    publish(tmp_path, 2)
    chosen = [pb.VersionPolicy.Specific(versions=[version]) for version in (1, 2)]
    configure(core, tmp_path, specific=chosen[0])
    wait_for_states(core, {1: "AVAILABLE"})
    with core.servable(pb.ModelSpec(name="m")):
        configure(core, tmp_path, specific=chosen[1])
        wait_for_states(core, {2: "AVAILABLE", 1: "UNLOADING"})
        configure(core, tmp_path, specific=chosen[0])
        assert not core.manager.is_settled("m")
    wait_for_states(core, {2: "END", 1: "AVAILABLE"})
    assert ask(core) == 1


def test_deleting_the_newest_version_brings_the_one_before_back(core, tmp_path):
    publish(tmp_path, 1)
    publish(tmp_path, 2)
    configure(core, tmp_path)
    wait_for_states(core, {2: "AVAILABLE"})
    (tmp_path / "2").rmdir()
    core.poll()
    wait_for_states(core, {2: "END", 1: "AVAILABLE"})
    (tmp_path / "1").rmdir()
    core.poll()
    wait_for_states(core, {2: "END", 1: "END"})


def test_a_base_path_without_versions_is_waited_for(core, tmp_path):
    configure(core, tmp_path / "later")
    waited = threading.Thread(target=core.wait_until_settled, args=(["m"],))
    waited.start()
    waited.join(0.1)
    assert waited.is_alive()
    publish(tmp_path / "later", 1)
    core.poll()
    waited.join(10)
    assert not waited.is_alive()
    assert ask(core) == 1


def test_a_model_that_cannot_be_loaded_is_named_with_its_error(core, tmp_path):
    publish(tmp_path, 1, broken=True)
    configure(core, tmp_path)
    with pytest.raises(ServingError) as caught:
        core.wait_until_settled(["m"])
    assert str(caught.value) == (
        "UNKNOWN: 1 servable(s) did not become available: {{{name: m version: 1} due to error: "
        "OUT_OF_RANGE: Read less bytes than requested}, }"
    )


def test_loading_is_tried_as_often_as_asked(tmp_path):
    loader = FakeLoader()
    manager = Manager(loader, max_num_retries=2, retry_interval=0.01)
    publish(tmp_path, 1, broken=True)
    manager.aspire("m", {1: tmp_path / "1"})
    assert manager.wait_for(lambda: manager.is_settled("m"), timeout=10)
    manager.stop()
    assert loader.attempts == [1, 1, 1]


def test_a_loader_that_fails_unforeseen_ends_its_version_only(tmp_path):
    def load(model: str, version: int, path: Path) -> None:
        raise KeyError("surprise")

    manager = Manager(load)
    manager.aspire("m", {1: tmp_path})
    assert manager.wait_for(lambda: manager.is_settled("m"), timeout=10)
    manager.stop()
    (status,) = manager.statuses("m")
    assert str(status.error) == "INTERNAL: KeyError: 'surprise'"


def test_a_model_taken_off_the_list_is_let_go(core, tmp_path):
    publish(tmp_path, 1)
    configure(core, tmp_path)
    wait_for_states(core, {1: "AVAILABLE"})
    empty = pb.ModelServerConfig()
    empty.model_config_list.SetInParent()
    core.configure(empty)
    wait_for_states(core, {1: "END"})
    with pytest.raises(ServingError, match=r"Latest\(m\)"):
        ask(core)


def test_a_model_that_comes_back_while_its_last_request_is_answered_is_served_again(core, tmp_path):
    publish(tmp_path, 1)
    configure(core, tmp_path)
    wait_for_states(core, {1: "AVAILABLE"})
    with core.servable(pb.ModelSpec(name="m")):
        configure(core, tmp_path / "nowhere", name="other")
        wait_for_states(core, {1: "UNLOADING"})
        configure(core, tmp_path)
    wait_for_states(core, {1: "AVAILABLE"})
    assert ask(core) == 1


def test_a_model_that_waits_for_its_first_version_holds_up_no_other(core, tmp_path):
    publish(tmp_path / "b", 1)
    configure(core, tmp_path / "a", name="a")
    given_up = iter([False])
    core.wait_until_settled(["a"], lambda: next(given_up, True))
    configure(core, tmp_path / "b", name="b")
    core.wait_until_settled(["b"])
    with core.servable(pb.ModelSpec(name="b")) as loaded:
        assert loaded.version == 1


def test_a_reload_names_the_models_that_it_could_not_bring_up(core, tmp_path):
    publish(tmp_path, 1, broken=True)
    request = pb.ReloadConfigRequest()
    request.config.model_config_list.config.add(name="m", base_path=str(tmp_path), model_platform="tensorflow")
    with pytest.raises(ServingError) as error:
        Service(core, Metrics()).handle_reload_config_request(request)
    assert str(error.value) == (
        "UNKNOWN: 1 model(s) did not become available: {{{name: m version: 1} due to error: "
        "OUT_OF_RANGE: Read less bytes than requested}, }"
    )


def test_only_models_that_are_new_are_waited_for(core, tmp_path):
    publish(tmp_path, 1)
    config = pb.ModelServerConfig()
    config.model_config_list.config.add(name="m", base_path=str(tmp_path), model_platform="tensorflow")
    assert core.configure(config) == ["m"]
    config.model_config_list.config.add(name="n", base_path=str(tmp_path), model_platform="tensorflow")
    assert core.configure(config) == ["n"]


def test_a_bucket_is_refused(core):
    with pytest.raises(ServingError, match=r"INVALID_ARGUMENT: .*folder of this machine; .* reads no s3://models/m"):
        configure(core, "s3://models/m")


def test_a_label_in_use_moves_only_to_a_version_that_answers(core, tmp_path):
    publish(tmp_path, 1)
    configure(core, tmp_path)
    wait_for_states(core, {1: "AVAILABLE"})
    config = pb.ModelServerConfig()
    model = config.model_config_list.config.add(name="m", base_path=str(tmp_path), model_platform="tensorflow")
    model.version_labels["stable"] = 1
    core.configure(config)
    assert ask(core, version_label="stable") == 1
    model.version_labels["stable"] = 2
    with pytest.raises(ServingError, match="FAILED_PRECONDITION: Request to assign label to version 2 of model m"):
        core.configure(config)
    assert ask(core, version_label="stable") == 1
    with pytest.raises(ServingError, match="INVALID_ARGUMENT: Unrecognized servable version label: other"):
        ask(core, version_label="other")


def test_only_integer_folders_are_versions(tmp_path):
    for name in ("1", "0005", "7x", "-3", "staging", "99999999999999999999"):
        (tmp_path / name).mkdir()
    (tmp_path / "8").touch()
    assert find_versions(tmp_path) == {1: tmp_path / "1", 5: tmp_path / "0005"}
    assert find_versions(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (pb.VersionPolicy(), [3]),
        (pb.VersionPolicy(latest=pb.VersionPolicy.Latest(num_versions=2)), [2, 3]),
        (pb.VersionPolicy(all=pb.VersionPolicy.All()), [1, 2, 3]),
        (pb.VersionPolicy(specific=pb.VersionPolicy.Specific(versions=[1, 9])), [1]),
    ],
)
def test_the_policy_chooses(policy, chosen):
    available = {version: Path(str(version)) for version in (1, 2, 3)}
    assert sorted(choose(available, policy)) == chosen
