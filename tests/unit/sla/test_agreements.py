"""Agreements: versions and signatures, what is in force when, which periods are due."""

from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from services.sla.domain.agreements.currencies import told
from services.sla.domain.agreements.versions import (
    Agreement,
    PublishAgreement,
    ReviewPeriod,
    SignAgreement,
    changes,
    decide,
    due_periods,
    evolve,
    in_force_at,
    require_due,
    require_sound,
    signing_instant,
)
from shared.calendar import instant, microseconds
from shared.contracts.agreements import (
    AgreementPublished,
    AgreementSigned,
    AttainmentOf,
    AvailabilityOf,
    Band,
    Measure,
    SlaRemedyDue,
)
from shared.errors import IllegalTransitionError, InvalidInputError

BERLIN = ZoneInfo("Europe/Berlin")
SOLVED = Measure(
    name="solved",
    attainment=AttainmentOf(targets=("resolution",)),
    bands=(Band(below=0.95, credit_share=0.05), Band(below=0.9, credit_share=0.1)),
)
MAIL = Measure(
    name="mail",
    availability=AvailabilityOf(service="mail"),
    bands=(Band(below=0.999, credit_share=0.05),),
)
FIRST = AgreementPublished(
    agreement_id="acme-1",
    version=1,
    customer="acme",
    provider="desk",
    services=("mail", "vpn"),
    valid_from=datetime(2026, 1, 1, tzinfo=BERLIN),
    review_date="2026-12-01",
    review_period="month",
    zone="Europe/Berlin",
    currency="EUR",
    fee_minor=1_000_000,
    measures=(SOLVED, MAIL),
    credit_share_max=0.12,
)
SECOND = msgspec.structs.replace(
    FIRST, version=2, fee_minor=2_000_000, valid_from=datetime(2026, 3, 10, tzinfo=BERLIN)
)
NEW_YEAR = datetime(2026, 1, 1, tzinfo=BERLIN)


def signed(version: int, party: Any, signatory: str = "Ann") -> AgreementSigned:
    return AgreementSigned(agreement_id="acme-1", version=version, party=party, signatory=signatory)


def remedy(month: int = 1, total_minor: int = 0, revision: int = 1) -> SlaRemedyDue:
    return SlaRemedyDue(
        agreement_id="acme-1",
        version=1,
        period_start=datetime(2026, month, 1, tzinfo=BERLIN),
        period_end=datetime(2026, month + 1, 1, tzinfo=BERLIN),
        measured_from=datetime(2026, month, 1, tzinfo=BERLIN),
        revision=revision,
        kind="credit",
        lines=(),
        fee_minor=1,
        credit_share_max=1,
        total_minor=total_minor,
        currency="EUR",
        computation=(),
    )


def after(*events: Any, at: datetime = NEW_YEAR) -> Agreement:
    return reduce(lambda state, event: evolve(state, event, at), events, Agreement())


BOTH = (signed(1, "customer"), signed(1, "provider", "Bo"))


def at(text: str) -> int:
    return microseconds(datetime.fromisoformat(text).replace(tzinfo=BERLIN))


CHANGED = msgspec.structs.replace(FIRST, fee_minor=5)


@pytest.mark.parametrize(
    ("given", "command", "then"),
    [
        ((), PublishAgreement(FIRST), [FIRST]),
        ((FIRST,), PublishAgreement(FIRST), []),
        ((FIRST,), PublishAgreement(CHANGED), [CHANGED]),
        ((FIRST, *BOTH), PublishAgreement(FIRST), []),
        ((FIRST, *BOTH), PublishAgreement(SECOND), [SECOND]),
        ((FIRST, BOTH[0]), PublishAgreement(CHANGED), "signed by customer"),
        ((), PublishAgreement(SECOND), "the next is 1"),
        ((FIRST, SECOND), PublishAgreement(CHANGED), "the next is 3"),
        (
            (FIRST,),
            PublishAgreement(msgspec.structs.replace(SECOND, review_period="quarter")),
            "version 1 has 'month'",
        ),
        ((FIRST,), PublishAgreement(msgspec.structs.replace(SECOND, zone="UTC")), "Europe/Berlin"),
        ((FIRST,), PublishAgreement(msgspec.structs.replace(FIRST, zone="UTC")), 1),
        ((), SignAgreement(BOTH[0]), "there is: none"),
        ((FIRST,), SignAgreement(signed(2, "customer")), "there is: 1"),
        ((FIRST,), SignAgreement(BOTH[0]), [BOTH[0]]),
        ((FIRST, BOTH[0]), SignAgreement(BOTH[0]), []),
        ((FIRST, BOTH[0]), SignAgreement(BOTH[1]), [BOTH[1]]),
        ((FIRST, BOTH[0]), SignAgreement(signed(1, "customer", "Eve")), "by Ann"),
        ((FIRST, *BOTH), ReviewPeriod(remedy()), [remedy()]),
        ((FIRST, *BOTH, remedy()), ReviewPeriod(remedy()), []),
        ((FIRST, *BOTH, remedy()), ReviewPeriod(remedy(total_minor=5)), [remedy(1, 5, 2)]),
        ((FIRST, *BOTH, remedy(), remedy(1, 5, 2)), ReviewPeriod(remedy(1, 5)), []),
        ((FIRST, *BOTH, remedy(), remedy(1, 5, 2)), ReviewPeriod(remedy()), [remedy(1, 0, 3)]),
        ((FIRST, *BOTH, remedy()), ReviewPeriod(remedy(2)), [remedy(2)]),
    ],
)
def test_what_follows_what(given: tuple[Any, ...], command: Any, then: Any) -> None:
    state = after(*given)
    if isinstance(then, str):
        with pytest.raises((InvalidInputError, IllegalTransitionError), match=then):
            decide(command, state)
        return
    found = decide(command, state)
    assert len(found) == then if isinstance(then, int) else found == then
    for event in found:
        state = evolve(state, event, NEW_YEAR)
    assert decide(command, state) == []


def test_a_version_is_in_force_once_both_have_signed_and_while_it_is_valid() -> None:
    assert in_force_at(after(FIRST).versions, at("2026-02-01")) is None
    assert in_force_at(after(FIRST, BOTH[0]).versions, at("2026-02-01")) is None
    versions = after(FIRST, *BOTH).versions
    assert in_force_at(versions, at("2025-12-31")) is None
    assert in_force_at(versions, at("2026-01-01")) == FIRST
    late = after(FIRST, *BOTH, at=datetime(2026, 1, 20, tzinfo=BERLIN)).versions
    assert in_force_at(late, at("2026-01-19")) is None
    assert in_force_at(late, at("2026-01-20")) == FIRST
    both = after(FIRST, *BOTH, SECOND, signed(2, "customer"), signed(2, "provider")).versions
    assert in_force_at(both, at("2026-03-09")) == FIRST
    assert in_force_at(both, at("2026-03-10")) == SECOND
    ends = msgspec.structs.replace(FIRST, valid_until=datetime(2026, 2, 1, tzinfo=BERLIN))
    ended = after(ends, *BOTH).versions
    assert in_force_at(ended, at("2026-02-01")) is None
    assert in_force_at(ended, at("2026-02-01") - 1) == ends


def test_a_period_is_reviewed_by_the_version_in_force_at_its_end() -> None:
    versions = after(FIRST, *BOTH, SECOND, signed(2, "customer"), signed(2, "provider")).versions
    now = at("2026-05-01 23:59")
    found = list(due_periods(versions, (), now))
    assert [due.document.version for due in found] == [1, 1, 2]
    assert [due.reviewed.period.start_us for due in found] == [
        at(f"2026-0{month}-01") for month in (1, 2, 3)
    ]
    assert len(list(due_periods(versions, (), at("2026-05-02")))) == 4
    done = [instant(at("2026-01-01")), instant(at("2026-03-01"))]
    assert [d.reviewed.period.start_us for d in due_periods(versions, done, now)] == [
        at("2026-02-01")
    ]


def test_an_agreement_up_to_the_end_of_a_period_covers_it_and_one_from_then_on_does_not() -> None:
    february = datetime(2026, 2, 1, tzinfo=BERLIN)
    ends = after(msgspec.structs.replace(FIRST, valid_until=february), *BOTH).versions
    [january] = due_periods(ends, (), at("2026-06-01"))
    assert january.reviewed.period.end_us == at("2026-02-01")
    follows = msgspec.structs.replace(SECOND, valid_from=february)
    both = after(FIRST, *BOTH, follows, signed(2, "customer"), signed(2, "provider")).versions
    found = list(due_periods(both, (), at("2026-03-05")))
    assert [due.document.version for due in found] == [1, 2]


def test_a_first_period_is_measured_from_when_the_agreement_came_into_force() -> None:
    versions = after(FIRST, *BOTH, at=datetime(2026, 1, 20, 8, tzinfo=BERLIN)).versions
    january, february = due_periods(versions, (), at("2026-03-10"))
    assert january.reviewed.measured_from_us == at("2026-01-20 08:00")
    assert january.reviewed.period.start_us == at("2026-01-01")
    assert february.reviewed.measured_from_us == at("2026-02-01")


def test_a_period_in_which_the_agreement_ended_is_not_reviewed() -> None:
    ends = msgspec.structs.replace(FIRST, valid_until=datetime(2026, 2, 20, tzinfo=BERLIN))
    found = list(due_periods(after(ends, *BOTH).versions, (), at("2026-05-10")))
    assert [due.reviewed.period.start_us for due in found] == [at("2026-01-01")]
    assert list(due_periods(after(FIRST).versions, (), at("2027-01-01"))) == []


@pytest.mark.parametrize(
    ("name", "now", "sentence"),
    [
        ("2026-02", "2026-02-27", "not over"),
        ("2026-02", "2026-03-01 12:00", "waited for until 2026-03-01T23:00:00"),
        ("2025-11", "2026-03-10", "no version was in force"),
        ("2026-Q1", "2026-06-10", "is no month; write YYYY-MM"),
        ("2026-13", "2026-06-10", "is no month"),
        ("2026-2", "2026-06-10", "is no month"),
        ("2026", "2026-06-10", "is no month"),
    ],
)
def test_a_period_that_cannot_be_reviewed_is_refused(name: str, now: str, sentence: str) -> None:
    with pytest.raises((IllegalTransitionError, InvalidInputError), match=sentence) as refused:
        require_due(after(FIRST, *BOTH), name, at(now))
    assert refused.value.field == "/period"


@pytest.mark.parametrize(
    ("by", "name", "start"),
    [("month", "2026-03", 3), ("quarter", "2026-Q2", 4), ("year", "2026", 1)],
)
def test_a_period_has_a_name(by: Any, name: str, start: int) -> None:
    agreement = after(msgspec.structs.replace(FIRST, review_period=by), *BOTH)
    due = require_due(agreement, name, at("2027-02-01"))
    assert due.reviewed.period.start_us == microseconds(datetime(2026, start, 1, tzinfo=BERLIN))


def test_what_a_revision_changes_is_told() -> None:
    assert changes(None, remedy()) == []
    [change] = changes(remedy(), remedy(total_minor=5, revision=2))
    assert (change.pointer, change.before, change.after) == ("/total_minor", 0, 5)


def _measures(**change: Any) -> dict[str, Any]:
    return {"measures": (msgspec.structs.replace(SOLVED, **change),)}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"valid_until": FIRST.valid_from}, "/valid_until"),
        ({"review_date": "2026-02-30"}, "/review_date"),
        ({"zone": "Europe/Atlantis"}, "/zone"),
        ({"currency": "EUX"}, "/currency"),
        ({"measures": (SOLVED, SOLVED)}, "/measures/1/name"),
        (_measures(attainment=None), "/measures/0"),
        (_measures(availability=MAIL.availability), "/measures/0"),
        (
            {"measures": (SOLVED, MAIL), "services": ("vpn",)},
            "/measures/1/availability/service",
        ),
        (
            _measures(bands=(Band(below=0.9, credit_share=0.05), Band(below=0.9, credit_share=1))),
            "/measures/0/bands/1/below",
        ),
        (
            _measures(bands=(Band(below=0.9, credit_share=0.1), Band(below=0.8, credit_share=0.1))),
            "/measures/0/bands/1/credit_share",
        ),
    ],
)
def test_an_agreement_that_cannot_be_is_refused(change: dict[str, Any], field: str) -> None:
    require_sound(FIRST)
    with pytest.raises(InvalidInputError) as refused:
        require_sound(msgspec.structs.replace(FIRST, **change))
    assert refused.value.field == field


def test_nobody_signs_in_the_future() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert signing_instant(None, now) == now
    assert signing_instant(now - timedelta(days=9), now) == now - timedelta(days=9)
    with pytest.raises(InvalidInputError, match="future"):
        signing_instant(now + timedelta(seconds=1), now)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (123_456, "EUR", "EUR 1,234.56"),
        (5, "EUR", "EUR 0.05"),
        (1_234, "JPY", "JPY 1,234"),
        (1_005, "KWD", "KWD 1.005"),
    ],
)
def test_money_is_told_in_its_currency(amount: int, currency: str, text: str) -> None:
    assert told(amount, currency) == text
