"""A name means one thing in the whole tree: no class is called as another one is.

Names that begin with an underscore mean something in their module only. Facets are left out: their
columns are called after them, so each read model has its own.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = {
    # name → why there are two
    "NewPolicy": "the bodies of PUT /policies/{id} at routing and at sla, named in the OpenAPI",
    "Target": "what a policy promises, and at the terminal the desk that a command is about",
}


def class_names(source: str) -> Iterator[str]:
    """Yield the names of a module's classes that others may import, without the facets."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            is_facet = "Facet" in {ast.unparse(base) for base in node.bases}
            if not is_facet and not node.name.startswith("_"):
                yield node.name


def twice(sources: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the names of classes that are defined more than once, with their modules."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for module, source in sources:
        for name in class_names(source):
            found[name].append(module)
    return {name: modules for name, modules in found.items() if len(modules) > 1}


def test_no_class_name_is_defined_twice() -> None:
    paths = [p for part in ("services", "shared") for p in sorted((ROOT / part).rglob("*.py"))]
    found = twice((str(path.relative_to(ROOT)), path.read_text()) for path in paths)
    assert {n: where for n, where in found.items() if n not in ALLOWED} == {}
    assert found.keys() >= ALLOWED.keys(), "what is no longer there twice needs no permission"


@pytest.mark.parametrize(
    ("one", "other", "is_found"),
    [
        ("class Clock: ...", "class Clock(Protocol): ...", True),
        ("class _Read: ...", "class _Read: ...", False),
        ("class Breach(Facet, frozen=True): ...", "class Breach(Facet, frozen=True): ...", False),
        ("class Breach(Facet, frozen=True): ...", "class Breach: ...", False),
    ],
)
def test_a_name_of_two_things_is_found(one: str, other: str, *, is_found: bool) -> None:
    assert bool(twice([("a", one), ("b", other)])) == is_found
