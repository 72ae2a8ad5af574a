"""Intake over HTTP: reports in, a ticket's life, the board."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Final
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Request

from services.intake import queries, schemas
from services.intake.access import Admission, door_of, speaker, starter
from services.intake.api import lists
from services.intake.domain.commands import (
    CancelTicket,
    CloseTicket,
    CommentTicket,
    HoldTicket,
    MergeTicket,
    RateTicket,
    ReopenTicket,
    ResolveTicket,
    ResumeTicket,
    StartTicket,
    TicketCommand,
    UpdateTicket,
)
from services.intake.domain.record import require_source, require_unclaimed
from services.intake.handlers import Opened, Report, Sources, Tickets
from shared.clock import Clock
from shared.contracts.envelope import Envelope
from shared.contracts.intake import TicketReported
from shared.contracts.registry import UndecodableError, decode_report
from shared.errors import DeskError, ForbiddenError
from shared.faults import from_undecodable
from shared.http import cloudevents, idempotency, openapi, preferences
from shared.http.answers import Answer, Made, Tagged, item_error, settle, tried
from shared.http.auth import Admitted, Caller
from shared.http.body import openapi_body, read_batch, read_items, read_struct
from shared.http.commands import CommandAnswer, CommandRoutes, Verb
from shared.http.conditional import refuse_if_match
from shared.http.idempotency import creation_id
from shared.http.named import NamedInPath
from shared.http.pagination import Window, next_headers
from shared.ids import keyed_id, random_id, reported_ticket_id
from shared.people import is_same, person
from shared.postgres.pool import Pool
from shared.telemetry.context import lineage

_NO_TICKET: Final = UUID(int=0)


_VERBS: Final = (
    Verb[TicketCommand](
        "",
        schemas.Correction,
        schemas.Correction(urgency="high"),
        lambda body, ticket, _: UpdateTicket(
            ticket_id=ticket,
            title=body.title,
            description=body.description,
            impact=body.impact,
            urgency=body.urgency,
            scope=body.scope,
            category=body.category,
            service=body.service,
        ),
        "Correct the record",
        "PATCH",
    ),
    Verb[TicketCommand](
        "start",
        schemas.Start,
        schemas.Start(agent_id="bo"),
        lambda body, ticket, caller: StartTicket(ticket, starter(body.agent_id, caller)),
        "Take up the work",
    ),
    Verb[TicketCommand](
        "hold",
        schemas.Hold,
        schemas.Hold(reason="vendor", note="waits for a spare part"),
        lambda body, ticket, _: HoldTicket(ticket, body.reason, body.note),
        "Wait for something outside the desk's hands",
    ),
    Verb[TicketCommand](
        "resume",
        schemas.Resume,
        schemas.Resume(),
        lambda _, ticket, __: ResumeTicket(ticket),
        "Go on after a hold",
    ),
    Verb[TicketCommand](
        "resolve",
        schemas.Resolve,
        schemas.Resolve(resolution="Replaced the certificate."),
        lambda body, ticket, caller: ResolveTicket(ticket, caller.subject, body.resolution),
        "Supply a solution",
    ),
    Verb[TicketCommand](
        "close",
        schemas.Close,
        schemas.Close(),
        lambda body, ticket, caller: CloseTicket(ticket, caller.subject, body.code),
        "Confirm the solution; nothing is left to do",
    ),
    Verb[TicketCommand](
        "reopen",
        schemas.Reason,
        schemas.Reason(reason="It dropped again."),
        lambda body, ticket, caller: ReopenTicket(ticket, caller.subject, body.reason),
        "The solution did not hold",
    ),
    Verb[TicketCommand](
        "cancel",
        schemas.Reason,
        schemas.Reason(reason="Reported twice."),
        lambda body, ticket, caller: CancelTicket(ticket, caller.subject, body.reason),
        "Withdraw the ticket",
    ),
    Verb[TicketCommand](
        "merge",
        schemas.Merge,
        schemas.Merge(into="INC-000042", reason="Same outage."),
        lambda body, ticket, caller: MergeTicket(
            ticket, UUID(body.into), caller.subject, body.reason
        ),
        "The work goes on in another ticket",
        names=("into",),
    ),
    Verb[TicketCommand](
        "rate",
        schemas.Rate,
        schemas.Rate(score=5, comment="Quick!"),
        lambda body, ticket, caller: RateTicket(ticket, caller.subject, body.score, body.comment),
        "Say how satisfied the requester is",
    ),
)


class Intake:
    """The routes, bound to what they call. A route parses, stamps the time, calls, answers."""

    def __init__(self, tickets: Tickets, sources: Sources, pool: Pool, clock: Clock) -> None:
        self._tickets = tickets
        self._admission = Admission(tickets, sources, pool)
        self._pool = pool
        self._clock = clock
        self._commands = CommandRoutes[TicketCommand](
            clock.now,
            tickets.carry_out,
            self._admission.admit,
            partial(queries.board_sequence, pool),
        )

    def router(self) -> APIRouter:
        """Return all routes of intake."""
        router = openapi.router("tickets")
        parameters = [idempotency.OPENAPI_PARAMETER, preferences.OPENAPI_PARAMETER]
        router.post(
            "/tickets",
            summary="Report an incident or ask for a service",
            openapi_extra=openapi_body(TicketReported, schemas.REPORT, parameters=parameters),
        )(self.create)
        router.post(
            "/tickets:batch",
            summary="Report many at once; one result each",
            openapi_extra=openapi_body(
                schemas.NewTickets,
                schemas.NewTickets(tickets=(schemas.REPORT,)),
                parameters=[idempotency.OPENAPI_PARAMETER],
            ),
        )(self.create_batch)
        router.post(
            "/events",
            summary="Report with CloudEvents: structured, binary or batch",
            openapi_extra=cloudevents.openapi_cloudevents(TicketReported, schemas.EVENT),
        )(self.take_events)
        router.get("/tickets", summary="The board")(self.list_tickets)
        router.get("/tickets/{id}", summary="One ticket")(self.read)
        router.get("/tickets/{id}/comments", summary="What was said on a ticket")(self.comments)
        router.get("/tickets/{id}/links", summary="Tickets it has to do with")(self.links)
        router.post(
            "/tickets/{id}/comments",
            summary="Say something on a ticket",
            openapi_extra=openapi_body(
                schemas.NewComment, schemas.NewComment(text="We are on it."), parameters=parameters
            ),
        )(self.comment)
        self._commands.add(router, "/tickets/{id}", _VERBS)
        return router

    async def create(self, request: Request, caller: Admitted) -> Made[schemas.TicketAnswer]:
        """Make one ticket. 201 with its id and number; 200 if the same report came before."""
        refuse_if_match(request)
        record = await read_struct(request, TicketReported)
        ticket_id = record.ticket_id or creation_id(request, caller)
        opened = await self._tickets.open(self._report(record, ticket_id, caller))
        shown = partial(queries.board_sequence, self._pool, ticket_id)
        headers = await settle(request, shown, opened.sequence)
        return Made(
            _ticket_answer(opened),
            opened.sequence,
            _status(opened),
            headers={"Location": f"{request.url.path}/{ticket_id}", **headers},
        )

    async def create_batch(self, request: Request, caller: Admitted) -> Answer[schemas.BatchAnswer]:
        """Make many tickets; 200 with one result per report."""
        refuse_if_match(request)
        _, items = await read_batch(request, schemas.RawTickets, lambda batch: batch.tickets)
        key = idempotency.parse_key(request.headers.getlist(idempotency.HEADER))
        reports: list[Report | DeskError] = []
        for place, record in enumerate(read_items(items, TicketReported)):
            if isinstance(record, DeskError):
                reports.append(record)
                continue
            ticket_id = record.ticket_id or _item_id(person(caller.subject), key, place)
            reports.append(tried(partial(self._report, record, ticket_id, caller)))
        return Answer(_batch_answer(await self._tickets.open_all(reports)))

    async def take_events(
        self, request: Request, caller: Admitted
    ) -> Answer[schemas.BatchAnswer] | Made[schemas.TicketAnswer]:
        """Make a ticket of each event of type `ticket.reported`; source and id say which it is.

        A batch is answered with a list of results, however many events it has.
        """
        refuse_if_match(request)
        events = await cloudevents.read_cloudevents(request)
        reports: list[Report | DeskError] = [
            event
            if isinstance(event, DeskError)
            else tried(partial(self._event_report, event, caller))
            for event in events
        ]
        sources = {
            place: event.source
            for place, (event, report) in enumerate(zip(events, reports, strict=True))
            if not isinstance(event, DeskError) and not isinstance(report, DeskError)
        }
        refused = await self._admission.claim({*sources.values()}, caller)
        for place, source in sources.items():
            reports[place] = refused.get(source, reports[place])
        results = await self._tickets.open_all(reports)
        if cloudevents.is_batch(request.headers):
            return Answer(_batch_answer(results))
        (opened,) = results
        if isinstance(opened, DeskError):
            raise opened
        return Made(_ticket_answer(opened), opened.sequence, _status(opened))

    async def list_tickets(
        self,
        request: Request,
        caller: Admitted,
        window: Window,
        asked: Annotated[queries.TicketFilter, Depends(lists.asked_of)],
        q: lists.Words = None,
        sort: queries.Sort | None = None,
    ) -> Answer[lists.TicketList] | Answer[lists.FoundTickets]:
        """Return tickets: the newest first, or by priority and age; a requester sees their own.

        With `q`, those with all the words, by `relevance` if nothing else is asked for; if none has
        all, those with any. Then `match` says which, and each has `relevance` and `highlights`.
        """
        wanted = (
            asked
            if caller.grant.is_whole
            else msgspec.structs.replace(asked, requester_id=caller.subject)
        )
        if q is not None:
            return await lists.answer_search(request, self._pool, q, wanted, sort, window)
        return await lists.answer_list(request, self._pool, wanted, sort, window)

    async def read(self, id: NamedInPath, caller: Admitted) -> Tagged[queries.TicketDetail]:
        """Return one ticket with its ETag."""
        await self._admission.admit(caller, id)
        ticket = await queries.read_ticket(self._pool, id)
        return Tagged(ticket, ticket.sequence)

    async def comments(
        self, request: Request, id: NamedInPath, caller: Admitted, window: Window
    ) -> Answer[lists.CommentList]:
        """Return what was said, the oldest first; who is no agent sees the public part."""
        await self._admission.admit(caller, id)
        (after,) = window.after(tuple[int]) or (0,)
        found = await queries.list_comments(
            self._pool,
            id,
            public_only=not caller.may("read internal comments"),
            limit=window.limit,
            after=after,
        )
        headers = next_headers(request, window, found, lambda last: (last.sequence,))
        return Answer({"comments": found}, headers=headers)

    async def links(
        self, request: Request, id: NamedInPath, caller: Admitted, window: Window
    ) -> Answer[lists.LinkList]:
        """Return the tickets it was merged with or split off from, by id."""
        await self._admission.admit(caller, id)
        (after,) = window.after(tuple[UUID]) or (_NO_TICKET,)
        found = await queries.list_links(self._pool, id, limit=window.limit, after=after)
        headers = next_headers(request, window, found, lambda last: (last.ticket_id,))
        return Answer({"links": found}, headers=headers)

    async def comment(
        self, request: Request, id: NamedInPath, caller: Admitted
    ) -> Made[CommandAnswer]:
        """Add a comment; 200 if it came before. Only agents may write internal ones."""
        body = await read_struct(request, schemas.NewComment)
        related = await self._admission.admit(caller, id)
        require_unclaimed(body.comment_id, field="/comment_id")
        author_id, side = speaker(body.author_id, caller, related)

        async def may_land(ticket_id: UUID) -> None:
            if body.visibility == "internal":
                await self._admission.require_internal(caller, ticket_id)

        command = CommentTicket(
            id,
            body.comment_id or creation_id(request, caller),
            author_id,
            side,
            body.visibility,
            body.text,
        )
        commands = replace(
            self._commands, carry_out=partial(self._tickets.comment, may_land=may_land)
        )
        return await commands.make(request, id, command)

    def _report(self, record: TicketReported, ticket_id: UUID, caller: Caller) -> Report:
        related = {"own"} if is_same(record.requester.id, caller.subject) else set[str]()
        if not caller.grant.covers(related):
            raise ForbiddenError("a requester reports for themselves", field="/requester/id")
        if record.requester.customer is not None and not caller.may("name a customer", related):
            raise ForbiddenError("whose customer it is, the desk says", field="/requester/customer")
        reporting = caller.admitted(related)
        require_unclaimed(record.ticket_id, field="/ticket_id")
        origin = door_of(caller)
        return Report(
            ticket_id,
            record,
            self._clock.now(),
            origin,
            lineage(),
            partial(self._admission.may, "split off from a ticket", reporting),
            partial(self._admission.may, "GET /tickets/{id}", reporting),
        )

    def _event_report(self, event: cloudevents.InboundEvent, caller: Caller) -> Report:
        envelope = Envelope(
            specversion="1.0",
            id=event.id,
            source=event.source,
            type=event.type,
            dataschema=event.dataschema,
            data=msgspec.Raw(event.data),
        )
        try:
            record = decode_report(envelope)
        except UndecodableError as error:
            raise from_undecodable(error, event.data, TicketReported, "") from error
        name = f"{event.source}#{event.id}"
        if not caller.may("report as a source"):
            derived = reported_ticket_id(door_of(caller), name)
            return self._report(record, record.ticket_id or derived, caller)
        require_source(event.source)
        derived = reported_ticket_id(event.source, event.id)
        report = self._report(record, record.ticket_id or derived, caller)
        return msgspec.structs.replace(report, origin=name)


def _item_id(owner: str, key: str | None, place: int) -> UUID:
    return random_id() if key is None else keyed_id(owner, f"{key}/{place}")


def _status(opened: Opened) -> int:
    return 201 if opened.is_new else 200


def _ticket_answer(opened: Opened) -> schemas.TicketAnswer:
    return schemas.TicketAnswer(
        ticket_id=opened.ticket_id, number=opened.number, sequence=opened.sequence
    )


def _batch_answer(results: list[Opened | DeskError]) -> schemas.BatchAnswer:
    return schemas.BatchAnswer(
        [
            schemas.ItemAnswer(status=_status(result), ticket=_ticket_answer(result))
            if isinstance(result, Opened)
            else schemas.ItemAnswer(status=(error := item_error(result)).status, error=error)
            for result in results
        ]
    )
