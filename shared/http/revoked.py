"""Tokens of the local issuer that are believed no more: a list in a file."""

import fcntl
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from shared.errors import UnauthenticatedError
from shared.people import person

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
        self._version: tuple[int, int] | None = None
        self._list = _List()

    def covers(self, stamp: Stamp) -> bool:
        """Say whether a token was revoked. Raises: UnauthenticatedError for an unreadable list."""
        found = self._current()
        return stamp.id in found.ids or stamp.issued_at <= found.subjects.get(
            person(stamp.subject), -1.0
        )

    def revoke(self, stamp: Stamp, until: float, now: float) -> None:
        """Believe one token no more; `until` is its end, seconds since 1970 as all here."""
        self._add(_List(ids={stamp.id: until}), now)

    def revoke_all(self, subject: str, now: float) -> None:
        """Believe no token of a subject any more that was issued until now."""
        self._add(_List(subjects={person(subject): now}), now)

    def _add(self, more: _List, now: float) -> None:
        """Write the list anew, one process at a time, so that none undoes what another did."""
        with self._path.with_suffix(".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = self._current()
            ids = {name: until for name, until in found.ids.items() if until > now}
            wanted = _List({**ids, **more.ids}, {**found.subjects, **more.subjects})
            draft = self._path.with_suffix(".new")
            draft.write_bytes(msgspec.json.encode(wanted))
            draft.replace(self._path)

    def _current(self) -> _List:
        try:
            status = self._path.stat()
            version = status.st_mtime_ns, status.st_ino
            if version != self._version:
                self._list = msgspec.json.decode(self._path.read_bytes(), type=_List)
                self._version = version
        except FileNotFoundError:
            self._list, self._version = _List(), None
        except (OSError, msgspec.MsgspecError) as error:
            raise UnauthenticatedError("The list of revoked tokens cannot be read.") from error
        return self._list
