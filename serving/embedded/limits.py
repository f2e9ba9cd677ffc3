"""What callers may ask of the server's patience and memory, and how many files the system lets it open for them."""

import logging
import resource
from dataclasses import dataclass, replace

from serving.embedded.flags import Options

log = logging.getLogger(__name__)

RESERVED_FILES = 512
"""For models being loaded, logs, and connections that are being refused."""


@dataclass(frozen=True)
class Limits:
    """Seconds, bytes, and connections for each of REST and gRPC. ``answer_seconds`` of 0 are no limit."""

    max_connections: int = 4096
    idle_seconds: float = 300.0
    head_seconds: float = 20.0
    min_bytes_per_second: int = 500
    max_body_bytes: int = 1 << 27
    answer_seconds: float = 30.0


def limits_of(options: Options) -> Limits:
    """The limits that the flags set, with as many connections as the system allows files."""
    asked = Limits(
        max_connections=options.max_connections,
        idle_seconds=options.connection_idle_seconds,
        head_seconds=options.request_head_seconds,
        min_bytes_per_second=options.min_body_bytes_per_second,
        max_body_bytes=options.max_request_bytes,
        answer_seconds=options.rest_api_timeout_in_ms / 1000,
    )
    files = _files_allowed(2 * asked.max_connections + RESERVED_FILES)
    possible = max(1, (files - RESERVED_FILES) // 2)
    if possible < asked.max_connections:
        log.warning("the system's limit on open files allows %d connections of each kind", possible)
    return replace(asked, max_connections=min(possible, asked.max_connections))


def _files_allowed(needed: int) -> int:
    """So many files may be open, or as many as this process may have without asking anybody."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed
    raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    except (ValueError, OSError):  # macOS names a limit that it does not grant
        return soft
    return raised
