"""Events that routing owns: priority, assignment, escalation, people and the routing policy."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from shared.contracts.base import (
    Count,
    EventData,
    Key,
    Level,
    Line,
    Name,
    Ordinal,
    Priority,
    Reasons,
    Skills,
    TicketData,
    at_most,
)


class TicketPrioritized(TicketData, frozen=True, kw_only=True):
    """The ticket's rank and what it follows from.

    `policy_version` 0 means the source system's own ranking (imported history).
    """

    TYPE: ClassVar[str] = "ticket.prioritized"

    priority: Priority
    impact: Level
    urgency: Level
    reasons: Reasons
    policy_version: Count


class TicketAssigned(TicketData, frozen=True, kw_only=True):
    """Who has the ticket now. `agent_id` is null while it waits in the group's queue.

    `reassignment_count` counts the changes so far; who first takes a ticket, also one that waited
    in the group's queue, is none.
    """

    TYPE: ClassVar[str] = "ticket.assigned"

    group: Key
    agent_id: Key | None
    line: Line
    reassignment_count: Count
    reasons: Reasons


class TicketEscalated(TicketData, frozen=True, kw_only=True):
    """The ticket needs more than its line can give.

    `hierarchical` goes up a line, `functional` sideways to another group.
    """

    TYPE: ClassVar[str] = "ticket.escalated"

    kind: Literal["hierarchical", "functional"]
    from_line: Line
    to_line: Line
    from_group: Key | None
    to_group: Key
    escalation_count: Count
    reasons: Reasons


class AgentRegistered(EventData, frozen=True, kw_only=True):
    """An agent and what they can do; sent again, it replaces what was known."""

    TYPE: ClassVar[str] = "agent.registered"
    STREAM: ClassVar[str] = "agent_id"

    agent_id: Key
    name: Name
    group: Key
    line: Line
    skills: Skills
    workload_max: Annotated[
        int, Meta(ge=0, le=1000, description="open tickets the agent takes at most")
    ]


class AgentAvailabilityChanged(EventData, frozen=True, kw_only=True):
    """Whether the agent takes new tickets from now on."""

    TYPE: ClassVar[str] = "agent.availability_changed"
    STREAM: ClassVar[str] = "agent_id"

    agent_id: Key
    available: bool


class MatrixCell(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cell of the impact × urgency matrix."""

    impact: Level
    urgency: Level
    priority: Priority


class ImpactThreshold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Impact is at least `impact` once this many people or sites are affected."""

    impact: Level
    people: Ordinal
    sites: Ordinal


class Desk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The groups that take a category, by line; `skill` is what an agent must have (null: none)."""

    category: Key
    groups: Annotated[tuple[Key, ...], Meta(min_length=1, max_length=3)]
    skill: Key | None = None


Matrix = Annotated[tuple[MatrixCell, ...], at_most(items=9)]
Thresholds = Annotated[tuple[ImpactThreshold, ...], at_most(items=100)]
Desks = Annotated[tuple[Desk, ...], at_most(items=2_000, bytes=600_000)]


class RoutingPolicyPublished(EventData, frozen=True, kw_only=True):
    """The rules that routing follows from now on, whole."""

    TYPE: ClassVar[str] = "routing.policy_published"
    STREAM: ClassVar[str] = "policy_id"

    policy_id: Key
    version: Ordinal
    matrix: Matrix
    thresholds: Thresholds
    desks: Desks
    default_groups: Annotated[tuple[Key, ...], Meta(min_length=1, max_length=3)]


RoutingTicketEvent = TicketPrioritized | TicketAssigned | TicketEscalated
AgentEvent = AgentRegistered | AgentAvailabilityChanged
RoutingEvent = RoutingTicketEvent | AgentEvent | RoutingPolicyPublished
