"""A synthetic working day."""

from dataclasses import dataclass


@dataclass
class Day:
    tickets: int
    speed: float
    seed: int


async def play(client, day, out): ...
