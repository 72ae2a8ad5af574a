import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from shared.telemetry.context import begin, journeying
from shared.telemetry.logs import RateLimit, configure_logging, get_logger


@pytest.fixture(autouse=True)
def _logging_is_put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    config = structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("uvicorn.access", "httpx", "alembic"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.configure(**config)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_each_line_is_json_and_carries_the_journey() -> None:
    stream = io.StringIO()
    configure_logging("INFO", json=True, stream=stream)
    with journeying(begin("intake", "order-7", None)) as journey:
        get_logger("relay").info("sent", records=3, odd=object())
        logging.getLogger("uvicorn.error").warning("slow %s", "client")
    own, foreign = lines(stream)
    for line in (own, foreign):
        assert line["service"] == "intake"
        assert line["correlation_id"] == "order-7"
        assert line["trace_id"] == journey.trace.trace_id
        assert str(line["timestamp"]).endswith("Z")
    assert (own["event"], own["level"], own["records"]) == ("sent", "info", 3)
    assert own["component"] == "relay"
    assert (foreign["event"], foreign["level"]) == ("slow client", "warning")
    assert foreign["logger"] == "uvicorn.error"


def test_a_newline_from_outside_cannot_forge_a_line() -> None:
    stream = io.StringIO()
    configure_logging("INFO", json=True, stream=stream)
    get_logger("http").info("request", path='/x\n{"event":"forged"}')
    logging.getLogger("uvicorn").warning("a\nb")
    assert len(stream.getvalue().splitlines()) == 2


def test_an_exception_is_one_line_with_its_trace() -> None:
    stream = io.StringIO()
    configure_logging("INFO", json=True, stream=stream)
    try:
        int("x")
    except ValueError:
        get_logger("relay").exception("failed")
        logging.getLogger("aiokafka").exception("failed")
    for line in lines(stream):
        assert "ValueError" in str(line["exception"])


def test_below_the_level_nothing_is_written() -> None:
    stream = io.StringIO()
    configure_logging("WARNING", json=True, stream=stream)
    get_logger("relay").info("quiet")
    logging.getLogger("uvicorn.error").info("quiet")
    logging.getLogger("uvicorn.access").info("GET /")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("level", "told"), [("INFO", 1), ("DEBUG", 2)])
def test_what_libraries_do_is_told_to_whoever_asks_for_details(level: str, told: int) -> None:
    stream = io.StringIO()
    configure_logging(level, json=True, stream=stream)
    logging.getLogger("uvicorn.error").info("Started server process")
    get_logger("relay").info("sent")
    assert len(lines(stream)) == told


def test_people_get_a_readable_line() -> None:
    stream = io.StringIO()
    configure_logging("INFO", json=False, stream=stream)
    get_logger("relay").info("sent", records=3)
    assert "sent" in stream.getvalue()
    assert "records=3" in stream.getvalue()
    assert "{" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_a_traceback_shows_no_local_variables() -> None:
    stream = io.StringIO()
    configure_logging("INFO", json=False, stream=stream)
    secret = "hunter" + "2"
    try:
        _ = len(secret) / 0
    except ZeroDivisionError:
        get_logger("relay").exception("failed")
    assert "Traceback (most recent call last)" in stream.getvalue()
    assert secret not in stream.getvalue()


def record(at: float, level: int = logging.ERROR, name: str = "aiokafka") -> logging.LogRecord:
    made = logging.LogRecord(name, level, __file__, 1, "no broker at %s", ("x",), None)
    made.created = at
    return made


def test_noise_is_held_back_and_counted() -> None:
    limit = RateLimit(2, 10)
    assert [limit.filter(record(at)) for at in (0, 1, 2, 3)] == [True, True, False, False]
    after = record(10)
    assert limit.filter(after)
    assert after.getMessage() == "no broker at x (2 lines held back before this one)"
    assert limit.filter(record(11))
    assert not limit.filter(record(12))


def test_noise_of_one_logger_does_not_silence_another_nor_information() -> None:
    limit = RateLimit(1, 10)
    assert limit.filter(record(0))
    assert limit.filter(record(0, name="aiokafka.conn"))
    assert limit.filter(record(0, logging.INFO))
    assert not limit.filter(record(0))


def test_aiokafka_is_limited_and_the_desk_is_not() -> None:
    stream = io.StringIO()
    configure_logging("INFO", json=True, stream=stream)
    for _ in range(50):
        logging.getLogger("aiokafka.client").error("no broker")
        logging.getLogger("uvicorn.error").error("told in full")
    loggers = [line["logger"] for line in lines(stream)]
    assert loggers.count("uvicorn.error") == 50
    assert 0 < loggers.count("aiokafka.client") < 20
