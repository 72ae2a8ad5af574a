"""The policy: the rules of routing, published in versions."""

from typing import Final

import msgspec

from shared.contracts.routing import RoutingPolicyPublished
from shared.journal.handler import Decider


def _publish(
    document: RoutingPolicyPublished, latest: RoutingPolicyPublished | None
) -> list[RoutingPolicyPublished]:
    version = 0 if latest is None else latest.version
    if latest is not None and msgspec.structs.replace(document, version=version) == latest:
        return []
    return [msgspec.structs.replace(document, version=version + 1)]


POLICIES: Final = Decider[RoutingPolicyPublished, RoutingPolicyPublished | None](
    None, _publish, lambda _, event, __: event
)
