"""Agreements: published, signed, and their periods reviewed."""

from datetime import datetime
from itertools import islice
from typing import Final

import msgspec

from services.sla.domain.agreements import versions as agreements
from services.sla.domain.agreements.remedies import Figures, attained, available, remedy
from services.sla.domain.agreements.versions import (
    Agreement,
    Due,
    PublishAgreement,
    ReviewPeriod,
    SignAgreement,
)
from services.sla.domain.clocks.attainment import AttainmentQuery
from services.sla.domain.rules.differences import Differs
from services.sla.queries import (
    read_attainment,
    read_told,
    read_versions,
    reviewed_periods,
)
from shared.calendar import instant, microseconds
from shared.contracts.agreements import (
    AgreementPublished,
    AgreementSigned,
    Measure,
    SlaRemedyDue,
)
from shared.contracts.envelope import Lineage
from shared.errors import NotFoundError, StaleSequenceError, UnavailableError
from shared.journal.handler import CommandHandler, Decider, Intent, Written
from shared.postgres.pool import Connection, Pool
from shared.runtime.catch_up import catch_up
from shared.runtime.service import Service
from shared.telemetry import context

_REVIEW_TRIES: Final = 5
_REVIEWS_AT_ONCE: Final = 5
AGREEMENTS_DECIDER: Final = Decider[agreements.Command, Agreement](
    Agreement(), agreements.decide, agreements.evolve
)


class ReviewResult(msgspec.Struct, frozen=True):
    """What a review came to; `differs` is what changed since the one before, if one was told."""

    changed: bool
    remedy: SlaRemedyDue
    differs: list[Differs]


class Agreements:
    """Publishes agreements, records who signed them, and reviews their periods.

    Connections come from `pool`: that of the API unless another is named.
    """

    def __init__(self, service: Service, pool: "Pool | None" = None) -> None:
        self._service = service
        self._pool = pool or service.pool
        self._handler = CommandHandler(AGREEMENTS_DECIDER, service.committer, self._pool)

    async def tell(
        self,
        word: tuple[AgreementPublished | AgreementSigned, datetime | None],
        expected: int | None = None,
    ) -> Written:
        """Publish a version, or sign one, since an instant; what was told before changes nothing.

        Raises: InvalidInputError naming the field; IllegalTransitionError for a change of what is
        signed; StaleSequenceError if the stream is not at `expected`.
        """
        document, signed_at = word
        at = agreements.signing_instant(signed_at, self._service.clock.now())
        if isinstance(document, AgreementPublished):
            agreements.require_sound(document)
        command = (
            PublishAgreement(document)
            if isinstance(document, AgreementPublished)
            else SignAgreement(document)
        )
        return await self._handler.handle(
            Intent[agreements.Command](document.stream_id, command, at, context.lineage(), expected)
        )

    async def agreement(self, agreement_id: str) -> tuple[Agreement, int]:
        """Return an agreement and its stream's sequence. Raises: NotFoundError."""
        found, sequence = await self._handler.state(agreement_id)
        if not found.versions:
            raise no_agreement(agreement_id)
        return found, sequence

    async def review(self, agreement_id: str, name: str) -> ReviewResult:
        """Review a period again now; a further revision is told only if anything changed.

        Raises: NotFoundError; InvalidInputError and IllegalTransitionError naming the period.
        """
        now_us = microseconds(self._service.clock.now())
        agreement, _ = await self.agreement(agreement_id)
        agreements.require_due(agreement, name, now_us)
        await catch_up(self._service, self._pool)
        for _ in range(_REVIEW_TRIES):
            agreement, sequence = await self.agreement(agreement_id)
            due = agreements.require_due(agreement, name, now_us)
            try:
                return await self._review(agreement, due, sequence, context.lineage())
            except StaleSequenceError:
                continue
        raise UnavailableError("the agreement keeps changing; try again")

    async def review_all(self) -> int:
        """Review periods that ended and were not reviewed, a few at once; return how many were."""
        now_us = microseconds(self._service.clock.now())
        reviewed = await reviewed_periods(self._pool)
        waiting = [
            agreement_id
            for agreement_id, versions in (await read_versions(self._pool)).items()
            if any(agreements.due_periods(versions, reviewed.get(agreement_id, ()), now_us))
        ]
        if waiting:
            await catch_up(self._service, self._pool)
        told = 0
        for agreement_id in waiting:
            told += await self._review_due(agreement_id, now_us, _REVIEWS_AT_ONCE - told)
        return told

    async def _review_due(self, agreement_id: str, now_us: int, limit: int) -> int:
        """Review what is due of an agreement; leave it to the next look if another is quicker."""
        told = 0
        agreement, sequence = await self._handler.state(agreement_id)
        due_periods = agreements.due_periods(agreement.versions, agreement.remedies, now_us)
        for due in islice(due_periods, limit):
            lineage = Lineage(actor="sla", correlation_id="review")
            try:
                await self._review(agreement, due, sequence, lineage)
            except StaleSequenceError:
                return told
            told, sequence = told + 1, sequence + 1
        return told

    async def _review(
        self, agreement: Agreement, due: Due, sequence: int, lineage: Lineage
    ) -> ReviewResult:
        now = self._service.clock.now()
        async with self._pool.acquire() as connection:
            figures = [
                await self._measure(connection, due, measure, now)
                for measure in due.document.measures
            ]
        found = remedy(due.document, due.reviewed, figures)
        written = await self._handler.handle(
            Intent[agreements.Command](found.stream_id, ReviewPeriod(found), now, lineage, sequence)
        )
        last = agreement.remedies.get(found.period_start)
        news = next((one for one in written.events if isinstance(one, SlaRemedyDue)), last or found)
        return ReviewResult(bool(written.events), news, agreements.changes(last, news))

    async def _measure(
        self, connection: Connection, due: Due, measure: Measure, now: datetime
    ) -> Figures:
        span = due.reviewed.measured
        if measure.availability is not None:
            service, now_us = measure.availability.service, microseconds(now)
            told = await read_told(connection, self._service.journal, service, span, now_us)
            return available(service, told.measure(span, now_us))
        wanted = measure.attainment
        asked = AttainmentQuery(
            start=instant(span.start_us),
            end=instant(span.end_us),
            zone=due.document.zone,
            targets=() if wanted is None else wanted.targets,
            priorities=() if wanted is None else wanted.priorities,
            customers=(due.document.customer,),
            services=due.document.services,
        )
        return attained(await read_attainment(connection, asked, now))


def no_agreement(agreement_id: str) -> NotFoundError:
    """Return what is said of an agreement that is not there, or not for the caller to see."""
    return NotFoundError(f"no agreement {agreement_id!r} is published")
