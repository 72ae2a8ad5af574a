"""From the outbox to the log. Reads only rows that are still there (R5), so no commit is missed."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from shared.log.port import LogWriter, Outgoing
from shared.postgres.pool import Pool
from shared.runtime.crash import crash_point
from shared.telemetry.metrics import ServiceMetrics
from shared.telemetry.traces import batch_span, traceparent_in

BATCH_SIZE_MAX: Final = 5_000
BATCH_BYTES_MAX: Final = 8 * 1024 * 1024
_NEXT: Final = """
SELECT id, type, stream_id, value FROM (
    SELECT o.id, j.type, o.stream_id, j.value,
           sum(octet_length(j.value)) OVER (ORDER BY o.id) - octet_length(j.value) AS bytes_before
    FROM (SELECT id, stream_id, sequence FROM kernel.outbox ORDER BY id LIMIT $1) o
    CROSS JOIN LATERAL (
        SELECT type, value FROM kernel.journal j
        WHERE j.stream_id = o.stream_id AND j.sequence = o.sequence OFFSET 0
    ) j
) next WHERE bytes_before < $2 ORDER BY id
"""  # OFFSET 0 makes it look each row up: the planner does not know how short the outbox is
SENT: Final = """
DELETE FROM kernel.outbox WHERE id = ANY($1::bigint[])
    AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL
"""  # a crash that undoes it sends again, which is no harm and worth a wait for the disk each time
_LENGTH: Final = "SELECT coalesce(max(id) - min(id) + 1, 0) FROM kernel.outbox"


class Relay:
    """Sends the outbox in the order of its ids and deletes what the log has acknowledged.

    A crash between the two sends again; consumers know events by writer, stream and sequence.
    """

    def __init__(
        self, pool: Pool, make_writer: Callable[[], LogWriter], metrics: ServiceMetrics
    ) -> None:
        self._pool = pool
        self._make_writer = make_writer
        self._metrics = metrics
        self._writer: LogWriter | None = None

    async def pass_on(self) -> int:
        """Send and delete one batch; return its size.

        Raises: LogUnavailableError, after which the batch is still in the outbox and the writer
        that failed has been given up.
        """
        rows = await self._pool.fetch(_NEXT, BATCH_SIZE_MAX, BATCH_BYTES_MAX)
        if not rows:
            return 0
        if self._writer is None:
            self._writer = self._make_writer()
        try:
            positions = ((row["type"], traceparent_in(row["value"])) for row in rows)
            with batch_span(self._metrics.service, "send", positions):
                await self._writer.send(
                    [Outgoing(row["type"], row["stream_id"].encode(), row["value"]) for row in rows]
                )
        except BaseException:
            await self.close()
            raise
        crash_point("relay.after_send")
        await self._pool.execute(SENT, [row["id"] for row in rows])
        crash_point("relay.after_delete")
        for topic, count in Counter(row["type"] for row in rows).items():
            self._metrics.relay_sent(topic, count)
        return len(rows)

    async def close(self) -> None:
        """Give up the writer; the next batch gets a new one."""
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()


async def outbox_length(pool: Pool) -> int:
    """Return how many events wait at most: the span of ids, read from the two ends of an index."""
    return await pool.fetchval(_LENGTH)
