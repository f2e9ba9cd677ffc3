"""``python -m serving.embedded``: exit code 0 after SIGTERM or SIGINT, 1 when it cannot serve, 2 for wrong flags."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

from serving.embedded import flags


def main(arguments: Sequence[str]) -> int:
    """Serves until a signal comes; the exit code."""
    log = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1)  # it goes on while TensorFlow's import is silenced
    logging.basicConfig(stream=log, level=logging.INFO, format="%(asctime)s %(levelname).1s %(message)s")
    for chatty in ("absl", "tensorflow", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return _run(_serve(flags.parse(arguments)))


def _run(coroutine) -> int:
    try:
        from uvloop import run
    except ImportError:  # not made for every platform
        from asyncio import run
    return run(coroutine)


async def _serve(options: flags.Options) -> int:
    # TensorFlow imports them where it finds them: more than half of the start, for what no server needs
    sys.modules |= {"keras": None, "jax": None}
    from serving.embedded.server import Server
    from serving.embedded.status import ServingError

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server, starting = None, None
    try:
        server = Server(options)
        starting = asyncio.ensure_future(server.start())
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
        await stopped
    except (ServingError, OSError) as error:
        logging.error("Failed to start server. Error: %s", error)
        return 1
    logging.info("stopping")
    await server.stop()
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)  # a load under way or TensorFlow's own threads would hold the process back for seconds
