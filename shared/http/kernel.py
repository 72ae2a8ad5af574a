"""Routes every service has: health, metrics, quarantine, the import door; and its whole app."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypedDict

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.middleware import Middleware

from shared.errors import DeskError, NotFoundError
from shared.faults import NOT_DECODABLE
from shared.http import openapi
from shared.http.access import Access
from shared.http.answers import Answer, ItemError, item_error
from shared.http.app import DeskApp, ServiceInfo, create_app
from shared.http.auth import Admitted, DeskState, TokenVerifier
from shared.http.body import openapi_body, read_batch, read_items
from shared.http.deliveries import deliveries_router
from shared.http.gate import Gate
from shared.http.health import Check, health_router, metrics_router
from shared.http.named import Find
from shared.journal.history import HistoryDoor, PastBatch, PastStream, RawPastBatch, TakenOver
from shared.runtime.service import Service
from shared.runtime.spec import Spec
from shared.runtime.timers import redrive_timer

_PAST_EXAMPLE: Final[dict[str, Any]] = {
    "source": "servicenow",
    "streams": [
        {
            "stream_id": "0f6c1c3e-3c1f-5a52-9d36-5c3f5b1c9a10",
            "events": [
                {
                    "type": "ticket.started",
                    "time": "2016-02-29T01:23:00Z",
                    "actor": "resolver-7",
                    "data": {},
                }
            ],
        }
    ],
}
_NUMBER_MAX: Final = 2**63 - 1
_After = Annotated[int, Query(ge=0, le=_NUMBER_MAX, description="numbers behind this one")]
_Number = Annotated[int, Path(ge=1, le=_NUMBER_MAX)]


@dataclass(frozen=True, slots=True)
class Room:
    """One service as its wiring describes it: how it presents itself, its spec, its routes.

    `find` makes what looks up the numbers of its things, where addresses name these.
    """

    info: ServiceInfo
    spec: Spec
    routers: Callable[[Service], Sequence[APIRouter]]
    access: Access
    find: Callable[[Service], Find] | None = None


class ParkedView(msgspec.Struct, frozen=True):
    """A record in quarantine; `value` as text, bytes that are no UTF-8 escaped."""

    id: int
    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    parked_at: datetime
    redriven_at: datetime | None
    value: str | None


class ParkedTimerView(msgspec.Struct, frozen=True):
    """A timer whose decision always failed, and why."""

    id: int
    stream_id: str
    name: str
    due_at: datetime
    reason: str
    detail: str
    parked_at: datetime


class TakenOverAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one stream: events added, events that were there; or why it was refused."""

    stream_id: str
    added: int = 0
    known: int = 0
    error: ItemError | None = None


class TakenOverAnswers(TypedDict):
    """One result per stream, in the order of the request."""

    results: list[TakenOverAnswer]


class Quarantine(TypedDict):
    """Records in quarantine, by number."""

    quarantine: list[ParkedView]


class Applied(TypedDict):
    """Whether a record could be applied now, and why not."""

    applied: bool
    detail: str | None


class ParkedTimers(TypedDict):
    """Timers that are set aside, by number."""

    timers: list[ParkedTimerView]


class Armed(TypedDict):
    """That the timer will fire again."""

    armed: Literal[True]


def service_checks(service: Service) -> list[Check]:
    """Return what must hold for a service to be ready."""

    async def database() -> None:
        await service.check_database()

    async def loops() -> Mapping[str, Any]:
        waiting = await service.check_loops()
        facts = {
            "outbox": service.committer.outbox_length,
            "behind": service.watch.behind,
            "round": service.watch.rounds,  # of measuring the two above
        }
        return {**facts, "degraded": waiting} if waiting else facts

    return [Check("database", database), Check("loops", loops)]


def make_app(room: Room, service: Service, verifier: TokenVerifier) -> DeskApp:
    """Return the HTTP side of a running service."""
    metrics = service.around.metrics
    find = None if room.find is None else room.find(service)
    state = DeskState(room.info.name, verifier, service.clock, metrics, room.access, find)
    probes = [
        health_router(service_checks(service)),
        metrics_router(metrics.registry, room.info.name),
    ]
    routers = [
        *room.routers(service),
        _history_router(service),
        _quarantine_router(service),
        deliveries_router(service),
    ]
    app = create_app(room.info, routers, state, probes=probes)
    app.user_middleware.append(Middleware(Gate, closed=service.closed))  # innermost: it is counted
    return app


def _history_router(service: Service) -> APIRouter:
    router = openapi.router("import")
    door = HistoryDoor(
        service.journal,
        service.committer,
        service.pool,
        service.clock,
        service.spec.past,
    )

    @router.post(
        "/history:batch",
        summary="Take over the past of streams from another system; nobody reacts to it",
        openapi_extra=openapi_body(PastBatch, _PAST_EXAMPLE),
    )
    async def take_over(request: Request, caller: Admitted) -> Answer[TakenOverAnswers]:
        batch, items = await read_batch(request, RawPastBatch, lambda batch: batch.streams)
        streams = read_items(items, PastStream)
        sound = tuple(stream for stream in streams if isinstance(stream, PastStream))
        taken = iter(
            await door.take_over(PastBatch(source=batch.source, streams=sound), caller.subject)
        )
        results = [
            _refused(item, stream) if isinstance(stream, DeskError) else _taken_over(next(taken))
            for item, stream in zip(items, streams, strict=True)
        ]
        return Answer({"results": results})

    return router


class _Named(msgspec.Struct):
    """What can be told of a stream that cannot be read."""

    stream_id: str = ""


def _refused(item: msgspec.Raw, error: DeskError) -> TakenOverAnswer:
    try:
        named = msgspec.json.decode(item, type=_Named)
    except NOT_DECODABLE:
        named = _Named()
    return TakenOverAnswer(stream_id=named.stream_id, error=item_error(error))


def _taken_over(result: TakenOver) -> TakenOverAnswer:
    return TakenOverAnswer(
        stream_id=result.stream_id,
        added=result.added,
        known=result.known,
        error=None if result.error is None else item_error(result.error),
    )


def _quarantine_router(service: Service) -> APIRouter:
    router = openapi.router("quarantine")
    columns = (
        "id, topic, partition, record_offset, reason, detail, parked_at, redriven_at,"
        " encode(value, 'escape')"
    )

    @router.get("/quarantine", summary="Records that could not be applied")
    async def parked(
        _: Admitted, limit: Annotated[int, Query(ge=1, le=200)] = 50, after: _After = 0
    ) -> Answer[Quarantine]:
        rows = await service.pool.fetch(
            f"SELECT {columns} FROM kernel.quarantine WHERE id > $1 ORDER BY id LIMIT $2",  # noqa: S608 constant
            after,
            limit,
        )
        return Answer({"quarantine": [ParkedView(*row) for row in rows]})

    _add_timer_routes(router, service)

    @router.get("/quarantine/{number}", summary="One such record")
    async def parked_one(_: Admitted, number: _Number) -> Answer[ParkedView]:
        row = await service.pool.fetchrow(
            f"SELECT {columns} FROM kernel.quarantine WHERE id = $1",  # noqa: S608 constant
            number,
        )
        if row is None:
            raise NotFoundError(f"nothing in quarantine has number {number}")
        return Answer(ParkedView(*row))

    @router.post("/quarantine/{number}/redrive", summary="Try to apply it again")
    async def redrive(_: Admitted, number: _Number) -> Answer[Applied]:
        verdicts = await service.consumer.redrive([number])
        if number not in verdicts:
            raise NotFoundError(f"nothing in quarantine waits under number {number}")
        reason = verdicts[number]
        return Answer({"applied": reason is None, "detail": reason})

    return router


def _add_timer_routes(router: APIRouter, service: Service) -> None:
    @router.get("/quarantine/timers", summary="Timers whose decision always failed")
    async def timers(
        _: Admitted, limit: Annotated[int, Query(ge=1, le=200)] = 50, after: _After = 0
    ) -> Answer[ParkedTimers]:
        rows = await service.pool.fetch(
            "SELECT id, stream_id, name, due_at, reason, detail, parked_at"
            " FROM kernel.parked_timer WHERE id > $1 ORDER BY id LIMIT $2",
            after,
            limit,
        )
        return Answer({"timers": [ParkedTimerView(*row) for row in rows]})

    @router.post("/quarantine/timers/{number}/redrive", summary="Let it fire again")
    async def redrive(_: Admitted, number: _Number) -> Answer[Armed]:
        if not await redrive_timer(service.pool, number, service.clock.now()):
            raise NotFoundError(f"no timer waits under number {number}")
        return Answer({"armed": True})
