"""What a rebuild tells of its progress."""

from shared.replay.progress import Pace


def test_a_pace_tells_share_time_left_and_rate() -> None:
    pace = Pace(100.0)
    assert pace.tell(0, 1_000_000, 100.0) == "0 %"
    assert pace.tell(250_000, 1_000_000, 102.5) == "25 %, about 8 s left, 100,000 records/s"
    assert pace.tell(250_000, 1_000_000, 200.0) == "25 %, about 5 min left, 2,500 records/s"


def test_what_was_done_before_it_was_stopped_does_not_count_for_the_rate() -> None:
    pace = Pace(100.0)
    pace.tell(900_000, 1_000_000, 101.0)
    assert pace.tell(901_000, 1_000_000, 102.0) == "90 %, about 2 min left, 1,000 records/s"


def test_nothing_to_do_is_no_division_by_zero() -> None:
    assert Pace(1.0).tell(0, 0, 1.0) == "0 %"
