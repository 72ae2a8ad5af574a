"""Which partition a key belongs to: Java's murmur2, as Kafka's own producer has it (R1)."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final, cast

from aiokafka import partitioner

_murmur2: Final = cast("Callable[[bytes], int]", getattr(partitioner, "murmur2"))  # noqa: B009 untyped there
_POSITIVE: Final = 0x7FFFFFFF


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition number of `key`, in 0…partitions − 1."""
    return (_murmur2(key) & _POSITIVE) % partitions
