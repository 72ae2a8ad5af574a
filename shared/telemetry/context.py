"""Where the running task stands: which journey, which cause, which trace, on whose behalf.

Spans are recorded in `traces`; here the W3C header is read and handed on, so that whatever tracer
stands around the desk can join its parts, also while the desk records none.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Final, NamedTuple, Self

import msgspec

from shared.contracts.envelope import Lineage
from shared.ids import random_id

_TRACEPARENT: Final = re.compile(
    r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII
)
_CORRELATION_ID: Final = re.compile(r"[!-~]{1,128}", re.ASCII)
_NEWEST_VERSION = "00"


class TraceContext(NamedTuple):
    """One position in a distributed trace, lower-case hex. Source: W3C Trace Context, 3.2."""

    trace_id: str
    span_id: str
    flags: str

    @classmethod
    def parse(cls, header: str | None) -> Self | None:
        """Read a `traceparent` header; None when it is absent or must be ignored."""
        match = _TRACEPARENT.fullmatch(header) if header else None
        if match is None:
            return None
        version, trace_id, span_id, flags, rest = match.groups()
        if version == "ff" or (version == _NEWEST_VERSION and rest):
            return None
        if not trace_id.strip("0") or not span_id.strip("0"):
            return None
        return cls(trace_id, span_id, flags)

    @classmethod
    def start(cls) -> Self:
        """Return the root of a new trace, not sampled."""
        return cls(random_id().hex, random_id().hex[16:], "00")

    @property
    def traceparent(self) -> str:
        """The header that hands this position on."""
        return f"{_NEWEST_VERSION}-{self.trace_id}-{self.span_id}-{self.flags}"


class Journey(msgspec.Struct, frozen=True, kw_only=True):
    """What every log line and every event of one unit of work has in common.

    `service` is here because five services may share a process.
    """

    correlation_id: str
    trace: TraceContext
    service: str = ""
    causation_id: str | None = None
    actor: str = ""


_journey: ContextVar[Journey | None] = ContextVar("deskledger_journey", default=None)


def begin(service: str, correlation_id: str | None, traceparent: str | None) -> Journey:
    """Return the journey of a new unit of work, at the place in a trace that is given.

    An unusable correlation id is replaced, not refused: it is the trace's id then, so that all
    calls of one trace share it.
    """
    trace = TraceContext.parse(traceparent) or TraceContext.start()
    if correlation_id is None or not _CORRELATION_ID.fullmatch(correlation_id):
        correlation_id = trace.trace_id
    return Journey(correlation_id=correlation_id, trace=trace, service=service)


def current() -> Journey | None:
    """Return the running task's journey, None outside any."""
    return _journey.get()


def enter(journey: Journey) -> Token[Journey | None]:
    """Make `journey` the running task's; give the token to `leave`."""
    return _journey.set(journey)


def leave(token: Token[Journey | None]) -> None:
    """Return to the journey before."""
    _journey.reset(token)


@contextmanager
def journeying(journey: Journey) -> Generator[Journey]:
    """Work inside `journey`; consumers and timers use this per record."""
    token = enter(journey)
    try:
        yield journey
    finally:
        leave(token)


def act_as(actor: str) -> None:
    """Name who the running task works for, once that is known."""
    journey = _journey.get()
    if journey is not None:
        _journey.set(msgspec.structs.replace(journey, actor=actor))


def lineage(actor: str | None = None) -> Lineage:
    """Return the lineage of events decided in the running task.

    Outside any journey a new one is begun, so that no event is without a correlation id.
    """
    journey = _journey.get() or begin("", None, None)
    return Lineage(
        actor=actor or journey.actor,
        correlation_id=journey.correlation_id,
        causation_id=journey.causation_id,
        traceparent=journey.trace.traceparent,
    )
