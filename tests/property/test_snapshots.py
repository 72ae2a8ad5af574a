"""What is left of a long past says the same as all of it, whoever takes snapshots and when."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.histories import START, created
from support.memory_store import MemoryStore

from services.intake.domain.commands import CommentTicket, LinkTicket
from services.intake.handlers import DECIDER as TICKETS
from services.knowledge.handlers import DECIDER as ARTICLES
from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage
from shared.contracts.intake import (
    Scope,
    TicketCancelled,
    TicketClosed,
    TicketCommented,
    TicketHeld,
    TicketLinked,
    TicketMerged,
    TicketRated,
    TicketReopened,
    TicketResolved,
    TicketResumed,
    TicketStarted,
    TicketUpdated,
)
from shared.contracts.knowledge import (
    ArticleDrafted,
    ArticlePublished,
    ArticleRetired,
    ArticleRevised,
)
from shared.errors import DeskError
from shared.journal.handler import Decider, read_states
from shared.journal.journal import Append, Draft, Journal

T = UUID(int=1)
LINEAGE = Lineage(actor="test", correlation_id="c")
Make = Callable[[Random], EventData]


class Clock:
    def now(self) -> datetime:
        return START


def _comment(chance: Random) -> TicketCommented:
    number = chance.randrange(1_000_000)
    return TicketCommented(
        ticket_id=T,
        comment_id=UUID(int=number),
        author_id="bo",
        author_role=chance.choice(["agent", "requester"]),
        visibility="public",
        text=f"comment {number}",
    )


def _updated(chance: Random) -> TicketUpdated:
    title = f"title {chance.randrange(9)}"
    return TicketUpdated(
        ticket_id=T,
        title=title,
        description="",
        impact=None,
        urgency=None,
        scope=Scope(),
        category=None,
        service=None,
    )


def _linked(chance: Random) -> TicketLinked:
    relation = chance.choice(["merged_in", "split_off"])
    return TicketLinked(ticket_id=T, linked_id=UUID(int=chance.randrange(50)), relation=relation)


def _revised(chance: Random) -> ArticleRevised:
    return ArticleRevised(
        article_id=T,
        revised_by="bo",
        title="VPN",
        text=f"text {chance.randrange(9)}",
        tags=(),
        status=chance.choice(["draft", "published"]),
        authors=tuple(chance.sample(["al", "bo", "cy"], chance.randrange(1, 4))),
    )


def _reopened(chance: Random) -> TicketReopened:
    count = chance.randrange(9)
    return TicketReopened(ticket_id=T, reopened_by="ann", reason="no", reopen_count=count)


TICKET: Sequence[Make] = (
    _comment,
    _comment,
    _updated,
    _linked,
    lambda _: created(T),
    lambda _: TicketStarted(ticket_id=T, agent_id="bo"),
    lambda c: TicketHeld(ticket_id=T, reason=c.choice(["vendor", "user"]), note=""),
    lambda _: TicketResumed(ticket_id=T),
    lambda _: TicketResolved(ticket_id=T, resolved_by="bo", resolution="done"),
    lambda _: TicketClosed(
        ticket_id=T, closed_by="ann", code="solved", resolved_at=None, reopen_count=0
    ),
    _reopened,
    lambda _: TicketCancelled(ticket_id=T, cancelled_by="ann", reason="twice"),
    lambda _: TicketMerged(ticket_id=T, into=UUID(int=2), merged_by="bo", reason="same"),
    lambda c: TicketRated(ticket_id=T, rated_by="ann", score=c.randrange(1, 6), comment=""),
)
ARTICLE_BEFORE: Sequence[Make] = (
    lambda _: ArticleDrafted(
        article_id=T,
        number="KB-000001",
        author_id="bo",
        title="VPN",
        text="Renew",
        language="en",
        tags=(),
    ),
    lambda c: ArticleRevised(
        article_id=T, revised_by="bo", title="VPN", text=f"text {c.randrange(9)}", tags=()
    ),
    lambda _: ArticlePublished(article_id=T, published_by="bo"),
    lambda _: ArticleRetired(article_id=T, retired_by="bo", reason="gone"),
)
ARTICLE: Sequence[Make] = tuple(
    _revised if make(Random(0)).TYPE == ArticleRevised.TYPE else make for make in ARTICLE_BEFORE
)
DECIDERS: dict[str, tuple[str, Decider[Any, Any], Sequence[Make]]] = {
    "tickets": ("intake", TICKETS, TICKET),
    "articles": ("knowledge", ARTICLES, ARTICLE),
    "articles of before": ("knowledge", ARTICLES, ARTICLE_BEFORE),
}


def commands_for(events: Sequence[EventData], chance: Random) -> list[Any]:
    """Return commands that repeat what was done, and some that never were."""
    return [
        CommentTicket(T, e.comment_id, e.author_id, e.author_role, e.visibility, e.text)
        if isinstance(e, TicketCommented)
        else LinkTicket(T, e.linked_id, e.relation)
        for e in (*events, _comment(chance), _linked(chance))
        if isinstance(e, TicketCommented | TicketLinked)
    ]


def outcome(decider: Decider[Any, Any], command: Any, state: Any) -> Any:
    try:
        return decider.decide(command, state)
    except DeskError as error:
        return type(error), error.detail


@pytest.mark.parametrize("name", DECIDERS)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
async def test_a_state_from_a_snapshot_and_its_tail_is_the_fold_of_all(
    name: str, seed: int
) -> None:
    chance = Random(seed)
    writer, whole, makers = DECIDERS[name]
    assert whole.compaction is not None
    store = MemoryStore(lambda: START)
    pool: Any = store.pool()
    journal = Journal(writer, Clock())
    events = [makers[chance.randrange(len(makers))](chance) for _ in range(chance.randrange(60))]
    drafts = [Draft(event, START + timedelta(minutes=n)) for n, event in enumerate(events)]
    at = 0
    async with pool.acquire() as connection:
        while at < len(events):
            few = tuple(drafts[at : at + chance.randrange(1, 12)])
            await journal.append(connection, [Append(str(T), at, few, LINEAGE)])
            at += len(few)
            if chance.random() < 0.5:  # a program of before appends, and takes no snapshot
                compaction = replace(whole.compaction, tail_max=chance.randrange(5))
                await read_states(connection, replace(whole, compaction=compaction), {str(T): ()})
        folded = whole.fold((await journal.read(connection, [str(T)]))[str(T)])
        commands = commands_for(events, chance) if name == "tickets" else []
        for command in commands:
            found = (await read_states(connection, whole, {str(T): [command]}))[str(T)]
            assert found.sequence == len(events)
            assert outcome(whole, command, found.state) == outcome(whole, command, folded)
        found = (await read_states(connection, whole, {str(T): commands}))[str(T)]
    assert found == (folded, len(events))
