"""Publishers that are killed with SIGKILL, each at another step: `python -m tests.export.killed_publisher BASE STEP…`.

One process imports TensorFlow and forks a publisher for every step, which sends itself the signal after the step or,
for "before rename", before it. Prints per step whether the publisher was killed and what the base path holds.
"""

import os
import signal
import sys
from pathlib import Path

from export import fresh_process, golden, manifest, publishing, saved_model, store, warmup
from tests.export import conftest, small_runs

HOMES = {
    "saved_model.write": (saved_model, "write"),
    "golden.save": (golden.Golden, "save"),
    "warmup.write": (warmup, "write"),
    "replay": (conftest, "replay_here"),
    "manifest.write": (manifest, "write"),
    "sync": (store, "_sync_tree"),
    "mkdir": (Path, "mkdir"),
    "rename": (Path, "rename"),
}


def publish_and_die(base: Path, step: str) -> None:
    fresh_process.started = conftest.started_here
    before, step = step.startswith("before "), step.removeprefix("before ")
    home, name = HOMES[step]
    original = getattr(home, name)

    def deadly(*args, **kwargs):
        result = None if before else original(*args, **kwargs)
        if step != "mkdir" or store.STAGING in str(args[0]):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    run = small_runs.table_run()
    setattr(home, name, deadly)
    publishing.publish(run, base)


def main() -> None:
    base = Path(sys.argv[1])
    for step in sys.argv[2:]:
        child = os.fork()
        if not child:
            publish_and_die(base, step)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(f"{step}|{killed}|{' '.join(sorted(path.name for path in base.iterdir()))}", flush=True)


if __name__ == "__main__":
    main()
