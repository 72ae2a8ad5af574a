"""The shape of the code: the same rooms in every service, nothing too long, nothing out of date."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services import access_page, settings_page
from shared.contracts import catalogue
from shared.contracts.registry import EVENTS, TOPICS

ROOT = Path(__file__).parents[2]
SERVICES = ("intake", "routing", "sla", "knowledge", "reporting")
ROOMS = {
    "examples.json",
    "README.md",
    "__init__",
    "api",
    "access",
    "chores",
    "cli",
    "domain",
    "handlers",
    "migrations",
    "projections",
    "queries",
    "reactions",
    "schemas",
    "settings",
    "tables",
    "wiring",
}
"""A room is a module, or a package with a module per subject once one file is too small for it."""
DOMAIN_MODULES_MAX = 12
FILE_LINES_MAX = 400
TEST_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
LONG_FUNCTIONS = {
    # function → why it may be longer than the rule
    "services/intake/api/tickets.py:router": "a list of routes, read from top to bottom",
}


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_no_room_the_others_do_not_know(service: str) -> None:
    paths = list((ROOT / "services" / service).iterdir())
    found = {path.name.removesuffix(".py") for path in paths} - {"__pycache__"}
    assert found <= ROOMS
    assert {"README.md", "access", "domain", "tables", "projections", "wiring", "api"} <= found


@pytest.mark.parametrize("service", SERVICES)
def test_a_domain_of_many_modules_is_grouped_in_folders(service: str) -> None:
    """That the folders' imports form no circle is a contract of import-linter."""
    domain = ROOT / "services" / service / "domain"
    for folder in {path.parent for path in domain.rglob("*.py")}:
        modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= DOMAIN_MODULES_MAX, folder


@pytest.mark.parametrize("service", SERVICES)
def test_tables_define_and_ask_nothing(service: str) -> None:
    source = (ROOT / "services" / service / "tables.py").read_text()
    named = [node for node in ast.parse(source).body if isinstance(node, ast.AnnAssign)]
    texts = [ast.unparse(node.value).lstrip("f'\"\\n ") for node in named if node.value]
    assert not [text for text in texts if text.startswith(("SELECT", "WITH", "UPDATE", "DELETE"))]


@pytest.mark.parametrize("path", list(sources("services", "shared")), ids=str)
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= FILE_LINES_MAX


@pytest.mark.parametrize("path", list(sources("tests")), ids=str)
def test_no_test_file_is_too_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= TEST_LINES_MAX


@pytest.mark.parametrize("path", list(sources("services", "shared")), ids=str)
def test_no_function_is_too_long(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{path.relative_to(ROOT)}:{node.name}"
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX or name in LONG_FUNCTIONS, f"{name}: {length}"


def test_what_is_generated_from_the_contracts_is_up_to_date() -> None:
    wanted = dict(catalogue.files())
    written = {path: path.read_text() for path in wanted if path.exists()}
    assert written == wanted, "run `make docs`"
    assert set(catalogue.SCHEMAS.glob("*.json")) <= wanted.keys()


def test_the_page_about_access_is_up_to_date() -> None:
    assert access_page.DOCUMENT.read_text() == access_page.document(), "run `make docs`"


def test_the_page_about_settings_is_up_to_date_and_explains_each() -> None:
    assert settings_page.DOCUMENT.read_text() == settings_page.document(), "run `make docs`"
    for kind in settings_page.SETTINGS:
        assert all(field.description for field in kind.model_fields.values()), kind


def test_each_event_has_one_writer_and_one_topic() -> None:
    types = [event.TYPE for events in EVENTS.values() for event in events]
    assert len(types) == len(set(types))
    assert sorted(TOPICS) == sorted([*types, "ticket.reported"])


def test_no_lock_file_names_an_address() -> None:
    for lock in ROOT.glob("requirements*.lock"):
        assert "://" not in lock.read_text()
        assert "--hash=sha256:" in lock.read_text()


def test_nothing_committed_names_a_machine_path_or_a_registry() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("this is no git checkout")
    forbidden = ("/work" + "/", "pypi." + "org", "repo1." + "maven", "registry." + "npmjs")
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        if path.is_file() and path.suffix in {
            ".py",
            ".md",
            ".toml",
            ".lock",
            ".yml",
            ".yaml",
            ".xml",
        }:
            text = path.read_text()
            assert not [word for word in forbidden if word in text], name
