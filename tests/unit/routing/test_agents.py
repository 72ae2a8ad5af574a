"""The roster: every command in every state."""

import pytest
from msgspec.structs import replace

from services.routing.domain.agents import Agent, RegisterAgent, SetAvailability, decide, evolve
from shared.errors import NotFoundError

REGISTER = RegisterAgent("bo", "Bo", "service-desk", 1, ("network",), 5)
(REGISTERED,) = decide(REGISTER, None)
BO = evolve(None, REGISTERED)


def test_who_is_registered_is_available_and_has_nothing_to_do() -> None:
    assert (
        Agent(
            "bo",
            "service-desk",
            ("network",),
            is_available=True,
            workload=0,
            workload_max=5,
            name="Bo",
        )
        == BO
    )
    assert BO.has_room
    assert decide(REGISTER, BO) == []


def test_a_change_keeps_load_and_availability() -> None:
    assert BO is not None
    away = replace(BO, is_available=False, workload=3)
    (event,) = decide(replace(REGISTER, workload_max=2), away)
    after = evolve(away, event)
    assert after == replace(away, workload_max=2)


def test_availability_is_said_once() -> None:
    (event,) = decide(SetAvailability("bo", available=False), BO)
    away = evolve(BO, event)
    assert away is not None
    assert not away.has_room
    assert decide(SetAvailability("bo", available=False), away) == []


def test_a_stranger_has_no_availability() -> None:
    with pytest.raises(NotFoundError):
        decide(SetAvailability("bo", available=True), None)
