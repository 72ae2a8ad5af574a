"""Agreements, and the reviews of their periods."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

import msgspec

from services.sla.domain.agreements.versions import AgreementVersions
from services.sla.domain.agreements.views import versions_of
from shared.contracts.agreements import SlaRemedyDue
from shared.postgres.pool import Pool


async def read_versions(pool: Pool) -> Mapping[str, AgreementVersions]:
    """Return the versions of every agreement, by its id."""
    rows = await pool.fetch(
        "SELECT agreement_id, version, document, customer_signatory, customer_signed_at,"
        " provider_signatory, provider_signed_at FROM read.agreement"
        " WHERE document IS NOT NULL ORDER BY agreement_id, version"
    )
    return versions_of(rows)


async def reviewed_periods(pool: Pool) -> dict[str, set[datetime]]:
    """Return the starts of the periods that were reviewed, by agreement."""
    found: defaultdict[str, set[datetime]] = defaultdict(set)
    for agreement_id, start in await pool.fetch(
        "SELECT agreement_id, period_start FROM read.remedy WHERE revision = 1"
    ):
        found[agreement_id].add(start)
    return found


async def list_remedies(
    pool: Pool, agreement_id: str, *, is_every_revision: bool, limit: int
) -> list[SlaRemedyDue]:
    """Return the reviews of an agreement, the last period first; its highest revision, or all."""
    rows = await pool.fetch(
        "SELECT document FROM read.remedy r WHERE agreement_id = $1 AND ($2 OR NOT EXISTS ("
        "   SELECT FROM read.remedy later WHERE later.agreement_id = r.agreement_id"
        "   AND later.period_start = r.period_start AND later.revision > r.revision))"
        " ORDER BY period_start DESC, revision DESC LIMIT $3",
        *(agreement_id, is_every_revision, limit),
    )
    return [msgspec.convert(row["document"], SlaRemedyDue) for row in rows]
