"""What a service hands the kernel, and what the kernel asks of each of these in return.

`React` and `Archive` stand with the consumer that calls them, `OnDue` with the timers,
`ImportRules` with the imports.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shared.journal.history import NO_RULES, ImportRules
from shared.runtime.consumer import Archive, React
from shared.runtime.read_model import ReadModel
from shared.runtime.timers import OnDue

if TYPE_CHECKING:
    from shared.runtime.service import Service


class OnStart(Protocol):
    """Does what must be done before all else: publishes a default policy, builds own tables.

    Called once the live read model is this program's, before any loop works and any request is
    served; again after every failure, in every replica, at the same time too, so it must find what
    is done already. May wait for database and log, and take long: readiness says meanwhile that
    the service begins. What it raises while the service is opened fails the start; later, it is a
    fault of the loop `read model`, in sight, and tried again.
    Cancelled when the service stops.
    """

    async def __call__(self, service: "Service", /) -> None:
        """Do what is not done yet."""
        ...


class Chore(Protocol):
    """Takes one step of work that has no end, in a loop of its own, in every replica that works.

    Replicas step at the same time: who must not, holds a lock. A step must end, or pause, within a
    few seconds, since a loop that is silent for SILENCE_SECONDS_MAX makes the service unready; a
    step with nothing to do pauses itself. It may be cancelled at any await, and what it does is
    repeated after a crash. Asks `service.work_pool`, never `pool`. What it raises is kept in sight
    and the step tried again, weather without an alarm.
    """

    async def __call__(self, service: "Service", /) -> None:
        """Take a step, then pause if there is no more to do."""
        ...


@dataclass(frozen=True, slots=True)
class Spec:
    """What one service is made of: its name, the topics it reads, its folds and its reactions.

    `chores` are by the name of their loop; `migrations` are its own tables beside the kernel's;
    records of the topics that are `turning_points` are never in one batch with others, so that who
    asks the read model for what they told asks for what was read before. Who `posts_webhooks` needs
    a secret to sign them with.
    """

    name: str
    topics: tuple[str, ...]
    read_model: ReadModel
    react: React | None = None
    on_due: OnDue | None = None
    archive: Archive | None = None
    on_start: OnStart | None = None
    chores: Mapping[str, Chore] = field(default_factory=dict[str, Chore])
    migrations: Mapping[str, Path] = field(default_factory=dict[str, Path])
    past: ImportRules = NO_RULES
    turning_points: frozenset[str] = frozenset()
    posts_webhooks: bool = False
