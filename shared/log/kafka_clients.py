"""aiokafka's clients, none of which may hold up the desk (ADR 0021).

Each has tasks of its own that may end, or wait for ever, unseen; then starting, asking, sending and
stopping wait for ever as well. So nothing waits for a client without a bound, and a client that has
hung once is never used again.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, TypeVar

import structlog
from aiokafka.errors import KafkaError

from shared.patience import HungError, leave, within

REQUEST_TIMEOUT_MS: Final = 5_000
CALL_SECONDS_MAX: Final = 20.0  # two brokers that do not answer are each asked for 5 s before
STOP_SECONDS_MAX: Final = 2.0
AWAY: Final = (KafkaError, OSError, TimeoutError)

OnAbandoned = Callable[[str, str], None]
"""Told the name of the service, and which of its clients was left behind."""

T = TypeVar("T")
_log = structlog.get_logger()


def count_nothing(_service: str, _client: str) -> None:
    """Stand in where there are no metrics."""


class Client(NamedTuple):
    """One of aiokafka's clients; `inner` is the one within it that holds the connections."""

    kind: str
    inner: Any
    start: Callable[[], Coroutine[Any, Any, object]]
    stop: Callable[[], Coroutine[Any, Any, object]]


class Keeper:
    """Waits for the clients of one service; counts and logs those it had to leave behind."""

    def __init__(self, service: str, count: OnAbandoned) -> None:
        self._service = service
        self._count = count

    async def start(self, client: Client) -> None:
        """Start a client, or put it away. Raises: what aiokafka raises; HungError."""
        try:
            await self.ask(client.kind, CALL_SECONDS_MAX, client.start())
        except BaseException:
            await self.put_away(client)
            raise

    async def ask(self, kind: str, seconds: float, question: Coroutine[Any, Any, T]) -> T:
        """Return the answer. Raises: what aiokafka raises; HungError: put the client away."""
        try:
            return await within(seconds, question)
        except HungError as error:
            self.note(kind, str(error))
            raise

    async def put_away(self, client: Client) -> None:
        """Stop a client, or close its sockets over its head. Raises nothing."""
        try:
            await within(STOP_SECONDS_MAX, client.stop())
        except HungError:
            self.note(client.kind, "does not stop")
        except AWAY as error:
            _log.debug("client_stopped", client=client.kind, reason=str(error))
        finally:
            _cut(client.inner)

    def note(self, kind: str, why: str) -> None:
        """Count a client that is left behind."""
        self._count(self._service, kind)
        _log.warning("client_abandoned", service=self._service, client=kind, reason=why)


def _cut(inner: Any) -> None:  # noqa: ANN401 aiokafka has no types, nor a public way, for this
    """Close a client's sockets, let it open no others, and end what keeps its metadata."""
    inner._get_conn = _no_connection  # noqa: SLF001
    if inner._sync_task is not None:  # noqa: SLF001
        leave(inner._sync_task)  # noqa: SLF001
    for connection in list(inner._conns.values()):  # noqa: SLF001
        writer = connection._writer  # noqa: SLF001
        connection.close()
        if writer is not None:
            writer.transport.abort()  # a frozen broker takes nothing that waits to be written


async def _no_connection(*_node: object, **_options: object) -> None:
    """Stand for a node that cannot be reached, as aiokafka says it."""
