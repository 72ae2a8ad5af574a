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
        ServiceInfo("knowledge", "x", "1", "x"),
        Spec(
            name="knowledge",
            topics=topics_of("knowledge"),
            read_model=ReadModel((), lambda e: ()),
            react=react,
        ),
        lambda s: [],
    )
