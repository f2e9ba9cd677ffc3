"""Publishers that come to grief, each at another moment: `python -m tests.export.doomed_publisher BASE MOMENT…`.

One process imports TensorFlow and forks a publisher for every moment: "after STEP" and "before STEP", in which it sends
itself SIGKILL; "full STEP", from whose beginning on no file can be written any more, and "full NUMBER", the same from
the file on that Python opens as that number (from 0) to write to in the base path. Prints per moment what became of the
publisher, "killed", "published" or its error, and what the base path holds.
"""

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from export import bom, fresh_process, golden, manifest, publishing, saved_model, store, warmup
from tests.export import conftest, small_runs

HOMES = {
    "saved_model.write": (saved_model, "write"),
    "golden.save": (golden.Golden, "save"),
    "warmup.write": (warmup, "write"),
    "replay": (conftest, "replay_here"),
    "bom.write": (bom, "write"),
    "manifest.write": (manifest, "write"),
    "bom.number": (bom, "number"),
    "sync": (store, "_sync_tree"),
    "mkdir": (Path, "mkdir"),
    "rename": (Path, "rename"),
}


def disturb(step: str, before: Callable[[], None] = lambda: None, after: Callable[[], None] = lambda: None) -> None:
    """Let something happen before or after a step."""
    home, name = HOMES[step]
    original = getattr(home, name)

    def disturbed(*args, **kwargs):
        concerns_us = step != "mkdir" or store.STAGING in str(args[0])
        if concerns_us:
            before()
        result = original(*args, **kwargs)
        if concerns_us:
            after()
        return result

    setattr(home, name, disturbed)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill_the_disk() -> None:
    """Let every write to a file fail, with EFBIG: TensorFlow's, too."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def at_opening(base: Path, number: int, happens: Callable[[], None]) -> None:
    """Let something happen when a file in the base path is opened to be written, that number of them having been."""
    opened = 0

    def watch(event, args):
        nonlocal opened
        if event != "open" or not str(args[0]).startswith(str(base)) or not args[2] & (os.O_WRONLY | os.O_RDWR):
            return
        if not str(args[0]).endswith((store.LOCK, store.OWNER)):
            if opened == number:
                happens()
            opened += 1

    sys.addaudithook(watch)


def publish(base: Path, moment: str) -> None:
    """Publish in a process of its own, and let what is to happen happen."""
    fresh_process.started = conftest.started_here
    kind, of = moment.split(" ")
    run = small_runs.table_run()
    if of.isdigit():
        at_opening(base, int(of), fill_the_disk)
    elif kind == "full":
        disturb(of, before=fill_the_disk)
    else:
        disturb(of, **{kind: die})
    try:
        publishing.publish(run, base)
        said = "published"
    except OSError as error:
        said = f"{type(error).__name__}: {error}".replace("\n", " ")
    print(said, end="", flush=True)


def main() -> None:
    base = Path(sys.argv[1])
    for moment in sys.argv[2:]:
        print(f"{moment}|", end="", flush=True)
        child = os.fork()
        if not child:
            publish(base, moment)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(f"{'killed' * killed}|{' '.join(sorted(path.name for path in base.glob('*')))}", flush=True)


if __name__ == "__main__":
    main()
