"""A fold whose code changed must say so, or the rows of old and new would stand side by side."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from support.fold_digests import digest_of, fault_of, kept
from support.samples import sample_events

from services.host import ROOMS
from services.intake.projections import READ_MODEL
from shared.contracts.registry import EVENTS, Recorded


@pytest.mark.parametrize("service", ROOMS)
def test_a_fold_makes_of_events_what_its_version_always_made(service: str) -> None:
    fault = fault_of(service, ROOMS[service]().spec.read_model, kept().get(service, {}))
    assert fault is None, fault


def test_there_are_samples_of_every_event() -> None:
    types = {data.TYPE for types in EVENTS.values() for data in types}
    assert {event.type for event in sample_events()} == types


def changed(event: Recorded) -> Any:
    """Project as intake does, but let a rating count double."""
    for facet in READ_MODEL.project(event):
        is_rating = type(facet).__name__ == "Rating"
        yield msgspec.structs.replace(facet, score=2 * facet.score) if is_rating else facet


def test_a_changed_fold_is_told_to_raise_its_version() -> None:
    now, next_one = READ_MODEL.version, READ_MODEL.version + 1
    known = {str(now): digest_of(READ_MODEL)}
    quietly = replace(READ_MODEL, project=changed)
    told = fault_of("intake", quietly, known)
    assert told is not None
    assert "Raise `version` in services/intake/projections.py" in told
    openly = replace(quietly, version=next_one)
    assert fault_of("intake", openly, known) == (
        f"version {next_one} of intake's fold is new: run `make folds`"
    )
    assert fault_of("intake", openly, {**known, str(next_one): digest_of(openly)}) is None


def test_version_and_shape_are_both_in_the_fingerprint() -> None:
    others = [
        replace(READ_MODEL, version=READ_MODEL.version + 1),
        replace(READ_MODEL, views=("CREATE VIEW one AS SELECT 1",)),
        replace(READ_MODEL, tables=READ_MODEL.tables[:-1]),
    ]
    assert len({model.fingerprint for model in [READ_MODEL, *others]}) == 4


@pytest.mark.parametrize("service", ROOMS)
def test_what_is_left_out_of_a_rebuild_sets_nothing(service: str) -> None:
    model = ROOMS[service]().spec.read_model
    for event in sample_events():
        assert model.folds(event.type) or not list(model.project(event)), event.type
