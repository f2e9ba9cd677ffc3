"""Several small Runs at one embedded server, without a proof: the tests that ask them are one."""

import contextlib

import serving
from export import saved_model
from export.signatures import signatures_of
from tests.serving.contract.conftest import start

SECONDS = 240
"""For an answer: a picture of 8000 by 8000 pixels takes a slow machine more than the server's own half a minute."""


@contextlib.contextmanager
def served(runs, folder):
    """A running server of Runs by name, which are written into an empty folder."""
    for name, run in runs.items():
        (folder / name).mkdir()
        resources = [run.bundle.model, *run.bundle.preprocessing.trackables]
        saved_model.write(resources, signatures_of(run.bundle), folder / name / "1")
    listed = (f'config {{ name: "{n}" base_path: "{folder / n}" model_platform: "tensorflow" }}' for n in runs)
    (folder / "models.config").write_text(f"model_config_list {{ {' '.join(listed)} }}")
    running = start(
        folder / "server.log",
        f"--model_config_file={folder / 'models.config'}",
        "--enable_model_warmup=false",  # the tests are warm-up
        f"--rest_api_timeout_in_ms={1000 * SECONDS}",
    )
    try:
        yield running
    finally:
        running.stop()


def connected(server, protocol):
    """A client of the server, over "rest" or "grpc"."""
    target = f"http://127.0.0.1:{server.rest_port}" if protocol == "rest" else f"127.0.0.1:{server.grpc_port}"
    return serving.Client(target, timeout=SECONDS)
