"""What lists of clocks, outages and maintenance show, and which running clocks are asked for."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.sla.domain.agreements import Signature, Version, Versions, in_force_at
from services.sla.domain.explain import ClockReading
from shared.contracts.agreements import AgreementPublished, Party


class ClockView(msgspec.Struct, frozen=True):
    """One clock; `state` is open, paused, breached (and still running), met, missed, cancelled.

    `warned` is the rule of the last warning.
    """

    ticket_id: UUID
    target: str
    cycle: int
    generation: int
    kind: str | None
    started_at: datetime | None
    goal: dict[str, Any] | None
    calendar: str | None
    policy_id: str | None
    policy_version: int | None
    state: str
    due_at: datetime | None
    pause_reason: str | None
    warned: dict[str, Any] | None
    breached_at: datetime | None
    stopped_at: datetime | None
    source_system: str | None


class PromisedClock(msgspec.Struct, frozen=True, kw_only=True):
    """What was promised to a requester, as they see it: until when, and how it goes.

    How the desk organises its work is not in it: rules, goals, warnings, agreements inside.
    """

    target: str
    cycle: int
    started_at: datetime | None
    due_at: datetime | None
    outcome: str
    stopped_at: datetime | None
    remaining_seconds: int | None
    remaining_wall_seconds: int | None
    paused_for: str | None
    paused_since: datetime | None


def promised_clocks(clocks: Iterable[ClockReading]) -> list[PromisedClock]:
    """Return what the requester may see; of a clock that other rules took over, the last state."""
    return [
        PromisedClock(**{name: getattr(clock, name) for name in PromisedClock.__struct_fields__})
        for clock in clocks
        if clock.kind == "sla" and clock.outcome != "superseded"
    ]


class AtRiskAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Which running clocks to list, as of `at`; a null condition lets all through."""

    at: datetime
    limit: int
    group: str | None = None
    priority: str | None = None
    is_overdue: bool = False


class OutageView(msgspec.Struct, frozen=True):
    """An outage as it was recorded last."""

    outage_id: str
    service: str
    started_at: datetime
    ended_at: datetime | None
    source: str
    ticket_id: UUID | None
    is_withdrawn: bool


class MaintenanceView(msgspec.Struct, frozen=True):
    """A maintenance as it was told last."""

    maintenance_id: str
    service: str
    starts_at: datetime
    ends_at: datetime
    is_cancelled: bool


class SignatureView(msgspec.Struct, frozen=True):
    """Who signed, and when."""

    signatory: str
    signed_at: datetime


class VersionView(msgspec.Struct, frozen=True):
    """A version of an agreement; `in_force` says whether it is now."""

    in_force: bool
    signatures: dict[str, SignatureView]
    document: AgreementPublished


class AgreementView(msgspec.Struct, frozen=True):
    """An agreement with its versions, the newest first."""

    agreement_id: str
    versions: list[VersionView]


def agreement_view(agreement_id: str, versions: Versions, now_us: int) -> AgreementView:
    """Return an agreement as it is shown."""
    current = in_force_at(versions, now_us)
    return AgreementView(
        agreement_id,
        [
            VersionView(
                current is version.document,
                {party: SignatureView(*one) for party, one in version.signatures.items()},
                version.document,
            )
            for _, version in sorted(versions.items(), reverse=True)
        ],
    )


def versions_of(rows: Iterable[Any]) -> dict[str, dict[int, Version]]:
    """Return versions by agreement and number, from rows of id, number, document, signatures.

    Signatures are who signed, and when, for the customer and for the provider, or null.
    """
    found: dict[str, dict[int, Version]] = {}
    for agreement_id, number, document, *signed in rows:
        signatures: dict[Party, Signature] = {}
        if signed[0] is not None:
            signatures["customer"] = Signature(*signed[:2])
        if signed[2] is not None:
            signatures["provider"] = Signature(*signed[2:])
        version = Version(msgspec.convert(document, AgreementPublished), signatures)
        found.setdefault(agreement_id, {})[number] = version
    return found
