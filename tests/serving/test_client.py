"""Two clients, two transports, the same answers, from a real server: tests of ``client`` run four times."""

import asyncio
import inspect
import shutil
import subprocess
import sys
import threading
import time

import ml_dtypes
import numpy as np
import pytest

import serving
from tests.serving.awaited import Awaited

PNG = b"\x89PNG\r\n\x1a\n"


def test_a_bare_value_and_a_dict_ask_the_same(client):
    bare = client.predict("tiny", [[1, 2, 3]])
    named = client.predict("tiny", {"x": np.array([[1.0, 2.0, 3.0]])})
    assert list(bare) == ["y"], "the output's name is lost, as REST sends a single output bare"
    assert bare["y"].dtype == np.float32
    np.testing.assert_allclose(bare["y"], [[14.1, -0.95]], rtol=1e-6)
    np.testing.assert_array_equal(bare["y"], named["y"])


def test_several_inputs_and_outputs_go_by_name(client):
    outputs = client.predict("tiny", {"b": [[3], [4]], "a": [[1, 2], [3, 4]]}, signature="two")
    assert list(outputs) == ["prod", "sum"]
    np.testing.assert_array_equal(outputs["sum"], [[6], [11]])
    np.testing.assert_array_equal(outputs["prod"], [[3, 6], [12, 16]])


def test_strings_are_text_or_bytes_by_the_outputs_name(client):
    outputs = client.predict("tiny", ["aé\n", b"\x80\x00"], signature="text")
    assert outputs["raw_bytes"].tolist() == ["aé\n".encode() + b"\xff\x00", b"\x80\x00\xff\x00"]
    assert outputs["upper"].tolist()[0] == "Aé\n"
    assert outputs["length"].tolist() == [4, 2]
    assert outputs["length"].dtype == np.int32
    restored = [text.encode("utf-8", "surrogateescape") for text in outputs["binary"]]
    assert restored == ["aé\n".encode() + b"\xfe", b"\x80\x00\xfe"]


def test_every_dtype_arrives_as_it_was_sent(client):
    big = [2**62 + 1, -(2**63)]
    outputs = client.predict("tiny", {"flag": [True, False], "big": big, "pixels": [[0, 255]]}, signature="kinds")
    assert {name: array.dtype.name for name, array in outputs.items()} == {
        "big": "int64",
        "double": "float64",
        "negated": "bool",
        "pixels": "uint8",
    }
    assert outputs["big"].tolist() == big, "an int64 went through a float"
    assert outputs["negated"].tolist() == [False, True]
    assert outputs["pixels"].tolist() == [[0, 255]]
    np.testing.assert_allclose(outputs["double"], np.array(big) / 3.0, rtol=1e-15)


def test_values_that_are_no_numbers_travel_both_ways(client):
    y = client.predict("tiny", [np.nan, np.inf, -np.inf, 1.0, -1.0], signature="odd")["y"]
    np.testing.assert_array_equal(y, [np.nan, np.inf, -np.inf, np.inf, -np.inf])


def test_scalars_and_empty_answers_keep_their_shape(client):
    assert client.predict("tiny", [1.5, 2.0], signature="total")["y"] == np.float32(3.5)
    assert client.predict("tiny", [1.5, 2.0], signature="total")["y"].shape == ()
    assert client.predict("tiny", 0, signature="zeros")["y"].shape == (0, 4)


def test_answers_can_be_written_to(client):
    y = client.predict("tiny", [[1, 2, 3]])["y"]
    y += 1


def test_half_precision_goes_over_grpc_and_is_refused_over_rest(client):
    if client.address.startswith("http"):
        with pytest.raises(serving.ServingError) as error:
            client.predict("tiny", [[1.5]], signature="half")
        assert "Use gRPC" in str(error.value)
    else:
        y = client.predict("tiny", [[1.5]], signature="half")["y"]
        assert y.dtype == ml_dtypes.bfloat16
        assert y.astype("float32").tolist() == [[3.0]]


def test_a_large_message_passes(client):
    """gRPC's own limit is 4 MiB: a batch of photographs is more."""
    pixels = np.zeros((3, 2_000_000), np.uint8) if not client.address.startswith("http") else np.zeros((3, 200_000))
    pixels = pixels.astype(np.uint8)
    outputs = client.predict("tiny", {"flag": [True], "big": [1], "pixels": pixels}, signature="kinds")
    assert outputs["pixels"].shape == pixels.shape


def test_metadata_names_version_dtypes_and_shapes(client):
    metadata = client.metadata("tiny")
    assert (metadata.name, metadata.version) == ("tiny", 1)
    assert "__saved_model_init_op" not in metadata.signatures
    two = metadata.signatures["two"]
    assert two.inputs == {"a": serving.TensorSpec("float32", (None, 2)), "b": serving.TensorSpec("int32", (None, 1))}
    assert metadata.signatures["half"].inputs["x"].dtype == "bfloat16"
    assert metadata.signatures["text"].outputs["upper"] == serving.TensorSpec("string", (None,))


def test_status_names_each_version(client):
    assert client.status("tiny") == (serving.VersionStatus(1, "AVAILABLE", ""),)


def test_a_version_can_be_asked_for(client):
    assert client.predict("tiny", [[0, 0, 0]], version=1)["y"].shape == (1, 2)
    with pytest.raises(serving.ModelNotFound) as error:
        client.predict("tiny", [[0, 0, 0]], version=7)
    assert "predict 'tiny' version 7" in str(error.value)
    assert "Specific(tiny, 7)" in str(error.value), "the server's words are lost"
    with pytest.raises(ValueError):
        client.predict("tiny", [[0, 0, 0]], version=1, label="stable")


def test_an_unknown_label_is_a_version_that_is_not_there(client):
    with pytest.raises(serving.ModelNotFound) as error:
        client.predict("tiny", [[0, 0, 0]], label="canary")
    assert "canary" in str(error.value)


@pytest.mark.parametrize("method", ["predict", "metadata", "status"])
def test_an_unknown_model_is_named_with_the_address(client, method):
    with pytest.raises(serving.ModelNotFound) as error:
        getattr(client, method)("tiney", *([[0.0]] if method == "predict" else []))
    assert "tiney" in str(error.value)
    assert client.address in str(error.value)


@pytest.mark.parametrize(
    ("signature", "inputs", "words"),
    [
        ("byte", [PNG], "Did you mean 'bytes'?"),
        ("two", {"a": [[1, 2]], "c": [[1]]}, "no input 'c'"),
        ("two", {"a": [[1, 2]]}, "missing input 'b'"),
        ("two", [[1, 2]], "2 inputs"),
        ("serving_default", [[1, 2]], "shape [1, 2] does not fit float32[?, 3]"),
        ("serving_default", [["a", "b", "c"]], "for a float32 tensor"),
        ("two", {"a": [[1, 2]], "b": [[1.5]]}, "float64 values for a int32 tensor"),
        ("bytes", [b"GIF"], "no picture"),  # refused by the graph: the server's words
        ("two", {"a": [[1, 2], [3, 4]], "b": [[1], [2], [3]]}, "ncompatible shapes"),
    ],
)
def test_bad_input_is_one_error_over_both(client, signature, inputs, words):
    with pytest.raises(serving.InvalidInput) as error:
        client.predict("tiny", inputs, signature=signature)
    assert words in str(error.value)
    assert f"signature {signature!r}, at {client.address}" in str(error.value)


def test_threads_share_a_client(target):
    wrong, barrier = [], threading.Barrier(8)

    def ask(client: serving.Client, number: int) -> None:
        barrier.wait()
        for _ in range(20):
            y = client.predict("tiny", [[number, 0, 0]])["y"]
            if abs(y[0, 0] - (number + 0.1)) > 1e-5:
                wrong.append((number, y))

    with serving.Client(target) as client:
        threads = [threading.Thread(target=ask, args=(client, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not wrong


def test_coroutines_share_a_client(target):
    async def ask_all() -> list[float]:
        async with serving.AsyncClient(target) as client:
            asked = [client.predict("tiny", [[number, 0, 0]]) for number in range(200)]
            return [float(outputs["y"][0, 0]) for outputs in await asyncio.gather(*asked)]

    np.testing.assert_allclose(asyncio.run(ask_all()), np.arange(200) + 0.1, rtol=1e-6)


def test_coroutines_do_not_all_ask_for_metadata_again(target):
    """Over REST it is old after a second: one of them asks."""

    async def count() -> int:
        async with serving.AsyncClient(target) as client:
            await client.predict("tiny", [[1, 0, 0]])
            asked = []
            fetch = client._fetch_metadata
            client._fetch_metadata = lambda *arguments: asked.append(arguments) or fetch(*arguments)
            await asyncio.sleep(1.1)
            await asyncio.gather(*(client.predict("tiny", [[1, 0, 0]]) for _ in range(50)))
            return len(asked)

    assert asyncio.run(count()) == (1 if target.startswith("http") else 0)


def test_a_coroutine_that_is_cancelled_leaves_the_client_whole(target):
    async def ask() -> np.ndarray:
        async with serving.AsyncClient(target) as client:
            asked = asyncio.ensure_future(client.predict("tiny", [[1, 0, 0]]))
            await asyncio.sleep(0)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            return (await client.predict("tiny", [[1, 0, 0]]))["y"]

    assert asyncio.run(ask()).shape == (1, 2)


def test_both_clients_have_the_same_methods_with_the_same_arguments():
    def methods(kind: type) -> dict[str, inspect.Signature]:
        return {
            name: inspect.signature(f) for name, f in inspect.getmembers(kind, callable) if not name.startswith("_")
        }

    assert methods(serving.Client) == methods(serving.AsyncClient)
    assert inspect.signature(serving.Client) == inspect.signature(serving.AsyncClient)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "127.0.0.1:1"])
def test_an_async_client_is_made_where_its_loop_runs(address):
    with pytest.raises(RuntimeError, match="no running event loop"):
        serving.AsyncClient(address)


def test_ready_is_known_at_once_when_it_is(client):
    assert client.wait_ready("tiny", timeout=5).version == 1


def test_waiting_for_what_never_comes_ends(client):
    with pytest.raises(serving.DeadlineExceeded) as error:
        client.wait_ready("nobody", timeout=0.5)
    assert f"'nobody' at {client.address} was not ready in 0.5 s" in str(error.value)


@pytest.fixture
def moving(tmp_path, models):
    """A server of a base path of its own with version 1 of ``moving``."""
    base_path = tmp_path / "moving"
    shutil.copytree(models / "moving/1", base_path / "1")
    with serving.serve(base_path, engine="embedded") as server:
        yield server, base_path


def publish(models, base_path, version: int) -> None:
    staging = base_path / f"{version}.tmp"
    shutil.copytree(models / f"moving/{version}", staging)
    staging.rename(base_path / str(version))


def test_a_client_moves_with_the_server_to_a_version_with_other_names(moving, models):
    """The cached signature of version 1 is wrong in every name for version 2: no call may fail or be misread."""
    server, base_path = moving
    clients = [kind(where) for kind in (serving.Client, Awaited) for where in (server.rest_url, server.grpc_address)]
    for client in clients:
        assert client.predict("moving", [2.0])["once"].tolist() == [2.0]
    publish(models, base_path, 2)
    end = time.monotonic() + 30
    while clients[0].metadata("moving").version != 2:
        assert time.monotonic() < end, "the server did not move"
        time.sleep(0.1)
    for client in clients:
        outputs = client.predict("moving", {"z": [2]})
        assert outputs["doubled"].tolist() == [4]
        assert outputs["doubled"].dtype == np.int32
        with pytest.raises(serving.InvalidInput) as error:
            client.predict("moving", {"x": [2.0]})
        assert "takes z: int32[?]" in str(error.value)
        client.close()


IMPORT = """
import sys
import serving
lazily = set(sys.modules)
serving.Client
assert not {"numpy", "grpc", "urllib3"} & lazily, "import serving alone loads more than itself"
assert not {"grpc", "urllib3", "ssl"} & set(sys.modules), "loaded before it is known which is needed"
serving.Client("http://127.0.0.1:1").close()
serving.Client("127.0.0.1:1").close()
heavy = {"tensorflow", "keras", "zoo", "recipes", "export", "pandas", "aiohttp", "rich", "click", "PIL"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_the_client_is_imported_without_tensorflow_or_anything_heavy():
    subprocess.run([sys.executable, "-c", IMPORT], check=True)
