"""Logs: one JSON line per event on stderr, or a readable line when a person watches.

structlog and the standard library's loggers (uvicorn, aiokafka) end in the same stream and format.
Each line carries the journey of the task that wrote it.
"""

import logging
import sys
from contextlib import suppress
from typing import Any, Final, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from shared.telemetry.context import current

_NOISY_LOGGERS: Final = ("aiokafka",)
_NOISY_LINES_PER_WINDOW: Final = 5
_NOISE_WINDOW_SECONDS: Final = 10.0

_FIRST: Final = ("timestamp", "level", "event")

_encode: Final = msgspec.json.Encoder(enc_hook=repr).encode


def add_journey(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Add service, correlation, causation, trace and actor of the running task."""
    journey = current()
    if journey is None:
        return event
    event.setdefault("service", journey.service)
    event["correlation_id"] = journey.correlation_id
    event["trace_id"] = journey.trace.trace_id
    event["span_id"] = journey.trace.span_id
    if journey.causation_id is not None:
        event["causation_id"] = journey.causation_id
    if journey.actor:
        event["actor"] = journey.actor
    return event


def render_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    """Return the line; what JSON cannot say is written as its repr."""
    line: dict[str, Any] = {name: event[name] for name in _FIRST if name in event}
    line.update(event)
    try:
        return _encode(line).decode()
    except (TypeError, ValueError, RecursionError):
        return _encode({name: repr(value) for name, value in line.items()}).decode()


class RateLimit(logging.Filter):
    """Lets a few lines per logger and window pass and says how many it held back.

    aiokafka alone writes about 25 error lines a second while a broker is away.
    """

    def __init__(self, lines_per_window: int, window_seconds: float) -> None:
        """Start with nothing held back."""
        super().__init__()
        self._lines_per_window = lines_per_window
        self._window_seconds = window_seconds
        self._windows: dict[str, tuple[float, int, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the line may pass; below warning all may."""
        if record.levelno < logging.WARNING:
            return True
        since, passed, held_back = self._windows.get(record.name, (record.created, 0, 0))
        if record.created - since >= self._window_seconds:
            since, passed = record.created, 0
        if passed >= self._lines_per_window:
            self._windows[record.name] = (since, passed, held_back + 1)
            return False
        if held_back:
            record.msg = f"{record.getMessage()} ({held_back} lines held back before this one)"
            record.args = None
        self._windows[record.name] = (since, passed + 1, 0)
        return True


def configure_logging(
    level: str = "INFO", *, json: bool | None = None, stream: TextIO | None = None
) -> None:
    """Set up logging for the whole process; call once, before anything logs.

    `json` None means JSON unless the stream is a terminal. uvicorn must be started with
    `log_config=None`, or it replaces its own part of this.
    """
    target = stream or sys.stderr
    as_json = not target.isatty() if json is None else json
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared = _shared_processors(as_json=as_json)
    renderer = cast(
        "Processor",
        render_json
        if as_json
        # Not rich's tracebacks: they show every local variable, which is slow and tells secrets.
        else structlog.dev.ConsoleRenderer(
            colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback
        ),
    )
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: _Lines(target),
    )
    _route_standard_library(target, threshold, [*shared], renderer)


class _Lines:
    """Writes lines; one that cannot be written is dropped, or a full disk would stop the desk."""

    def __init__(self, target: TextIO) -> None:
        self._target = target

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):
            self._target.write(line + "\n")
            self._target.flush()

    debug = info = warning = warn = error = critical = exception = log = fatal = msg


def _shared_processors(*, as_json: bool) -> list[Processor]:
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_journey,
    ]
    if as_json:
        processors.append(structlog.processors.format_exc_info)
    return processors


def _route_standard_library(
    target: TextIO, threshold: int, shared: list[Processor], renderer: Processor
) -> None:
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    noise = RateLimit(_NOISY_LINES_PER_WINDOW, _NOISE_WINDOW_SECONDS)
    handler.addFilter(lambda record: not _is_noisy(record.name) or noise.filter(record))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # What libraries tell of their doings is for whoever asks for details.
    root.setLevel(logging.WARNING if threshold == logging.INFO else threshold)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # The desk writes its own access log, with the route and the journey; httpx tells each call, and
    # alembic each step.
    for name in ("uvicorn.access", "httpx", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _is_noisy(name: str) -> bool:
    return name.partition(".")[0] in _NOISY_LOGGERS


def get_logger(name: str) -> FilteringBoundLogger:
    """Return a logger; `name` becomes field `component`, a call's keyword arguments fields too.

    Libraries' lines have field `logger` in its place.
    """
    return cast("FilteringBoundLogger", structlog.get_logger(component=name))
