"""How many connections a server holds depends on what the system allows."""

import logging
import resource

import pytest

from serving.embedded import flags
from serving.embedded.limits import RESERVED_FILES, limits_of


class Files:
    """The system's limit on open files, soft and hard."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int):
        self.soft, self.hard = soft, hard
        monkeypatch.setattr(resource, "getrlimit", lambda _: (self.soft, self.hard))
        monkeypatch.setattr(resource, "setrlimit", self._set)

    def _set(self, _: int, limits: tuple[int, int]) -> None:
        self.soft, self.hard = limits


def limits(*further: str):
    return limits_of(flags.parse(["--model_base_path=/m", "--max_connections=1000", *further]))


@pytest.mark.parametrize(
    ("soft", "hard", "then", "connections"),
    [
        (1024, 4096, 2000 + RESERVED_FILES, 1000),
        (1024, resource.RLIM_INFINITY, 2000 + RESERVED_FILES, 1000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, resource.RLIM_INFINITY, 1000),
        (10_000, 20_000, 10_000, 1000),
        (1024, 1024, 1024, (1024 - RESERVED_FILES) // 2),
        (64, 64, 64, 1),
    ],
)
def test_the_limit_on_files_is_raised_as_far_as_needed_and_possible(monkeypatch, caplog, soft, hard, then, connections):
    files = Files(monkeypatch, soft, hard)
    with caplog.at_level(logging.WARNING):
        assert limits().max_connections == connections
    assert files.soft == then
    assert bool(caplog.records) == (connections < 1000)


def test_flags_are_in_the_units_of_their_names():
    found = limits("--rest_api_timeout_in_ms=1500", "--max_request_bytes=10", "--connection_idle_seconds=0.5")
    assert (found.answer_seconds, found.max_body_bytes, found.idle_seconds) == (1.5, 10, 0.5)
