"""Bodies of sla's requests."""

from typing import Annotated

from msgspec import Meta

from shared.contracts.base import Key, Name
from shared.contracts.sla import SpecialDate, Target, Weekday, Window
from shared.http.commands import Body


class NewPolicy(Body, frozen=True):
    """The promises made from now on, whole; of one name the first matching target counts."""

    targets: Annotated[tuple[Target, ...], Meta(min_length=1, max_length=200)]


class NewCalendar(Body, frozen=True):
    """Working hours, whole."""

    name: Name
    zone: Key
    weekly: dict[Weekday, tuple[Window, ...]]
    holidays: tuple[Annotated[str, Meta(pattern=r"^(\d{4}|-)-\d\d-\d\d$")], ...] = ()
    special_days: dict[SpecialDate, tuple[Window, ...]] = {}  # noqa: RUF012 msgspec copies it
