"""`python -m bench.rebuilding rebuild|verify SERVICE DSN LOG`: one of them, alone in its process.

So the peak memory is its own. Prints what it took as JSON.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from services.host import ROOMS
from shared.log.embedded import EmbeddedLog
from shared.postgres.pool import open_pool
from shared.replay.rebuild import rebuild, verify


def _peak_mb() -> float:
    """Return the peak of this program; that of `getrusage` begins with its parent's."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


async def _main(work: str, service: str, dsn: str, log_dsn: str) -> dict[str, object]:
    model = ROOMS[service]().spec.read_model
    log = await EmbeddedLog(log_dsn).open()
    pool = await open_pool(dsn, role="desk_replay", name="bench", size_max=2)
    began = time.perf_counter()
    if work == "rebuild":
        differing: list[str] = []
        positions = await rebuild(model, log, pool)
    else:
        verdicts = await verify(model, log, pool)
        differing = [verdict.table for verdict in verdicts if not verdict.agrees]
        positions = await log.end_offsets(ROOMS[service]().spec.topics)
    took = time.perf_counter() - began
    await log.close()
    await pool.close()
    return {
        "records": sum(end for place, end in positions.items() if model.folds(place.topic)),
        "seconds": took,
        "peak_mb": _peak_mb(),
        "differing": differing,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(_main(*sys.argv[1:]))))
