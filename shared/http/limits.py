"""What the HTTP server lets a client take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds on one connection and on all; see ADR 0020.

    A body may take `body_seconds`, and a second more for each `body_bytes_per_second_min` of it
    that came. `write_seconds` is how long a client may read nothing of an answer that waits for it;
    an answer that is being read may take for ever.
    """

    header_bytes_max: int = 32_768
    header_seconds: float = 10
    body_seconds: float = 10
    body_bytes_per_second_min: int = 1_024
    idle_seconds: int = 75
    write_seconds: float = 30
    connections_max: int = 2_048
    connections_per_peer_max: int = 1_024
