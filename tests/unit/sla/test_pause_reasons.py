"""Whatever value a field has, the pause it calls for can be written."""

import msgspec
import pytest

from services.sla.domain.clocks.history import HistoryStep
from services.sla.domain.clocks.rulebook import ClockConditions
from shared.contracts.base import Key


@pytest.mark.parametrize(
    ("department", "reason"),
    [
        ("sales", "department = sales"),
        ("first\nsecond", "department = first second"),
        ("\x7f" * 200, "department = " + " " * 187),
        ("市" * 200, "department = " + "市" * 187),
    ],
)
def test_the_reason_of_a_pause_is_a_legal_one(department: str, reason: str) -> None:
    fields = {"department": department}
    moment = HistoryStep(
        at_us=0,
        acts=(),
        words=frozenset(),
        before={},
        fields=fields,
        changed=frozenset(),
        hold=None,
        is_resolved=False,
        is_closed=False,
    )
    told = moment.pause_under(ClockConditions.of([fields]))
    assert msgspec.convert(told, Key) == reason
