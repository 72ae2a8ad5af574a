"""Bodies of sla's requests."""

from typing import Annotated

from msgspec import Meta

from shared.contracts.base import Instant, Key
from shared.contracts.promises import AppliesTo, Target
from shared.contracts.sla import SpecialDate, Weekday, Window
from shared.http.commands import Body


class NewPolicy(Body, frozen=True, kw_only=True):
    """The next version of one policy, whole; in force from now on, or from `effective_from`.

    `applies_to: running` takes running clocks over to it.
    """

    effective_from: Instant | None = None
    applies_to: AppliesTo = "new"
    targets: Annotated[tuple[Target, ...], Meta(min_length=1, max_length=200)]


class NewCalendar(Body, frozen=True, kw_only=True):
    """Working hours, whole."""

    zone: Key
    weekly: dict[Weekday, tuple[Window, ...]]
    holidays: tuple[Annotated[str, Meta(pattern=r"^(\d{4}|-)-\d\d-\d\d$")], ...] = ()
    special_days: dict[SpecialDate, tuple[Window, ...]] = {}  # noqa: RUF012 msgspec copies it


class Peak(Body, frozen=True, kw_only=True):
    """Whether service requests come in such numbers that they take longer."""

    is_peak: bool
