"""Temporary."""

from shared.contracts.registry import topics_of
from shared.http.app import ServiceInfo
from shared.http.kernel import Room
from shared.runtime.read_model import ReadModel
from shared.runtime.service import Spec


async def react(b, u):
    pass


def room() -> Room:
    return Room(
        ServiceInfo("routing", "x", "1", "x"),
        Spec(
            name="routing",
            topics=topics_of("routing"),
            read_model=ReadModel((), lambda e: ()),
            react=react,
        ),
        lambda s: [],
    )
