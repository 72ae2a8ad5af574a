"""Seeded random scenarios that look for collisions: equal instants, edges, clock changes."""

import random
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

from .calendar import WEEKDAYS, opening_edge, seconds, text

CLOCK_CHANGES = {
    "Europe/Berlin": ("2025-03-30", "2025-10-26"),
    "Europe/Dublin": ("2025-03-30", "2025-10-26"),
    "America/New_York": ("2025-03-09", "2025-11-02"),
    "America/St_Johns": ("2025-03-09", "2025-11-02"),
    "America/Havana": ("2025-03-09", "2025-11-02"),
    "America/Santiago": ("2025-04-05", "2025-09-07"),
    "Australia/Sydney": ("2025-04-06", "2025-10-05"),
    "Australia/Lord_Howe": ("2025-04-06", "2025-10-05"),
    "Pacific/Chatham": ("2025-04-06", "2025-09-28"),
    "Africa/Cairo": ("2025-04-25", "2025-10-30"),
    "Asia/Beirut": ("2025-03-30", "2025-10-25"),
    "Africa/Casablanca": ("2025-02-23", "2025-04-06"),
    "Asia/Kolkata": ("2024-02-28", "2025-12-30"),
    "Asia/Kathmandu": ("2024-02-28", "2025-12-30"),
    "UTC": ("2024-02-28", "2025-12-30"),
    "Antarctica/Troll": ("2025-03-30", "2025-10-26"),
    "Asia/Tehran": ("2022-03-22", "2022-09-21"),
    "Pacific/Apia": ("2011-12-30", "2011-09-24"),
    "Pacific/Kwajalein": ("1993-08-21", "1993-08-22"),
    "America/Caracas": ("2007-12-09", "2016-05-01"),
    "Asia/Pyongyang": ("2015-08-15", "2018-05-05"),
    "Africa/Monrovia": ("1972-01-07", "1972-01-08"),
    "Europe/Amsterdam": ("1937-05-22", "1937-07-01"),
    "Europe/London": ("1947-04-13", "1947-08-10"),
}
WINDOWS: tuple[list[list[str]], ...] = (
    [["09:00", "17:00"]],
    [["09:00", "12:00"], ["13:00", "18:00"]],
    [["22:00", "06:00"]],
    [["00:00", "24:00"]],
    [["01:30", "02:45"]],
    [["02:00", "03:00"]],
    [["02:30", "10:00"]],
    [["00:00", "06:00"], ["22:00", "24:00"]],
    [["11:00", "15:00"], ["08:00", "12:00"]],
    [["18:00", "18:00"]],
    [["23:30", "00:30"]],
    [["00:30", "01:15"], ["02:15", "02:50"]],
    [["21:00", "02:30"], ["06:00", "07:00"]],
    [["00:00", "02:00"]],
    [["22:00", "24:00"], ["23:00", "00:00"]],
    [["01:00", "01:30"], ["01:30", "02:00"]],
)
WORDS = (
    ("ticket.prioritized", 4),
    ("ticket.assigned", 3),
    ("ticket.started", 1),
    ("ticket.commented", 5),
    ("ticket.held", 4),
    ("ticket.resumed", 4),
    ("ticket.resolved", 4),
    ("ticket.closed", 2),
    ("ticket.reopened", 4),
    ("ticket.cancelled", 0.3),
    ("ticket.merged", 0.3),
    ("ticket.updated", 4),
)
CONDITIONS: tuple[Any, ...] = (
    "created",
    "assigned",
    "started",
    "requester_message",
    "agent_reply",
    "held",
    "held:vendor",
    "resumed",
    "resolved",
    "closed",
    "reopened",
    {"stage": "repair"},
    {"stage": "done"},
    {"stage": None},
    {"vip": True},
    {"level": 2},
    {"level": True},
)
PAUSES: tuple[Any, ...] = (
    "held",
    "held:vendor",
    "resolved",
    "closed",
    {"stage": "parts"},
    {"stage": None},
)
PRIORITIES = ("P1", "P2", "P3")
STAGES = ("repair", "parts", "done", None)
MINUTE, HOUR, DAY = 60, 3600, 86400
ELSEWHERE = timezone(timedelta(hours=5, minutes=30))


class Generator:
    """Makes one scenario from a seed; `without` names features to leave out."""

    def __init__(self, seed: int, without: frozenset[str] = frozenset()) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.without = without
        self.zone = self.random.choice(list(CLOCK_CHANGES))
        middle = date.fromisoformat(self.random.choice(CLOCK_CHANGES[self.zone]))
        self.first = middle - timedelta(days=self.random.randrange(3))
        self.pool = self.instants()

    def wants(self, feature: str, share: float) -> bool:
        """Tell by chance whether to use a feature."""
        return self.random.random() < share and feature not in self.without

    def instants(self) -> list[int]:
        """Return a few instants near edges of windows, so that many things happen at once."""
        found = []
        edges = [edge for part in WINDOWS for window in part for edge in window if edge != "24:00"]
        for _ in range(self.random.randint(3, 9)):
            day = self.first + timedelta(days=self.random.randrange(5))
            wall = datetime.combine(day, time.fromisoformat(self.random.choice(edges)))
            shift = self.random.choice((0, 0, 0, 1, -1, 30 * MINUTE, HOUR, -HOUR, 3725))
            found.append(opening_edge(wall, self.zone) + shift)
        return sorted(found)

    def scenario(self) -> dict[str, Any]:
        """Return the scenario."""
        calendars = [self.calendar(name) for name in ("office", "night")]
        events = self.events()
        latest = text(max(seconds(self.recorded(event)) for event in events))
        until = self.random.choice(
            (None, latest, text_later(latest, self.random.choice((40, 40, 4000)) * HOUR), "pool")
        )
        if until == "pool":
            instant = text(self.random.choice(self.pool))
            until = instant if self.wants("early_until", 1) else latest
        if until is None and any(event.get("recorded_at") for event in events):
            until = until if self.wants("early_until", 0.5) else latest
        known = {text(self.random.choice(self.pool)) for _ in range(self.random.randrange(3))}
        if until is not None and "early_until" in self.without:
            known = {instant for instant in known if instant <= until}
        return {
            "id": f"seed {self.seed}",
            "calendars": calendars,
            "policies": self.policies(),
            "events": events,
            "until": until,
            "arithmetic": [self.question() for _ in range(self.random.randrange(4))],
            "expect": {"known_at": [{"recorded_at": at, "clocks": []} for at in sorted(known)]},
        }

    def recorded(self, event: dict[str, Any]) -> str:
        """Return when the desk learnt of an event."""
        return event.get("recorded_at") or event["time"]

    def calendar(self, name: str) -> dict[str, Any]:
        """Return a calendar in the scenario's zone, or rarely in another."""
        zone = self.zone if self.random.random() < 0.8 else self.random.choice(list(CLOCK_CHANGES))
        usual = self.random.choice(WINDOWS)
        weekly = {}
        for weekday in WEEKDAYS:
            if self.random.random() < 0.85:
                odd = self.random.random() < 0.3
                weekly[weekday] = self.random.choice(WINDOWS) if odd else usual
        weekly.setdefault("wed", usual)
        days = [self.first + timedelta(days=self.random.randrange(-1, 8)) for _ in range(4)]
        holidays = [day.isoformat() for day in days[:1]]
        if self.random.random() < 0.3:
            holidays.append(f"--{days[1]:%m-%d}")
        special = {}
        if self.random.random() < 0.4:
            special[days[2].isoformat()] = self.random.choice((*WINDOWS, []))
        found = {"id": name, "zone": zone, "weekly": weekly, "special_days": special}
        return found | {"holidays": holidays if self.random.random() < 0.4 else []}

    def question(self) -> dict[str, Any]:
        """Return a question to a calendar."""
        asked = {"calendar": self.random.choice(("office", "night", "24x7"))}
        asked["from"] = text(self.instant())
        is_long = self.random.random() < 0.1
        kind = self.random.randrange(4)
        if kind == 0:
            later = self.random.randrange(400 * DAY) if is_long else 0
            return asked | {"to": text(self.instant() + later)}
        if kind == 1:
            return asked | {"next_opening": True}
        if kind == 2:
            amount = self.random.choice((0, 1, 900, 7200, 36000))
            return asked | {"add_working_seconds": amount * (100 if is_long else 1)}
        days = self.random.randint(-3, 4) * (30 if is_long else 1)
        asked["add_working_days"] = days or (0 if self.wants("zero_days", 1) else 1)
        return asked | {"at": self.random.choice(("same_time", "end_of_day"))}

    def instant(self) -> int:
        """Return an instant, mostly one of the pool."""
        found = self.random.choice(self.pool)
        return found if self.random.random() < 0.8 else found + self.random.randrange(-7200, 7200)

    def fields(self) -> dict[str, Any]:
        """Return some ticket fields."""
        found: dict[str, Any] = {}
        if self.random.random() < 0.7:
            found["priority"] = self.random.choice(PRIORITIES)
        if self.random.random() < 0.4:
            found["stage"] = self.random.choice(STAGES)
        if self.random.random() < 0.2:
            found["vip"] = self.random.choice((True, False, None))
        if self.random.random() < 0.2:
            found["level"] = self.random.choice((2, 2.0, 1, 0, True, False, 3.5, None))
        if self.wants("date_field", 0.4):
            found["promised_at"] = self.random.choice((text, elsewhere))(self.instant())
        elif self.random.random() < 0.05:
            found["promised_at"] = None
        return found

    def data(self, word: str) -> dict[str, Any]:
        """Return the data of an event."""
        if word in ("ticket.created", "ticket.prioritized", "ticket.assigned"):
            return self.fields()
        if word == "ticket.updated":
            return {"fields": self.fields()}
        if word == "ticket.held":
            reason = self.random.choice((None, "vendor", "requester"))
            return {} if reason is None else {"reason": reason}
        if word == "ticket.commented":
            author = self.random.choice(("agent", "requester"))
            return {"author": author, "public": self.random.random() < 0.8}
        return {}

    def events(self) -> list[dict[str, Any]]:
        """Return a history: late facts, duplicates, any order."""
        words = [word for word, _ in WORDS]
        weights = [weight for _, weight in WORDS]
        found = [self.event("ticket.created", min(self.pool), 0)]
        for number in range(self.random.randint(1, 14)):
            word = self.random.choices(words, weights)[0]
            found.append(self.event(word, max(self.instant(), min(self.pool)), number + 1))
        for event in list(found):
            if "id" in event and self.wants("duplicates", 0.1):
                again = {**event, "recorded_at": text_later(event["time"], 5 * HOUR)}
                found.append(again)
        if self.random.random() < 0.3:
            self.random.shuffle(found)
        elif self.random.random() < 0.5:
            found.sort(key=lambda event: seconds(event["time"]))
        return found

    def event(self, word: str, instant: int, number: int) -> dict[str, Any]:
        """Return one event, recorded late by chance."""
        found = {"id": f"e{number}", "time": text(instant), "type": word, "data": self.data(word)}
        if self.random.random() < 0.1:
            found["time"] = elsewhere(instant)
        if self.random.random() < 0.05:
            found["recorded_at"] = None
        if number and self.random.random() < 0.1:
            del found["id"]
        if self.wants("late", 0.15):
            found["recorded_at"] = text(max(instant, self.instant()))
        return found

    def policies(self) -> list[dict[str, Any]]:
        """Return one or two policies in up to three versions each."""
        shared = [self.shared(name) for name in ("first", "second")]
        shared = shared[: self.random.randint(1, 2)]
        found = []
        for policy in ("standard", "special")[: self.random.randint(1, 2)]:
            since = "1930-01-01T00:00:00Z"
            for version in range(1, self.random.choice((1, 1, 2, 3)) + 1):
                found.append(
                    {
                        "id": policy,
                        "version": version,
                        "effective_from": since,
                        "applies_to": self.applies_to(),
                        "targets": self.targets(shared),
                    }
                )
                since = text(max(self.instant(), seconds(since)))
                if version > 1 and since == found[-1]["effective_from"]:
                    since = text_later(since, HOUR)
        if self.random.random() < 0.2 and len(found) > 1:
            self.random.shuffle(found)
        return found

    def applies_to(self) -> str:
        """Return which cycles a version judges."""
        return "running" if self.wants("takeovers", 0.6) else "new"

    def shared(self, name: str) -> dict[str, Any]:
        """Return what all definitions of a name share."""
        reply = self.random.random() < 0.25
        starts = ["created"] if self.random.random() < 0.5 else self.some(CONDITIONS, 2)
        stops = ["resolved", "closed"] if self.random.random() < 0.6 else self.some(CONDITIONS, 2)
        return {
            "name": name,
            "kind": self.random.choice(("sla", "ola", "uc")),
            "start": ["requester_message"] if reply else starts,
            "stop": ["agent_reply"] if reply else stops,
            "cycle": self.random.choice(("once", "repeat")),
            "on_reopen": self.random.choice(("continue", "continue", "new_cycle", "ignore")),
        }

    def some(self, choices: tuple[Any, ...], most: int) -> list[Any]:
        """Return one or a few of the choices."""
        return self.random.sample(choices, self.random.randint(1, most))

    def targets(self, shared: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the definitions of one version."""
        found = []
        for part in shared:
            for _ in range(self.random.choice((0, 1, 1, 2, 3))):
                found.append(part | self.definition())
        return found or [shared[0] | self.definition()]

    def definition(self) -> dict[str, Any]:
        """Return what may differ between definitions of one name."""
        found: dict[str, Any] = {
            "calendar": self.random.choice(("office", "office", "night", "24x7")),
            "goal": self.goal(),
            "pause": self.random.sample(PAUSES, self.random.choice((0, 0, 1, 2))),
            "on_change": self.random.choice(("ticket_start", "change_time", "carry_elapsed")),
            "warn": [self.rule() for _ in range(self.random.choice((0, 1, 1, 2)))],
        }
        if self.wants("keep_pauses", 0.3):
            found["keep_pauses"] = False
        if self.random.random() < 0.5:
            found["when"] = {"priority": self.random.sample(PRIORITIES, 2)}
        elif self.random.random() < 0.2:
            found["when"] = {"stage": self.random.choice((*STAGES, [None, "repair"]))}
        elif self.random.random() < 0.2:
            found["when"] = {
                "vip": self.random.choice((True, [False, None])),
                "level": [2, 1, None],
            }
        return found

    def goal(self) -> dict[str, Any]:
        """Return a goal of any kind."""
        chance = self.random.random()
        if chance < 0.2 and "working_days" not in self.without:
            at = self.random.choice(("same_time", "end_of_day"))
            return {"working_days": self.random.randint(1, 3), "at": at}
        if chance < 0.35 and "date_field" not in self.without:
            return {"date_field": "promised_at"}
        amount = self.random.choice((1, 600, HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 100000))
        return {"working_seconds": amount}

    def rule(self) -> dict[str, Any]:
        """Return a warning rule of any kind."""
        kind = self.random.randrange(4)
        if kind == 0:
            return {"percent": self.random.choice((50, 75, 100, 33.3, 0.1, 200, 66.6667, 1000))}
        if kind == 1:
            return {"before_due_seconds": self.random.choice((0, 1, 900, 3600, 50000))}
        if kind == 2:
            return {"after_due_seconds": self.random.choice((0, 1, 900, 3600))}
        return {"before_due_working_days": self.random.randint(1, 2)}


def text_later(instant: str, amount: int) -> str:
    """Return the instant so many seconds later."""
    return text(seconds(instant) + amount)


def elsewhere(instant: int) -> str:
    """Return the instant as it is written in another zone."""
    return datetime.fromtimestamp(instant, ELSEWHERE).isoformat()


def retime(scenario: dict[str, Any], instants: list[str], seed: int) -> dict[str, Any]:
    """Move some events, and perhaps `until`, exactly to instants that came out: deadlines."""
    chance = random.Random(seed)
    created = min(seconds(event["time"]) for event in scenario["events"])
    later = [instant for instant in instants if seconds(instant) > created]
    if not later:
        return scenario
    moved: dict[str, str] = {}
    for event in scenario["events"]:
        if event["type"] != "ticket.created" and "id" in event and chance.random() < 0.35:
            moved[event["id"]] = chance.choice(later)
    events = []
    for event in scenario["events"]:
        found = {**event, "time": moved.get(event.get("id", ""), event["time"])}
        if event.get("recorded_at"):
            found["recorded_at"] = max(event["recorded_at"], found["time"], key=seconds)
        events.append(found)
    for word in ("ticket.held", "ticket.resumed"):
        if chance.random() < 0.3:
            events.append({"time": chance.choice(later), "type": word, "data": {}})
    until = scenario["until"]
    if until is not None:
        latest = [event.get("recorded_at") or event["time"] for event in events]
        until = max(until, *latest, key=seconds)
    return {**scenario, "events": events, "until": until}
