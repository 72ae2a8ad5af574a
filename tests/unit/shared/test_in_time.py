"""Records of several partitions are read by when they were taken, each partition in its order."""

from itertools import groupby
from random import Random

from shared.log.port import Record, in_time


def record(topic: str, offset: int, at_ms: int, partition: int = 0) -> Record:
    return Record(topic, partition, offset, b"k", b"v", at_ms)


def test_topics_are_read_by_time() -> None:
    fetched = [record("a", 0, 30), record("a", 1, 50), record("b", 0, 10), record("b", 1, 40)]
    assert [one.timestamp_ms for one in in_time(fetched)] == [10, 30, 40, 50]


def test_a_partition_keeps_its_order_whatever_its_clocks_say() -> None:
    fetched = [record("a", 0, 50), record("a", 1, 20), record("b", 0, 40), record("b", 1, 60)]
    read = [(one.topic, one.offset) for one in in_time(fetched)]
    assert read == [("b", 0), ("a", 0), ("a", 1), ("b", 1)]


def test_no_partition_is_ever_out_of_order() -> None:
    chance = Random(7)
    fetched = [
        record(topic, offset, chance.randrange(20), partition)
        for topic in "abc"
        for partition in range(2)
        for offset in range(30)
    ]

    def place(one: Record) -> tuple[str, int]:
        return one.topic, one.partition

    read = in_time(fetched)
    assert sorted(read, key=lambda one: (*place(one), one.offset)) == fetched
    for _, part in groupby(sorted(read, key=place), key=place):
        assert [one.offset for one in part] == list(range(30))
