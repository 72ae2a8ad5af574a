"""Tokens of the local issuer that are believed no more: a file beside the key that signed them."""

from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from shared.errors import UnauthenticatedError

FILE: Final = "revoked.json"


class Stamp(NamedTuple):
    """What a token is revoked by: its id, or its subject and when it was issued, in seconds."""

    id: str
    subject: str
    issued_at: float


class _List(msgspec.Struct):
    """Ids with the end of their tokens, after which nobody asks; subjects with the last instant."""

    ids: dict[str, float] = {}
    subjects: dict[str, float] = {}


class Revocations:
    """The list in a file; every process that reads it goes by what stands there now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at: int | None = None
        self._list = _List()

    def covers(self, stamp: Stamp) -> bool:
        """Say whether a token was revoked. Raises: UnauthenticatedError for an unreadable list."""
        found = self._current()
        return stamp.id in found.ids or stamp.issued_at <= found.subjects.get(stamp.subject, -1.0)

    def revoke(self, stamp: Stamp, until: float, now: float) -> None:
        """Believe one token no more; `until` is its end, seconds since 1970 as all here."""
        found = self._current()
        self._write(_List({**found.ids, stamp.id: until}, found.subjects), now)

    def revoke_all(self, subject: str, now: float) -> None:
        """Believe no token of a subject any more that was issued until now."""
        found = self._current()
        self._write(_List(found.ids, {**found.subjects, subject: now}), now)

    def _current(self) -> _List:
        try:
            changed_at = self._path.stat().st_mtime_ns
            if changed_at != self._read_at:
                self._list = msgspec.json.decode(self._path.read_bytes(), type=_List)
                self._read_at = changed_at
        except FileNotFoundError:
            self._list = _List()
        except (OSError, msgspec.MsgspecError) as error:
            raise UnauthenticatedError("The list of revoked tokens cannot be read.") from error
        return self._list

    def _write(self, wanted: _List, now: float) -> None:
        wanted.ids = {name: until for name, until in wanted.ids.items() if until > now}
        draft = self._path.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(wanted))
        draft.replace(self._path)
