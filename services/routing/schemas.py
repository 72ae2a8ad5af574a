"""Bodies of routing's requests and answers."""

from typing import Annotated, TypedDict

from msgspec import Meta

from shared.contracts.base import Key, Line, Name, Skills
from shared.contracts.routing import Desks, Matrix, Thresholds
from shared.http.commands import Body


class Registration(Body, frozen=True):
    """What the roster says of an agent."""

    name: Name
    group: Key
    line: Line = 1
    skills: Skills = ()
    workload_max: Annotated[int, Meta(ge=0, le=1000)] = 20


class Availability(Body, frozen=True):
    """Whether the agent takes new tickets."""

    available: bool


class Assign(Body, frozen=True):
    """Who gets the ticket; without an agent whoever is free in the group, else it waits there."""

    group: Key
    reason: Annotated[str, Meta(min_length=1, max_length=1000)]
    agent_id: Key | None = None
    line: Line | None = None


class AgentAnswer(TypedDict):
    """Whether the roster says something else of the agent now."""

    agent_id: str
    changed: bool


class PolicyAnswer(TypedDict):
    """The version in force, and whether it is new."""

    version: int
    changed: bool


class NewPolicy(Body, frozen=True):
    """The rules of routing, whole."""

    matrix: Matrix
    thresholds: Thresholds
    desks: Desks
    default_groups: Annotated[tuple[Key, ...], Meta(min_length=1, max_length=3)]
