"""Intake's composition: the only file that puts its parts together."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from fastapi import APIRouter

from services.intake.access import ACCESS
from services.intake.api import Intake, source_routes
from services.intake.domain.past import require_life
from services.intake.domain.record import RecordRules
from services.intake.handlers import DECIDER, Sources, Tickets, admit_past, given
from services.intake.projections import READ_MODEL
from services.intake.queries import find_ticket, highest_number, newest_number
from services.intake.reactions import make_react
from services.intake.settings import IntakeSettings
from shared.contracts.intake import TicketCreated
from shared.contracts.registry import INBOUND, topics_of
from shared.http.app import ServiceInfo
from shared.http.kernel import Room
from shared.journal.handler import CommandHandler
from shared.journal.history import ImportRules
from shared.runtime.numbers import Numbers, highest_unread, is_behind, raise_past
from shared.runtime.service import Service
from shared.runtime.spec import Spec
from shared.version import VERSION

_RANKING = ("ticket.prioritized", "ticket.assigned", "ticket.escalated")


def room() -> Room:
    """Return intake, its settings read from the environment."""
    settings = IntakeSettings()
    rules = RecordRules(settings.skew_seconds_max, settings.categories)

    def routers(service: Service) -> Sequence[APIRouter]:
        handler = CommandHandler(DECIDER, service.committer, service.pool)
        tickets = Tickets(handler, Numbers(service.pool), rules, service.pool)
        sources = Sources(service.pool, service.journal)
        return [
            Intake(tickets, sources, service.pool, service.clock).router(),
            source_routes(sources, service.pool),
        ]

    return Room(
        ServiceInfo(
            "intake",
            "Deskledger intake",
            VERSION,
            "The desk's door: tickets in and out.",
            Path(__file__).with_name("examples.json"),
        ),
        Spec(
            name="intake",
            topics=(INBOUND, *topics_of("intake"), *_RANKING),
            read_model=READ_MODEL,
            react=make_react(rules, settings.notify_url),
            on_start=pass_known_numbers,
            past=ImportRules(require=require_life, before=admit_past),
            migrations={"intake": Path(__file__).parent / "migrations"},
            posts_webhooks=settings.notify_url is not None,
        ),
        routers,
        ACCESS,
        lambda service: partial(find_ticket, service.pool),
    )


async def pass_known_numbers(service: Service) -> None:
    """Give no number that the board or the log knows: this database may be an older copy, or new.

    The whole board is read only where its newest tickets show that the sequence is older than it.
    """
    unread = await highest_unread(service.around.log, service.pool, TicketCreated.TYPE, given)
    async with service.pool.acquire() as connection, connection.transaction():
        known = await newest_number(connection)
        if await is_behind(connection, known):
            known = await highest_number(connection)
        await raise_past(connection, max(known, unread))
