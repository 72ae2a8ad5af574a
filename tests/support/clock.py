"""A clock that tests can set."""

from datetime import datetime, timedelta

from shared.clock import SystemClock


class SetClock(SystemClock):
    """The machine's clock, set to another day."""

    def __init__(self) -> None:
        self.off = timedelta()

    def set(self, at: datetime) -> None:
        self.off = at - super().now()

    def now(self) -> datetime:
        return super().now() + self.off
