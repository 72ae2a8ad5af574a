"""Old versions of an event's data, lifted one version at a time to the newest."""

from collections.abc import Callable
from typing import Any

Data = dict[str, Any]
Upcaster = Callable[[Data], Data]


def ticket_reported_v1_to_v2(data: Data) -> Data:
    """Group the flat requester fields and the number of affected people, as version 2 has them."""
    lifted = dict(data)
    requester = {"id": lifted.pop("requester_id", None)}
    if "requester_name" in lifted:
        requester["name"] = lifted.pop("requester_name")
    lifted["requester"] = requester
    if "affected_people" in lifted:
        lifted["scope"] = {"people": lifted.pop("affected_people")}
    return lifted


UPCASTERS: dict[tuple[str, int], Upcaster] = {("ticket.reported", 1): ticket_reported_v1_to_v2}
