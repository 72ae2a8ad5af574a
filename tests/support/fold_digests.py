"""What each service's fold makes of every sample event, in short; kept in tests/golden/folds.json.

`make folds` adds what a raised version makes. What a version once made stays as it is: if a fold of
that version is nowhere at work yet, take its line out by hand and have it written again.
"""

import hashlib
import json
import sys
from pathlib import Path

import msgspec

from services.host import ROOMS
from shared.contracts.registry import Recorded
from shared.runtime.read_model import Fold, ReadModel
from support.samples import added_samples, sample_events

KEPT = Path(__file__).parents[1] / "golden" / "folds.json"
ADVICE = (
    "the fold of {service} makes something else of an event than version {version} did. Raise"
    " `version` in services/{service}/projections.py, so that every desk folds its past again and"
    " no replica of the old version writes beside the new one; then run `make folds`."
)


def digest_of(model: ReadModel) -> str:
    """Return a digest of what each sample event sets, by itself.

    Of a field that was added since, a fold which does not read it stays what it was.
    """
    made = [row for event in sample_events() for row in _made_of(model, event)]
    for before, after in added_samples():
        rows = _made_of(model, after)
        if rows != _made_of(model, before):
            made += rows
    return hashlib.sha256(msgspec.json.encode(made)).hexdigest()[:32]


def _made_of(model: ReadModel, event: Recorded) -> list[list[object]]:
    fold = Fold(model)
    fold.add(event)
    return [[event.type, table.name, *fold.rows(table)] for table in model.tables]


def kept() -> dict[str, dict[str, str]]:
    """Return service → version → digest."""
    return json.loads(KEPT.read_text())


def fault_of(service: str, model: ReadModel, known: dict[str, str]) -> str | None:
    """Return what is wrong with a fold, given its versions' digests."""
    digest = known.get(str(model.version))
    if digest is None:
        return f"version {model.version} of {service}'s fold is new: run `make folds`"
    if digest != digest_of(model):
        return ADVICE.format(service=service, version=model.version)
    return None


def write_anew() -> int:
    """Add the versions that are new; return 1 if a version makes something else than it did."""
    digests = kept()
    for service, room in ROOMS.items():
        model = room().spec.read_model
        known = digests.setdefault(service, {})
        known.setdefault(str(model.version), digest_of(model))
        if (fault := fault_of(service, model, known)) is not None:
            sys.stderr.write(f"{fault}\n")
            return 1
    KEPT.write_text(json.dumps(digests, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(write_anew())
