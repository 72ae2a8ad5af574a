"""Command in, journal out: read the stream, fold, decide, append; again if another was quicker."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

import msgspec

from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage
from shared.contracts.registry import Recorded
from shared.errors import DeskError, StaleSequenceError, UnavailableError
from shared.journal.committer import Committer
from shared.journal.journal import Append, Draft, Journal
from shared.postgres.pool import Pool

S = TypeVar("S")
C = TypeVar("C")
_ATTEMPTS: Final = 10
EXISTS: Final = -1
"""Expected in place of a sequence: the stream has events, however many."""


def require_sequence(sequence: int, expected: int | None) -> None:
    """Raise StaleSequenceError unless a stream is where its caller has seen it.

    `expected` None lets any sequence pass, also that of a stream without events; EXISTS all others.
    """
    if expected == EXISTS and sequence == 0:
        raise StaleSequenceError("the record does not exist yet", field="If-Match")
    if expected not in {None, EXISTS, sequence}:
        raise StaleSequenceError(
            f"the stream is at sequence {sequence}, not {expected}", field="If-Match"
        )


@dataclass(frozen=True)
class Decider(Generic[C, S]):
    """A stream's rules: pure `decide` and `evolve`, and the state before the first event (R4)."""

    initial: S
    decide: Callable[[C, S], Sequence[EventData]]
    evolve: Callable[[S, Any, datetime], S]

    def fold(self, events: Sequence[Recorded]) -> S:
        """Return the state after `events`."""
        state = self.initial
        for event in events:
            state = self.evolve(state, event.data, event.time)
        return state


class Intent(msgspec.Struct, Generic[C], frozen=True):
    """A command for one stream: when it holds, who gives it, and what the giver last saw.

    `expected` as for `require_sequence`. `is_new`: the stream very likely has no events.
    """

    stream_id: str
    command: C
    at: datetime
    lineage: Lineage
    expected: int | None = None
    is_new: bool = False


class Written(msgspec.Struct, frozen=True):
    """What a command came to: the stream's sequence, and whether the command added to it.

    `events` are those it added, or, of an honest retry, none.
    """

    stream_id: str
    sequence: int
    events: tuple[EventData, ...]


class CommandHandler(Generic[C, S]):
    """Handles the commands of one kind of stream."""

    def __init__(
        self, decider: Decider[C, S], journal: Journal, committer: Committer, pool: Pool
    ) -> None:
        self._decider = decider
        self._journal = journal
        self._committer = committer
        self._pool = pool

    async def handle(self, intent: Intent[C]) -> Written:
        """Carry out one command.

        Raises: the domain's errors; StaleSequenceError when the stream is not as `expected`;
        TooBusyError and UnavailableError when nothing was stored.
        """
        result = (await self.handle_all([intent]))[0]
        if isinstance(result, DeskError):
            raise result
        return result

    async def handle_all(self, intents: Sequence[Intent[C]]) -> list[Written | DeskError]:
        """Carry out commands of different streams in as few transactions as possible.

        One result per command, in order. A failed command leaves the others alone.
        """
        results: dict[int, Written | DeskError] = {}
        waiting = list(range(len(intents)))
        for attempt in range(_ATTEMPTS):
            to_read = [intents[i].stream_id for i in waiting if attempt or not intents[i].is_new]
            streams = await self._read(to_read)
            appends: dict[int, Append] = {}
            for i in waiting:
                outcome = self._decide(intents[i], streams.get(intents[i].stream_id, []))
                if isinstance(outcome, Append):
                    appends[i] = outcome
                else:
                    results[i] = outcome
            if appends:
                in_time = await self._committer.append(list(appends.values()))
                for (i, append), fits in zip(appends.items(), in_time, strict=True):
                    if fits:
                        results[i] = _written(append)
            waiting = [i for i in waiting if i not in results]
            if not waiting:
                return [results[i] for i in range(len(intents))]
        raise UnavailableError("other writers kept getting in first; try again")

    async def state(self, stream_id: str) -> tuple[S, int]:
        """Return a stream's state and sequence, as its own journal has it."""
        events = (await self._read([stream_id]))[stream_id]
        return self._decider.fold(events), len(events)

    async def _read(self, stream_ids: Sequence[str]) -> dict[str, list[Recorded]]:
        if not stream_ids:
            return {}
        async with self._pool.acquire() as connection:
            return await self._journal.read(connection, stream_ids)

    def _decide(self, intent: Intent[C], events: list[Recorded]) -> Append | Written | DeskError:
        sequence = len(events)
        try:
            require_sequence(sequence, intent.expected)
            data = self._decider.decide(intent.command, self._decider.fold(events))
        except DeskError as error:
            return error
        if not data:
            return Written(intent.stream_id, sequence, ())
        drafts = tuple(Draft(event, intent.at) for event in data)
        return Append(intent.stream_id, sequence, drafts, intent.lineage)


def _written(append: Append) -> Written:
    events = tuple(draft.data for draft in append.drafts)
    return Written(append.stream_id, append.last_sequence, events)
