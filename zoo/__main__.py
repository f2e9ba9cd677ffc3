"""The command line: one script, `zoo`.

Each package owns its commands; the entry-point group `zoo.commands` lists them. A command's module is imported when the
command is asked for, and imports what is heavy when it runs, so that help and listings answer at once.
"""

import logging
import os
import signal
import sys
from importlib import metadata

import absl.logging
import click

from zoo.lean_imports import LeanImports

GROUP = "zoo.commands"


class LazyGroup(click.Group):
    """A group whose commands are the entry points of `zoo.commands`, in the order of the road they travel."""

    ORDER = (
        "list",
        "show",
        "pretrained",
        "data",
        "train",
        "search",
        "evaluate",
        "compare",
        "reproduce",
        "explain",
        "publish",
        "versions",
        "verify",
        "sign",
        "rollback",
        "prune",
        "serve",
        "query",
        "playground",
        "bench",
        "tune",
        "deploy",
    )

    def list_commands(self, ctx):
        names = {entry.name for entry in metadata.entry_points(group=GROUP)}
        return [n for n in self.ORDER if n in names] + sorted(names - set(self.ORDER))

    def get_command(self, ctx, name):
        for entry in metadata.entry_points(group=GROUP, name=name):
            return entry.load()
        return None


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: zoo train lenet5 --data digits --run-dir runs/lenet5",
)
@click.version_option(package_name="servable-zoo")
def root():
    """Name a classic architecture, train it, publish it with its proof, serve it, ask it."""
    # Notes of TensorFlow and its libraries to their developers.
    absl.logging.set_verbosity(absl.logging.ERROR)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def main():
    """Run the command line. Exit status 0: done, 1: it failed, 2: wrong usage."""
    sys.meta_path.insert(0, LeanImports())
    terminated = 128 + signal.SIGTERM
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(terminated))  # so that what was begun is cleaned up
    try:
        root()
    except SystemExit as end:
        if end.code != terminated and not isinstance(end.__context__, click.Abort):  # what click makes of Ctrl-C
            raise
        sys.stdout.flush()
        os._exit(end.code)  # TensorFlow's threads are still at work, and must not meet a dying interpreter
    except (ValueError, OSError, ImportError) as error:
        # What the packages raise for the person who called: a message, not a stack.
        click.secho("Error: ", fg="red", err=True, nl=False)
        click.echo(error, err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
