"""Command in, journal out: read the stream, fold, decide, append; again if another was quicker."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from shared.coalesce import Coalescer
from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage
from shared.contracts.registry import Recorded
from shared.errors import DeskError, StaleSequenceError, TurnLostError, UnavailableError
from shared.ids import chance
from shared.journal.committer import Committer
from shared.journal.journal import Append, Draft
from shared.journal.snapshots import Compaction, read_pasts
from shared.postgres.pool import Connection, Pool
from shared.postgres.turn import HeldTurn

S = TypeVar("S")
C = TypeVar("C")
_ATTEMPTS: Final = 12
_PAUSE_SECONDS: Final = 0.005
_PAUSE_SECONDS_MAX: Final = 0.25
_LINE_MAX: Final = 64
"""Commands of one stream that are decided and appended together."""
_WAITING_MAX: Final = 4_096
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
    """A stream's rules: pure `decide` and `evolve`, and the state before the first event (R4).

    `compaction` says what of a long past has to be read; without one, all of it.
    """

    initial: S
    decide: Callable[[C, S], Sequence[EventData]]
    evolve: Callable[[S, Any, datetime], S]
    compaction: Compaction[C] | None = None

    def asks(self, command: C) -> Collection[str]:
        """Return the keys by which the command asks for events."""
        return () if self.compaction is None else self.compaction.asks(command)

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


class State(NamedTuple, Generic[S]):
    """A stream's state, and the sequence of the last event in it."""

    state: S
    sequence: int


async def read_states(
    connection: Connection, decider: Decider[C, S], wanted: Mapping[str, Sequence[C]]
) -> dict[str, State[S]]:
    """Return the state of each stream as the commands wanted of it need to see it.

    What the compaction names by key is in it as far as these commands ask for it.
    """
    keys = {
        stream_id: [key for command in commands for key in decider.asks(command)]
        for stream_id, commands in wanted.items()
    }
    pasts = await read_pasts(connection, decider.compaction, keys)
    return {
        stream_id: State(decider.fold(past.events), past.sequence)
        for stream_id, past in pasts.items()
    }


@dataclass
class _Round(Generic[C, S]):
    """Decides commands of one stream one after the other, each on what those before it did."""

    decider: Decider[C, S]
    state: S
    sequence: int
    drafts: list[Draft] = field(default_factory=list[Draft])

    def decide(self, intent: Intent[C]) -> Written | DeskError:
        """Return what comes of the command if all drafts so far are appended in time."""
        try:
            require_sequence(self.sequence, intent.expected)
            data = tuple(self.decider.decide(intent.command, self.state))
        except DeskError as error:
            return error
        for event in data:
            self.state = self.decider.evolve(self.state, event, intent.at)
            self.drafts.append(Draft(event, intent.at, lineage=intent.lineage))
        self.sequence += len(data)
        return Written(intent.stream_id, self.sequence, data)

    def append(self, intent: Intent[C]) -> Append:
        """Return the drafts as what is to be appended."""
        expected = self.sequence - len(self.drafts)
        return Append(intent.stream_id, expected, tuple(self.drafts), intent.lineage)


class CommandHandler(Generic[C, S]):
    """Handles the commands of one kind of stream.

    Commands of one stream wait in a line of their own: those that came while others were being
    written are decided together and appended as one, so that they do not race each other. Between
    replicas the one who was late waits a little, longer each time, and decides again; `jitter`
    gives numbers in [0, 1) that keep two of them apart.
    """

    def __init__(
        self,
        decider: Decider[C, S],
        committer: Committer,
        pool: Pool,
        *,
        jitter: Callable[[], float] = chance,
    ) -> None:
        self._decider = decider
        self._committer = committer
        self._pool = pool
        self._jitter = jitter
        self._lines: dict[str, Coalescer[Intent[C], Written]] = {}

    async def handle(self, intent: Intent[C]) -> Written:
        """Carry out one command.

        Raises: the domain's errors; StaleSequenceError when the stream is not as `expected`;
        TooBusyError and UnavailableError when nothing was stored.
        """
        if not intent.is_new:
            return await self._stand_in_line(intent)
        result = (await self.handle_all([intent]))[0]
        if isinstance(result, DeskError):
            raise result
        return result

    async def handle_all(self, intents: Sequence[Intent[C]]) -> list[Written | DeskError]:
        """Carry out commands of different streams in as few transactions as possible.

        One result per command, in order. A failed command leaves the others alone.
        """
        states = await self._read([intent for intent in intents if not intent.is_new])
        fresh = State(self._decider.initial, 0)
        results: list[Written | DeskError] = []
        appends: dict[int, Append] = {}
        for place, intent in enumerate(intents):
            turn = _Round(self._decider, *states.get(intent.stream_id, fresh))
            results.append(turn.decide(intent))
            if turn.drafts:
                appends[place] = turn.append(intent)
        if not appends:
            return results
        fates = await self._committer.append(list(appends.values()))
        late: list[int] = []
        for place, fate in zip(appends, fates, strict=True):
            if isinstance(fate, DeskError):
                results[place] = fate
            elif not fate:
                late.append(place)
        again = await asyncio.gather(*(self._try_again(intents[place]) for place in late))
        for place, result in zip(late, again, strict=True):
            results[place] = result
        return results

    async def handle_in_turn(self, intents: Sequence[Intent[C]], turn: HeldTurn) -> list[Written]:
        """Carry out commands one after the other, all or none, if nobody else has had his turn.

        Raises: the domain's errors; StaleSequenceError; TurnLostError, also when another writer was
        quicker on one of the streams: what was read under this turn is out of date.
        """
        states = await self._read(intents)
        rounds = {name: _Round(self._decider, *state) for name, state in states.items()}
        results: list[Written] = []
        for intent in intents:
            outcome = rounds[intent.stream_id].decide(intent)
            if isinstance(outcome, DeskError):
                raise outcome
            results.append(outcome)
        first = {intent.stream_id: intent for intent in reversed(intents)}
        appends = [
            msgspec.structs.replace(one.append(first[name]), turn=turn)
            for name, one in rounds.items()
            if one.drafts
        ]
        fates = await self._committer.append(appends) if appends else []
        for fate in fates:
            if isinstance(fate, DeskError):
                raise fate
        if not all(fates):
            raise TurnLostError("somebody else got in between; nothing was stored; try again")
        return results

    async def state(self, stream_id: str) -> State[S]:
        """Return a stream's state and sequence, as its own journal has it."""
        async with self._pool.acquire() as connection:
            return (await read_states(connection, self._decider, {stream_id: ()}))[stream_id]

    async def _read(self, intents: Sequence[Intent[C]]) -> dict[str, State[S]]:
        if not intents:
            return {}
        wanted: dict[str, list[C]] = {}
        for intent in intents:
            wanted.setdefault(intent.stream_id, []).append(intent.command)
        async with self._pool.acquire() as connection:
            return await read_states(connection, self._decider, wanted)

    async def _try_again(self, intent: Intent[C]) -> Written | DeskError:
        try:
            return await self._stand_in_line(intent)
        except DeskError as error:
            return error

    async def _stand_in_line(self, intent: Intent[C]) -> Written:
        stream_id = intent.stream_id
        line = self._lines.get(stream_id)
        if line is None:
            line = self._lines[stream_id] = Coalescer[Intent[C], Written](
                self._serve,
                batch_size_max=_LINE_MAX,
                pending_max=_WAITING_MAX,
                on_idle=lambda: self._lines.pop(stream_id, None),
            )
        return await line.submit(intent)

    async def _serve(self, intents: Sequence[Intent[C]]) -> Sequence[Written | DeskError]:
        """Carry out commands of one stream, in order; all or none of what they add is stored."""
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(self._pause_seconds(attempt))
            (state,) = (await self._read(intents)).values()
            turn = _Round(self._decider, *state)
            results = [turn.decide(intent) for intent in intents]
            if not turn.drafts:
                return results
            (fate,) = await self._committer.append([turn.append(intents[0])])
            if isinstance(fate, DeskError):
                if len(intents) == 1:
                    raise fate
                return [await self._serve_one(intent) for intent in intents]
            if fate:
                return results
        raise UnavailableError("other writers kept getting in first; try again")

    async def _serve_one(self, intent: Intent[C]) -> Written | DeskError:
        """Carry out a command by itself, since of several one cannot be written."""
        try:
            return (await self._serve([intent]))[0]
        except DeskError as error:
            return error

    def _pause_seconds(self, attempt: int) -> float:
        longest = min(_PAUSE_SECONDS * 2**attempt, _PAUSE_SECONDS_MAX)
        return longest * (1 + self._jitter()) / 2
