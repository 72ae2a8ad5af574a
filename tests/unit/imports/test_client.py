"""What goes to which door when intake refuses some of the incidents."""

from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
from support.histories import created

from services.imports.client import Report, send
from services.imports.servicenow import Incident, Past
from shared.contracts.routing import TicketPrioritized
from shared.contracts.sla import SlaMet
from shared.ids import reported_ticket_id

AT = datetime(2025, 3, 14, tzinfo=UTC)


def incident(number: str) -> Incident:
    ticket_id = reported_ticket_id("servicenow", number)
    ranked = TicketPrioritized(
        ticket_id=ticket_id,
        priority="P3",
        impact="medium",
        urgency="medium",
        reasons=(),
        policy_version=0,
    )
    met = SlaMet(
        ticket_id=ticket_id,
        target="resolution",
        stopped_at=AT,
        due_at=None,
        elapsed_seconds=None,
        source_system="servicenow",
    )
    pasts = [(Past(data, AT, "ute"),) for data in (created(ticket_id), ranked, met)]
    return Incident(ticket_id, number, pasts[0], pasts[1], pasts[2], ())


async def test_what_intake_refuses_is_imported_nowhere() -> None:
    taken, refused = incident("INC0000001"), incident("INC0000002")
    told: dict[str, list[str]] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        door = request.url.path
        names = [one["stream_id"] for one in msgspec.json.decode(request.content)["streams"]]
        told.setdefault(door, []).extend(names)
        results: list[dict[str, Any]] = [{"stream_id": name, "added": 1} for name in names]
        if door == "/intake/history:batch":
            for one in results:
                if one["stream_id"] == str(refused.ticket_id):
                    one["error"] = {"detail": "the number is that of another ticket"}
        return httpx.Response(200, json={"results": results})

    transport = httpx.MockTransport(answer)
    async with httpx.AsyncClient(transport=transport, base_url="http://desk") as client:
        report = Report()
        await send(client, iter([taken, refused]), report)
        await send(client, iter([refused]), report)
    assert [name.count(str(refused.ticket_id)) for name in told.values()] == [2, 0, 0]
    assert told["/routing/history:batch"] == told["/sla/history:batch"] == [str(taken.ticket_id)]
    assert len(report.refused) == 2
    assert not report.is_whole
