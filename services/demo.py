"""A synthetic working day, played over HTTP on a running desk.

Chance comes from a seed, so that a day can be played again; ids of tickets come from the seed too,
so that playing it twice makes no second ticket. Some work takes longer than was promised: the day
publishes promises that fit its speed, and puts back the default ones at its end.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
import msgspec
from rich.console import Console

from services.sla.domain.rules.defaults import default_policy
from shared.errors import UnavailableError

_DAY_SECONDS: Final = 8 * 3600
_GROUPS: Final = ("service-desk", "network-support", "software-support", "hardware-support")
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


@dataclass(frozen=True, slots=True)
class Day:
    """How much happens, how fast, and which day it is.

    `as_requester` gives a token of a requester, by their id; without it nobody rates.
    """

    tickets: int
    speed: float
    seed: int
    as_requester: Callable[[str], str] | None = None


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


async def play(client: httpx.AsyncClient, day: Day, out: Console) -> None:
    """Play the day; people rate where the day can speak as them.

    Raises: UnavailableError with the desk's own words when it refuses a step.
    """
    dice = Dice(day.seed)
    await _hire(client)
    promises = await _ask(client, "GET", "/sla/policies/standard")
    await _ask(
        client, "PUT", "/sla/policies/standard", {"targets": list(_quick_promises(day.speed))}
    )
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(day.tickets):
                group.create_task(_ticket(client, day, dice, number, out))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    finally:
        await _ask(client, "PUT", "/sla/policies/standard", {"targets": promises["targets"]})
    await _write_article(client, day.seed)
    out.print(f"{day.tickets} tickets played; try `desk report kpi`")


def _quick_promises(speed: float) -> Iterator[dict[str, Any]]:
    """Yield the day's promises: the usual hours, run through at the day's speed."""
    for target in msgspec.to_builtins(default_policy().targets):
        if target["when"].get("peak"):
            continue
        seconds = max(1, round(target["goal"]["working_seconds"] / speed))
        yield {**target, "calendar": "24x7", "goal": {"working_seconds": seconds}}


async def _hire(client: httpx.AsyncClient) -> None:
    for group in _GROUPS:
        for place in range(2):
            agent = f"{group}-{place + 1}"
            body = {"name": agent.replace("-", " ").title(), "group": group, "skills": _SKILLS}
            await _ask(client, "PUT", f"/routing/agents/{agent}", body)


async def _ticket(
    client: httpx.AsyncClient, day: Day, dice: Dice, number: int, out: Console
) -> None:
    name = f"demo-{day.seed}-{number}"
    user = f"user-{int(dice.share(name, 'user') * 40)}"

    async def later(hours: float) -> None:
        await asyncio.sleep(hours * 3600 / day.speed)

    await later(dice.share(name, "arrives") * _DAY_SECONDS / 3600)
    category, title, solution = dice.choose(_PROBLEMS, name, "problem")
    created = await _ask(
        client,
        "POST",
        "/intake/tickets",
        {
            "requester": {"id": user},
            "title": title,
            "kind": "service_request" if dice.share(name, "kind") < 0.2 else "incident",
            "category": category,
            "urgency": dice.choose(("high", "medium", "low"), name, "urgency"),
            "scope": {"people": int(dice.share(name, "scope") ** 3 * 120)},
            "channel": dice.choose(("phone", "mail", "portal", "alert"), name, "channel"),
        },
        key=name,
    )
    ticket = f"/intake/tickets/{created['ticket_id']}"
    out.print(f"{created['number']}  {title}", highlight=False)
    if dice.share(name, "cancel") < 0.05:
        await _ask(client, "POST", f"{ticket}/cancel", {"reason": "reported twice"})
        return
    await later(dice.share(name, "wait") * 0.6)
    if await _work(client, ticket, name, dice, later, solution) and day.as_requester is not None:
        score = 1 + int((1 - dice.share(name, "score") ** 2) * 5)
        rating = {"score": min(score, 5)}
        await _ask(client, "POST", f"{ticket}/rate", rating, token=day.as_requester(user))


async def _work(
    client: httpx.AsyncClient,
    ticket: str,
    name: str,
    dice: Dice,
    later: Callable[[float], Awaitable[None]],
    solution: str,
) -> bool:
    """Work on a ticket to its end; say whether its requester rates it."""
    await _ask(client, "POST", f"{ticket}/start", {})
    await _ask(client, "POST", f"{ticket}/comments", {"text": "We are on it."}, key=f"{name}-reply")
    if dice.share(name, "hold") < 0.25:
        reason = dice.choose(_HOLDS, name, "reason")
        await _ask(client, "POST", f"{ticket}/hold", {"reason": reason})
        await later(dice.share(name, "held"))
        await _ask(client, "POST", f"{ticket}/resume", {})
    await later(dice.share(name, "effort") ** 2 * 5)
    await _ask(client, "POST", f"{ticket}/resolve", {"resolution": solution})
    if dice.share(name, "reopen") < 0.1:
        await later(0.2)
        await _ask(client, "POST", f"{ticket}/reopen", {"reason": "It came back."})
        await later(0.5)
        await _ask(client, "POST", f"{ticket}/resolve", {"resolution": f"{solution} Again."})
    if dice.share(name, "close") >= 0.85:
        return False
    await later(0.3)
    await _ask(client, "POST", f"{ticket}/close", {})
    return dice.share(name, "rates") < 0.6


async def _write_article(client: httpx.AsyncClient, seed: int) -> None:
    body = {
        "title": "VPN drops every few minutes",
        "text": "Renew the client certificate: Settings, Network, VPN, Renew.",
        "tags": ["vpn"],
    }
    made = await _ask(client, "POST", "/knowledge/articles", body, key=f"demo-{seed}-article")
    await _ask(client, "POST", f"/knowledge/articles/{made['article_id']}/publish", {})


async def _ask(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    body: object = None,
    *,
    key: str | None = None,
    token: str | None = None,
) -> Any:  # noqa: ANN401 JSON
    headers = {} if key is None else {"Idempotency-Key": key}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if method == "GET":
        response = await client.get(path)
    else:
        response = await client.request(method, path, json=body, headers=headers)
    already_done = response.status_code == int(httpx.codes.CONFLICT)
    if response.is_success or already_done:  # a day played again finds its steps taken
        return response.json()
    raise UnavailableError(f"{method} {path}: HTTP {response.status_code}: {response.text[:200]}")
