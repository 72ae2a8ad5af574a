"""The verdict on a record depends on its bytes alone, and says why."""

from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.histories import created, day, written

from shared.contracts.registry import (
    EVENTS,
    UndecodableError,
    decode_envelope,
    decode_record,
    decode_report,
    decode_shared,
    decode_shared_record,
    history_order,
)
from shared.contracts.upcasters import UPCASTERS
from shared.log.port import Record

GOOD = written("intake", [created(UUID(int=1))])[0].value
KEY = str(UUID(int=1)).encode()


def verdict(value: bytes | None, key: bytes | None = KEY, topic: str = "ticket.created") -> str:
    try:
        decode_record(Record(topic, 0, 0, key, value, 0))
    except UndecodableError as error:
        return error.reason
    return "good"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (GOOD, "good"),
        (None, "tombstone"),
        (b"{", "not_json"),
        (b"[]", "envelope"),
        (b"\xff\xfe", "not_json"),
        (GOOD.replace(b'"1.0"', b'"0.3"'), "envelope"),
        (GOOD.replace(b":v1", b":v2"), "newer_version"),
        (GOOD.replace(b"urn:deskledger", b"urn:other"), "dataschema"),
        (GOOD.replace(b"/desk/intake", b"/desk/sla"), "wrong_writer"),
        (GOOD.replace(b'"sequence":"0000000001"', b'"sequence":"1"'), "envelope"),
        (GOOD.replace(b'"kind":"incident"', b'"kind":"change"'), "schema"),
        (GOOD.replace(b'"title":"VPN drops",', b""), "schema"),
    ],
)
def test_what_is_wrong_with_a_record_is_named(value: bytes | None, reason: str) -> None:
    assert verdict(value) == reason


def test_key_and_topic_must_fit_the_event() -> None:
    assert verdict(GOOD, key=b"other") == "wrong_key"
    assert verdict(GOOD, topic="ticket.closed") == "wrong_topic"


def test_the_same_bytes_are_decoded_once_and_their_key_is_looked_at_each_time() -> None:
    one = decode_shared_record(Record("ticket.created", 0, 7, KEY, bytes(bytearray(GOOD)), 0))
    assert decode_shared("ticket.created", bytes(bytearray(GOOD))) is one
    with pytest.raises(UndecodableError, match="wrong_key"):
        decode_shared_record(Record("ticket.created", 0, 8, b"other", GOOD, 0))


def test_fields_added_later_are_passed_over() -> None:
    assert verdict(GOOD.replace(b'"title":', b'"colour":"red","title":')) == "good"


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_fail_by_name(value: bytes) -> None:
    assert verdict(value) != "good"


def test_every_older_version_has_an_upcaster() -> None:
    for events in EVENTS.values():
        for event in events:
            for version in range(1, event.VERSION):
                assert (event.TYPE, version) in UPCASTERS


def test_an_old_report_is_lifted_to_the_newest_version() -> None:
    old = msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": "1",
            "source": "/old",
            "type": "ticket.reported",
            "dataschema": "urn:deskledger:event:ticket.reported:v1",
            "data": {
                "requester_id": "ann",
                "requester_name": "Ann",
                "title": "x",
                "affected_people": 7,
            },
        }
    )
    report = decode_report(decode_envelope(old))
    assert (report.requester.id, report.requester.name, report.scope.people) == ("ann", "Ann", 7)


def test_an_old_report_without_requester_names_the_field() -> None:
    old = (
        b'{"specversion":"1.0","id":"1","source":"/o","type":"ticket.reported",'
        b'"dataschema":"urn:deskledger:event:ticket.reported:v1","data":{"title":"x"}}'
    )
    with pytest.raises(UndecodableError, match="requester_id"):
        decode_report(decode_envelope(old))


@given(st.randoms(use_true_random=False))
def test_histories_have_one_order_however_they_came(chance: object) -> None:
    events = day(5, tickets=1)
    shuffled = list(events)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert history_order(shuffled) == history_order(events)
