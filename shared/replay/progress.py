"""How far a rebuild is, and how long it still takes."""

from typing import Final

_MINUTE: Final = 60


class Pace:
    """Tells of work from the records done so far; instants are seconds of one clock."""

    def __init__(self, began_at: float) -> None:
        self._began_at = began_at
        self._first: int | None = None

    def tell(self, done: int, total: int, now: float) -> str:
        """Return share, rate and time left as a sentence; what was done before does not count."""
        if self._first is None:
            self._first, self._began_at = done, now
        share = f"{100 * done // max(total, 1)} %"
        per_second = (done - self._first) / max(now - self._began_at, 0.001)
        if per_second <= 0:
            return share
        left = (total - done) / per_second
        time = f"{left / _MINUTE:.0f} min" if left >= _MINUTE else f"{left:.0f} s"
        return f"{share}, about {time} left, {per_second:,.0f} records/s"
