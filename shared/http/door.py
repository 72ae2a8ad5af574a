"""Who is connected, who keeps the desk waiting, and who must give way when it is full.

A connection that owes something (its header, its body, its next request) waits for its client; one
whose request is read waits for the desk. Only the first kind can be in bad faith, so only it has
deadlines, and gives way to whoever comes when there is no room: who is in the middle of a request
before who is between two, for good clients keep connections at rest; and the oldest first.
"""

from collections.abc import Iterator
from typing import Final, Literal, Protocol

from shared.http.limits import ServerLimits
from shared.telemetry.metrics import ServiceMetrics

Reason = Literal[
    "header_bytes",
    "header_seconds",
    "body_seconds",
    "idle_seconds",
    "write_seconds",
    "crowded",
    "peer",
    "busy",
    "pipeline",
    "malformed",
    "stopping",
]
RESERVE: Final = 64
"""Connections kept for probes, and for being told to come later, when all others are answered."""
_STOPPING_WRITE_SECONDS: Final = 1.0


class Guest(Protocol):
    """A connection, as the door sees it."""

    peer: str

    def overdue(self, now: float) -> Reason | None:
        """Return which deadline has passed, if one has."""
        ...

    def give_way(self, reason: Reason) -> None:
        """Say why if that can still be said, and close."""
        ...


class Door:
    """The connections of one server. Not for several threads."""

    def __init__(self, limits: ServerLimits, metrics: ServiceMetrics) -> None:
        self.limits = limits
        self._metrics = metrics
        self._open: dict[str, dict[Guest, None]] = {}
        self._sending: dict[Guest, None] = {}
        self._resting: dict[Guest, None] = {}
        self._count = 0
        self._is_stopping = False
        reserve = min(RESERVE, limits.connections_max // 4)
        self._answered_max = limits.connections_max - reserve

    @property
    def is_busy(self) -> bool:
        """Whether so many requests are being answered that only probes may still be."""
        return self._count - len(self._sending) - len(self._resting) >= self._answered_max

    @property
    def write_seconds(self) -> float:
        """How long a client may read nothing."""
        return _STOPPING_WRITE_SECONDS if self._is_stopping else self.limits.write_seconds

    def enter(self, guest: Guest) -> Reason | None:
        """Let a connection in, or say why not; somebody else may have to give way for it."""
        peers = self._open.get(guest.peer, {})
        if len(peers) >= self.limits.connections_per_peer_max and not self._make_room(peers):
            return "peer"
        if self._count >= self.limits.connections_max and not self._make_room():
            return "busy"
        self._open.setdefault(guest.peer, {})[guest] = None
        self._count += 1
        self._metrics.http_connections(self._count)
        return None

    def leave(self, guest: Guest) -> None:
        """Forget a connection; again does nothing."""
        self.owes_nothing(guest)
        peers = self._open.get(guest.peer, {})
        if guest in peers:
            del peers[guest]
            self._count -= 1
            self._metrics.http_connections(self._count)
        if not peers:
            self._open.pop(guest.peer, None)

    def owes_request(self, guest: Guest) -> None:
        """Note that this client has begun a request, or must begin its first."""
        self._wait_for(guest, self._sending)

    def owes_next(self, guest: Guest) -> None:
        """Note that this client may send another request."""
        self._wait_for(guest, self._resting)

    def owes_nothing(self, guest: Guest) -> None:
        """Note that this client has sent all of its request."""
        self._sending.pop(guest, None)
        self._resting.pop(guest, None)

    def refused(self, reason: Reason) -> None:
        """Count who was refused or made to give way."""
        if reason != "idle_seconds":
            self._metrics.http_refused(reason)

    def sweep(self, now: float) -> None:
        """Close whoever is overdue; `now` is the event loop's time."""
        for guest in list(self._guests()):
            if (reason := guest.overdue(now)) is not None:
                guest.give_way(reason)

    def stop(self) -> None:
        """Have no patience any more with who does not read."""
        self._is_stopping = True

    def _guests(self) -> Iterator[Guest]:
        for peers in self._open.values():
            yield from peers

    def _wait_for(self, guest: Guest, among: dict[Guest, None]) -> None:
        self.owes_nothing(guest)
        if guest in self._open.get(guest.peer, {}):
            among[guest] = None

    def _make_room(self, peers: dict[Guest, None] | None = None) -> bool:
        """Have somebody give way, of these or of all; say whether there was one."""
        for waiting in self._sending, self._resting:
            oldest = next((guest for guest in waiting if peers is None or guest in peers), None)
            if oldest is not None:
                oldest.give_way("crowded")
                self.leave(oldest)
                return True
        return False
