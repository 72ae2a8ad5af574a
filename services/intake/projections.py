"""How events become intake's board. Facets are guarded by sequence: arrival order cannot matter."""

from collections.abc import Iterator
from typing import Final, assert_never, cast
from uuid import UUID

from services.intake.tables import (
    BOARD,
    COMMENTS,
    LINKS,
    WORDING,
    Activity,
    Assignment,
    Comment,
    Details,
    Link,
    Progress,
    Ranking,
    Rating,
    Record,
    Solution,
)
from shared.contracts.base import EventData
from shared.contracts.intake import (
    TicketCancelled,
    TicketClosed,
    TicketCommented,
    TicketCreated,
    TicketEvent,
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
from shared.contracts.registry import Recorded
from shared.contracts.routing import TicketAssigned, TicketPrioritized
from shared.people import person
from shared.runtime.read_model import ReadModel
from shared.search.documents import Filing, Wording, filed, worded

BoardFacet = (
    Record
    | Details
    | Filing
    | Wording
    | Progress
    | Solution
    | Activity
    | Rating
    | Ranking
    | Assignment
    | Comment
    | Link
)


_STATUS: Final = {
    TicketStarted: "in_progress",
    TicketResumed: "in_progress",
    TicketClosed: "closed",
    TicketCancelled: "cancelled",
}


def project_board(event: Recorded) -> Iterator[BoardFacet]:
    """Yield every facet that `event` sets; none for events of no interest here."""
    data = event.data
    match data:
        case TicketPrioritized():
            yield Ranking(data.priority)
        case TicketAssigned():
            yield Assignment(data.group, data.agent_id, data.line)
        case _ if event.writer == "intake":
            yield Activity(event.time)
            yield from _project_own(cast("TicketEvent", data), event)
            yield from _links(data)
        case _:
            return


def _project_own(  # noqa: C901 one case per kind of fact
    data: TicketEvent, event: Recorded
) -> Iterator[BoardFacet]:
    match data:
        case TicketCreated():
            yield _record(data, event)
            yield _details(data)
            yield filed(event.time, person(data.requester.id))
            yield worded(data.title, data.description)
            yield Progress("new", event.time, None)
        case TicketUpdated():
            yield _details(data)
            yield worded(data.title, data.description)
        case TicketCommented():
            yield Comment(
                data.comment_id,
                data.author_id,
                data.author_role,
                data.visibility,
                data.text,
                event.time,
            )
        case TicketReopened():
            yield Progress("in_progress", event.time, None)
            yield Solution(None)
        case TicketResolved():
            yield Progress("resolved", event.time, None)
            yield Solution(data.resolution)
        case TicketHeld():
            yield Progress("on_hold", event.time, data.reason)
        case TicketStarted() | TicketResumed() | TicketClosed() | TicketCancelled():
            yield Progress(_STATUS[type(data)], event.time, None)
        case TicketMerged():
            yield Progress("merged", event.time, None)
        case TicketLinked():
            return
        case TicketRated():
            yield Rating(data.score)
        case _:
            assert_never(data)


def _links(data: EventData) -> Iterator[Link]:
    match data:
        case TicketCreated(split_from=UUID() as whole):
            yield Link(whole, "split_from")
        case TicketMerged():
            yield Link(data.into, "merged_into")
        case TicketLinked():
            yield Link(data.linked_id, data.relation)
        case _:
            return


def _record(data: TicketCreated, event: Recorded) -> Record:
    return Record(
        number=data.number,
        kind=data.kind,
        requester_id=person(data.requester.id),
        requester_name=data.requester.name,
        contact=data.requester.contact,
        department=data.requester.department,
        customer=data.requester.customer,
        site=data.requester.site,
        channel=data.channel,
        occurred_at=data.occurred_at,
        created_at=event.time,
    )


def _details(data: TicketCreated | TicketUpdated) -> Details:
    return Details(
        title=data.title,
        description=data.description,
        impact=data.impact,
        urgency=data.urgency,
        people=data.scope.people,
        sites=data.scope.sites,
        category=data.category,
        service=data.service,
    )


READ_MODEL: Final = ReadModel((BOARD, WORDING, COMMENTS, LINKS), project_board, version=3)
