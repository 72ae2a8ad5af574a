"""The kernel knows no service: what it needs to be told stands in the `Spec`, or in the contracts.

`shared/contracts` is the language that services publish, so it names them all.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.contracts.registry import EVENTS, TOPICS

ROOT = Path(__file__).parents[2]
TOPIC = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, TOPICS))})(?![\w.])")
OF_ONE_SERVICE = {
    *(f"shared.contracts.{name}" for name in (*EVENTS, "agreements", "availability")),
    "shared.contracts.registry.INBOUND",
    "shared.contracts.registry.decode_report",
}
EXEMPT = {
    # module → why it may
    "shared/http/kernel.py": "an example in the description of a route",
}


def services_named(source: str) -> Iterator[str]:
    """Yield, with its line, each service or topic of one service that a module names."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module)) if module in OF_ONE_SERVICE:
                yield f"{node.lineno}: {module}"
            case ast.ImportFrom(module="shared.contracts" | "shared.contracts.registry" as module):
                names = {f"{module}.{one.name}" for one in node.names}
                yield from (f"{node.lineno}: {name}" for name in names & OF_ONE_SERVICE)
            case ast.Constant(value=str(text)):
                if text in EVENTS:
                    yield f"{node.lineno}: {text}"
                yield from (f"{node.lineno}: {topic}" for topic in TOPIC.findall(text))
            case _:
                continue


def modules() -> list[str]:
    found = (path.relative_to(ROOT) for path in sorted((ROOT / "shared").rglob("*.py")))
    return [str(path) for path in found if not path.is_relative_to("shared/contracts")]


@pytest.mark.parametrize("module", modules())
def test_the_kernel_names_no_service(module: str) -> None:
    named = list(services_named((ROOT / module).read_text()))
    assert bool(named) == (module in EXEMPT), named


@pytest.mark.parametrize(
    "source",
    [
        "from shared.contracts.intake import TicketCreated",
        "from shared.contracts import sla",
        "from shared.contracts.registry import INBOUND",
        "if record.topic == 'ticket.reported': pass",
        "'''Reads `sla.calendar_published`.'''",
        "if service == 'routing': pass",
    ],
)
def test_a_kernel_that_knows_one_is_found(source: str) -> None:
    assert list(services_named(source))


def test_words_of_every_day_are_not() -> None:
    assert not list(services_named("'the sla of a ticket is reported by routing'"))
