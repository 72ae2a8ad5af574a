"""A synthetic working day, taken over into a running desk as its past, with its true durations.

Chance comes from a seed, and names from seed and date, so that the same day taken over again
changes nothing. As with every past nobody is paged by it and no clock runs: what was promised, and
whether it was kept, is what the day itself says.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import httpx

from services.imports.client import ImportReport, send
from services.imports.servicenow import ImportedEvent, Incident
from services.routing.domain.policy import default_policy
from shared.contracts.base import Kind, Level, Priority
from shared.contracts.intake import (
    Requester,
    Scope,
    TicketCancelled,
    TicketClosed,
    TicketCommented,
    TicketCreated,
    TicketHeld,
    TicketRated,
    TicketReopened,
    TicketResolved,
    TicketResumed,
    TicketStarted,
)
from shared.contracts.routing import TicketAssigned, TicketEscalated, TicketPrioritized
from shared.contracts.sla import SlaMet, SlaMissed
from shared.errors import UnavailableError
from shared.ids import keyed_id, reported_ticket_id

SOURCE: Final = "demo"
_OPENS: Final = time(8, tzinfo=UTC)
_DAY_HOURS: Final = 8
_DESK: Final = "service-desk"
_GROUPS: Final = (_DESK, "network-support", "software-support", "hardware-support")
_SKILLS: Final = ("hardware", "software", "network", "system")
_PROBLEMS: Final = (
    ("network", "VPN drops every few minutes", "Renewed the client certificate."),
    ("network", "Wi-Fi is slow on the third floor", "Moved the access point."),
    ("hardware", "Docking station does not charge", "Replaced the power supply."),
    ("hardware", "打印机卡纸", "清理了进纸辊。"),
    ("software", "Spreadsheet crashes when saving", "Installed the update."),
    ("software", "邮箱无法登录", "重置了密码。"),
    ("system", "Nightly backup failed", "Freed space on the backup volume."),
    ("system", "Cannot reach the intranet", "Restarted the reverse proxy."),
)
_HOLDS: Final = ("requester", "vendor", "change")
_REASONS: Final = ("as the demo has it",)
_PROMISED_HOURS: Final[dict[Priority, tuple[float, float]]] = {
    "P1": (0.25, 4),
    "P2": (0.5, 8),
    "P3": (4, 24),
    "P4": (8, 48),
}
"""Until the first reply, and until the solution; holds excepted."""


@dataclass(frozen=True, slots=True)
class Day:
    """How much happened, when, and which of all the possible days it was."""

    tickets: int
    seed: int
    date: date


class Dice:
    """Chance by seed: the same names give the same answers."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def share(self, *names: object) -> float:
        """Return a number in [0, 1)."""
        digest = hashlib.sha256(repr((self._seed, *names)).encode()).digest()
        return int.from_bytes(digest[:8]) / 2**64

    def choose(self, options: Sequence[Any], *names: object) -> Any:  # noqa: ANN401 an option
        """Return one of the options."""
        return options[int(self.share(*names) * len(options))]


async def take_over(client: httpx.AsyncClient, day: Day) -> ImportReport:
    """Take the day over, its agents and an article too, and return what that came to.

    Raises: UnavailableError with the desk's own words when it refuses a step.
    """
    for group in _GROUPS:
        for place in range(2):
            agent = f"{group}-{place + 1}"
            body = {"name": agent.replace("-", " ").title(), "group": group, "skills": _SKILLS}
            await _ask(client, "PUT", f"/routing/agents/{agent}", body)
    report = ImportReport()
    await send(client, past(day), report, SOURCE)
    article = {
        "title": "VPN drops every few minutes",
        "text": "Renew the client certificate: Settings, Network, VPN, Renew.",
        "tags": ["vpn"],
    }
    made = await _ask(client, "POST", "/knowledge/articles", article, key="demo-article")
    await _ask(client, "POST", f"/knowledge/articles/{made['article_id']}/publish", {})
    return report


def past(day: Day) -> Iterator[Incident]:
    """Yield the day's tickets."""
    dice = Dice(day.seed)
    for number in range(1, day.tickets + 1):
        name = f"DEMO-{day.date:%Y%m%d}-{day.seed}-{number:03}"
        yield _Life(name, day.date, dice).incident()


class _Rank(NamedTuple):
    impact: Level
    urgency: Level
    priority: Priority


class _Life:
    """One ticket's life: what happens, hour by hour, and what each service says of it."""

    def __init__(self, name: str, on: date, dice: Dice) -> None:
        self._name = name
        self._id: UUID = reported_ticket_id(SOURCE, name)
        self._dice = dice
        self._now = datetime.combine(on, _OPENS)
        self._intake: list[ImportedEvent] = []
        self._routing: list[ImportedEvent] = []
        self._sla: list[ImportedEvent] = []
        self._held = timedelta()
        self._category, self._title, self._solution = dice.choose(_PROBLEMS, name, "problem")
        self._user = f"user-{int(self._share('user') * 40)}"

    def incident(self) -> Incident:
        """Live it, and return what was recorded."""
        self._pass(self._share("arrives") * _DAY_HOURS)
        opened = self._now
        rank = self._create()
        if self._share("cancel") < 0.05:
            self._pass(0.2)
            cancelled = TicketCancelled(
                ticket_id=self._id, cancelled_by=self._user, reason="reported twice"
            )
            self._note(cancelled, self._user)
        else:
            self._work(opened, rank.priority)
        told = tuple(self._intake), tuple(self._routing), tuple(self._sla)
        return Incident(self._id, self._name, *told, disagreements=())

    def _share(self, what: str) -> float:
        return self._dice.share(self._name, what)

    def _pass(self, hours: float) -> None:
        self._now += timedelta(seconds=round(hours * 3600))

    def _note(self, data: Any, actor: str) -> None:  # noqa: ANN401 any event of a ticket
        self._intake.append(ImportedEvent(data, self._now, actor))

    def _create(self) -> _Rank:
        people = int(self._share("scope") ** 3 * 120)
        policy = default_policy()
        reached: list[Level] = [one.impact for one in policy.thresholds if people >= one.people]
        impact: Level = reached[0] if reached else "low"
        urgency: Level = self._dice.choose(("high", "medium", "low"), self._name, "urgency")
        priority: Priority = next(
            cell.priority
            for cell in policy.matrix
            if (cell.impact, cell.urgency) == (impact, urgency)
        )
        kind: Kind = "service_request" if self._share("kind") < 0.2 else "incident"
        created = TicketCreated(
            ticket_id=self._id,
            number=self._name,
            kind=kind,
            title=self._title,
            description="",
            requester=Requester(id=self._user),
            occurred_at=self._now,
            impact=impact,
            urgency=urgency,
            scope=Scope(people=people),
            category=self._category,
            service=None,
            channel=self._dice.choose(("phone", "mail", "portal", "alert"), self._name, "channel"),
            origin=SOURCE,
        )
        self._note(created, self._user)
        ranked = TicketPrioritized(
            ticket_id=self._id,
            priority=priority,
            impact=impact,
            urgency=urgency,
            reasons=_REASONS,
            policy_version=0,
        )
        self._routing.append(ImportedEvent(ranked, self._now, SOURCE))
        return _Rank(impact, urgency, priority)

    def _work(self, opened: datetime, priority: Priority) -> None:
        agent = self._assign(_DESK, 0)
        self._pass(self._share("wait") * 0.6)
        self._note(TicketStarted(ticket_id=self._id, agent_id=agent), agent)
        self._pass(self._share("reply") * 0.1)
        reply = TicketCommented(
            ticket_id=self._id,
            comment_id=keyed_id(SOURCE, f"{self._name}-reply"),
            author_id=agent,
            author_role="agent",
            visibility="public",
            text="We are on it.",
        )
        self._note(reply, agent)
        self._judge("response", opened, _PROMISED_HOURS[priority][0])
        if self._share("hold") < 0.25:
            self._hold(agent)
        if self._category != "system" and self._share("pass on") < 0.2:
            agent = self._assign(f"{self._category}-support", 1)
        self._pass(self._share("effort") ** 2 * 5)
        solved = self._solve(agent)
        if not self._judge("resolution", opened, _PROMISED_HOURS[priority][1]):
            self._escalate(opened + timedelta(hours=_PROMISED_HOURS[priority][1]) + self._held)
        if self._share("close") < 0.85:
            self._close(solved)

    def _assign(self, group: str, moves: int) -> str:
        agent = f"{group}-{1 + int(self._share(f'agent of {group}') * 2)}"
        assigned = TicketAssigned(
            ticket_id=self._id,
            group=group,
            agent_id=agent,
            line=1 + moves,
            reassignment_count=moves,
            reasons=_REASONS,
        )
        self._routing.append(ImportedEvent(assigned, self._now, SOURCE))
        return agent

    def _hold(self, agent: str) -> None:
        reason = self._dice.choose(_HOLDS, self._name, "reason")
        self._note(TicketHeld(ticket_id=self._id, reason=reason), agent)
        since = self._now
        self._pass(self._share("held"))
        self._held += self._now - since
        self._note(TicketResumed(ticket_id=self._id), agent)

    def _solve(self, agent: str) -> tuple[datetime, int]:
        """Return when the solution that stands was supplied, and how many did not hold."""
        solution = TicketResolved(ticket_id=self._id, resolved_by=agent, resolution=self._solution)
        self._note(solution, agent)
        if self._share("reopen") >= 0.1:
            return self._now, 0
        self._pass(0.2)
        reopened = TicketReopened(
            ticket_id=self._id, reopened_by=self._user, reason="It came back.", reopen_count=1
        )
        self._note(reopened, self._user)
        self._pass(0.5)
        self._note(solution, agent)
        return self._now, 1

    def _judge(self, target: str, opened: datetime, promised_hours: float) -> bool:
        """Record the verdict, and return whether the promise was kept."""
        due_at = opened + timedelta(hours=promised_hours) + self._held
        is_kept = self._now <= due_at
        verdict = (SlaMet if is_kept else SlaMissed)(
            ticket_id=self._id,
            target=target,
            stopped_at=self._now,
            due_at=due_at,
            elapsed_seconds=round((self._now - opened - self._held).total_seconds()),
            source_system=SOURCE,
        )
        self._sla.append(ImportedEvent(verdict, self._now, SOURCE))
        return is_kept

    def _escalate(self, due_at: datetime) -> None:
        escalated = TicketEscalated(
            ticket_id=self._id,
            kind="hierarchical",
            from_line=1,
            to_line=2,
            from_group=_DESK,
            to_group=_DESK,
            escalation_count=1,
            reasons=_REASONS,
        )
        self._routing.append(ImportedEvent(escalated, due_at, SOURCE))

    def _close(self, solved: tuple[datetime, int]) -> None:
        self._pass(0.3)
        closed = TicketClosed(
            ticket_id=self._id,
            closed_by=self._user,
            code="solved",
            resolved_at=solved[0],
            reopen_count=solved[1],
        )
        self._note(closed, self._user)
        if self._share("rates") < 0.6:
            score = min(5, 1 + int((1 - self._share("score") ** 2) * 5))
            self._note(
                TicketRated(ticket_id=self._id, rated_by=self._user, score=score), self._user
            )


async def _ask(
    client: httpx.AsyncClient, method: str, path: str, body: object, *, key: str | None = None
) -> Any:  # noqa: ANN401 JSON
    headers = {} if key is None else {"Idempotency-Key": key}
    response = await client.request(method, path, json=body, headers=headers)
    already_done = response.status_code == int(httpx.codes.CONFLICT)
    if response.is_success or already_done:  # a day taken over again finds its article published
        return response.json()
    raise UnavailableError(f"{method} {path}: HTTP {response.status_code}: {response.text[:200]}")
