"""What all tests share: real PostgreSQL, real Kafka where it can be had, the real data."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import structlog

from shared.ids import random_id
from shared.testing.database import TestPostgres, fresh_database
from shared.testing.kafka import KafkaNode, fetch_jars, unavailable

DATA = Path(__file__).parents[1].parent / "shared" / "data"
_BOOTSTRAP = "KAFKA_BOOTSTRAP_SERVERS"
_REASON = "DESK_TESTS_NO_KAFKA"


def pytest_configure(config: pytest.Config) -> None:
    """Find out, once per run, whether Kafka can be had; every worker is told."""
    _log_plainly()
    if hasattr(config, "workerinput") or os.environ.get(_BOOTSTRAP):
        return
    reason = unavailable()
    if reason is None:
        try:
            fetch_jars()
        except RuntimeError as error:
            reason = str(error)
    if reason is not None:
        os.environ[_REASON] = reason


def _log_plainly() -> None:
    """Have tracebacks without local variables, as the desk does: with them, one takes seconds."""
    *before, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*before, plain])


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestPostgres]:
    """One real server per test process."""
    server = TestPostgres(tmp_path_factory.mktemp("pg"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def make_database(postgres: TestPostgres) -> Iterator[Callable[[str], str]]:
    """Make empty databases; they are dropped after the test."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(fresh_database(postgres, name))


@pytest.fixture(scope="session")
def kafka_reason() -> None:
    """Skip where Kafka cannot be had; in CI that is a failure."""
    if reason := os.environ.get(_REASON):
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs Kafka: {reason}")
        pytest.skip(f"no Kafka: {reason}")


@pytest.fixture(scope="session")
def kafka_bootstrap(kafka_reason: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real broker: the one named in the environment, or one of our own."""
    if servers := os.environ.get(_BOOTSTRAP):
        yield servers
        return
    node = KafkaNode(tmp_path_factory.mktemp("kafka"))
    node.start()
    try:
        yield node.bootstrap_servers
    finally:
        node.stop()


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics that no other test uses, in this run or another."""
    return f"t{random_id().hex[:12]}-"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real data kept beside the project; tests that need it skip where it is absent."""
    if not DATA.is_dir():
        pytest.skip("the real data is not kept beside this checkout")
    return DATA


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what was left out for want of Kafka."""
    if reason := os.environ.get(_REASON):
        terminalreporter.write_line(f"Tests on real Kafka were skipped: {reason}", yellow=True)
