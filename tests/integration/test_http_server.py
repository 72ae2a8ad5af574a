"""Clients that are slow, many, endless or in bad faith, on real sockets."""

import asyncio
import json

import pytest
from support.served import Client, Served, get, post, serving, status_of

KIB = 1024
QUICK = {"header_seconds": 0.3, "body_seconds": 0.3, "write_seconds": 0.6}
"""Deadlines for tests; the server looks every half second."""


async def test_a_header_without_end_is_refused_before_it_is_stored() -> None:
    async with serving() as served:
        bomb = await served.connect(b"GET / HTTP/1.1\r\nHost: desk\r\nX-Bomb: ")
        sent = 0
        while served.refused("header_bytes") == 0:
            await bomb.send(b"b" * 64 * KIB)
            sent += 64
            assert sent < 16 * KIB
        assert status_of(await bomb.rest()) in {431, 0}  # 0: what was on its way broke it
        assert await served.status("/") == 200


async def test_a_header_over_the_limit_is_a_problem_431() -> None:
    async with serving() as served:
        fits = await served.connect(get("/", f"X-Long: {'x' * 32_000}"))
        assert status_of(await fits.answer()) == 200
        client = await served.connect(get("/", f"X-Long: {'x' * 33_000}"))
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert status_of(head) == 431
        assert b"content-type: application/problem+json" in head.lower()
        assert json.loads(body)["type"] == "urn:deskledger:problem:header-too-large"
        assert served.refused("header_bytes") == 1


@pytest.mark.parametrize("sent", [b"", b"GET / HTT", get("/")[:-2]])
async def test_a_header_must_come_in_time(sent: bytes) -> None:
    async with serving(**QUICK) as served:
        late = await served.connect(sent)
        assert status_of(await late.rest()) == 408
        assert served.refused("header_seconds") == 1


async def test_the_header_of_a_second_request_must_come_in_time_too() -> None:
    async with serving(**QUICK) as served:
        client = await served.connect(get("/"))
        assert status_of(await client.answer()) == 200
        await client.send(b"GET / HT")
        assert status_of(await client.rest()) == 408


@pytest.mark.parametrize(
    "sent",
    [
        post("/", "Content-Length: 100") + b"half",
        post("/", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n",
        post("/", "Content-Length: 100", "Expect: 100-continue"),
    ],
)
async def test_a_body_must_come_in_time_and_who_reads_it_is_told(sent: bytes) -> None:
    async with serving(**QUICK) as served:
        late = await served.connect(sent)
        answer = await late.rest()
        assert status_of(answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")) == 408
        assert served.refused("body_seconds") == 1
        await served.until(lambda: served.left == 1)


async def test_a_body_that_comes_steadily_may_take_its_time() -> None:
    async with serving(**QUICK, body_bytes_per_second_min=1) as served:
        steady = await served.connect(post("/", "Content-Length: 100") + b"x" * 90)
        idle = await served.connect(post("/", "Content-Length: 100"))
        assert status_of(await idle.rest()) == 408
        await steady.send(b"x" * 10)
        assert (await steady.answer()).endswith(b"\r\n\r\n100")


@pytest.mark.parametrize("endless", [b"5;ext=" + b"x" * 64 * KIB, b"0\r\nTrailer: " + b"x" * KIB])
async def test_what_is_neither_header_nor_body_has_an_end(endless: bytes) -> None:
    async with serving() as served:
        client = await served.connect(post("/", "Transfer-Encoding: chunked") + endless)
        for _ in range(1_000):
            if served.refused("header_bytes"):
                break
            await client.send(b"x" * 64 * KIB)
        assert served.refused("header_bytes") == 1
        assert status_of(await client.rest()) in {431, 0}


async def test_a_body_longer_than_it_says_is_no_request() -> None:
    async with serving() as served:
        client = await served.connect(post("/", "Content-Length: 2") + b"to")
        assert status_of(await client.answer()) == 200
        await client.send(b"o long")
        answer = await client.rest()
        assert status_of(answer) == 400
        assert b"application/problem+json" in answer
        at_once = await served.connect(post("/slow", "Content-Length: 2") + b"too long")
        assert await at_once.rest() == b""
        assert served.refused("malformed") == 2


async def test_who_is_answered_before_the_end_of_the_body_may_send_the_rest() -> None:
    async with serving(**QUICK) as served:
        client = await served.connect(post("/unread", "Content-Length: 8") + b"half")
        assert status_of(await client.answer()) == 200
        await client.send(b"rest" + get("/"))
        assert status_of(await client.answer()) == 200
        never = await served.connect(post("/unread", "Content-Length: 8"))
        assert (await never.rest()).endswith(b"unread")


async def test_a_connection_at_rest_is_kept_a_while() -> None:
    async with serving(**QUICK, idle_seconds=1) as served:
        client = await served.connect(get("/"))
        await client.answer()
        await client.send(get("/"))
        await client.answer()
        assert await client.rest() == b""
        assert served.refused("idle_seconds") == 0


async def test_an_answer_that_nobody_reads_is_broken_off_and_a_long_one_goes_on() -> None:
    async with serving(**QUICK) as served:
        ticks = await served.connect(get("/ticks"))
        await served.connect(get("/endless"))
        reading = await served.connect(get("/endless"))

        async def read() -> None:
            while await reading.some(256 * KIB):
                await asyncio.sleep(0.01)

        reader = asyncio.create_task(read())
        await served.until(lambda: served.refused("write_seconds") == 1)
        assert b"tick" in await ticks.some(1_000_000)
        assert b"tick" in await ticks.some(1_000_000)
        assert not reader.done()
        reader.cancel()


async def test_the_longest_waiting_gives_way_to_who_comes() -> None:
    async with serving(connections_max=8) as served:
        waiting = [await served.connect(b"GET / HT") for _ in range(8)]
        clients = [await served.connect(get("/")) for _ in range(3)]
        for client in clients:
            assert status_of(await client.answer()) == 200
        for given_way in waiting[:3]:
            assert status_of(await given_way.rest()) == 503
        await waiting[3].send(b"TP/1.1\r\nHost: desk\r\n\r\n")
        assert status_of(await waiting[3].answer()) == 200
        assert served.refused("crowded") == 3


async def test_when_all_are_being_answered_only_probes_get_in() -> None:
    async with serving(connections_max=8) as served:
        asked = [await served.connect(get("/slow")) for _ in range(6)]
        await served.until(lambda: served.waiting == 6)
        answer = await (await served.connect(get("/"))).rest()
        assert status_of(answer) == 503
        assert b"retry-after: 2" in answer.lower()
        assert served.refused("busy") == 1
        for probe in ("/health/live", "/intake/health/ready", "/metrics?x=1"):
            assert await served.status(probe) == 200
        assert await _crowd_out(served) == 503
        assert await served.status("/health/live") == 200
        served.go_on.set()
        for client in asked:
            assert status_of(await client.answer()) == 200


async def _crowd_out(served: Served) -> int:
    """Fill what is kept for probes with connections that send nothing; return what they get."""
    idle = [await served.connect() for _ in range(20)]
    return status_of(await idle[0].rest())


async def test_one_address_has_a_share() -> None:
    async with serving(connections_per_peer_max=2) as served:
        asked = [await served.connect(get("/slow")) for _ in range(2)]
        await served.until(lambda: served.waiting == 2)
        third = await served.connect(get("/"))
        assert status_of(await third.rest()) in {503, 0}  # 0: closed before it was read
        assert served.refused("peer") == 1
        served.go_on.set()
        for client in asked:
            assert status_of(await client.answer()) == 200
        gauge = served.registry.gauge("desk_http_connections").labels("desk")
        assert gauge._value.get() == 2


async def test_requests_in_a_row_are_answered_in_a_row_but_not_without_end() -> None:
    async with serving() as served:
        client = await served.connect(b"".join(get("/") for _ in range(20)))
        for _ in range(20):
            assert status_of(await client.answer()) == 200
        flood = await served.connect(get("/slow") + b"".join(get("/") for _ in range(200)))
        assert await flood.rest() == b""
        assert served.refused("pipeline") >= 1


async def test_stopping_waits_for_answers_and_for_nobody_else() -> None:
    async with serving() as served:
        answered = await served.connect(get("/slow"))
        await served.until(lambda: served.waiting == 1)
        held: list[Client] = [
            await served.connect(),
            await served.connect(b"GET / HT"),
            await served.connect(post("/", "Content-Length: 9") + b"half"),
            await served.connect(post("/unread", "Content-Length: 9")),
            await served.connect(get("/")),
        ]
        await held[4].answer()
        unread = await served.connect(get("/endless"))
        await unread.some(1)
        served.stop.set()
        assert [status_of(await client.rest()) for client in held] == [503, 503, 503, 200, 0]
        assert not served.task.done()
        served.go_on.set()
        assert status_of(await answered.answer()) == 200
        async with asyncio.timeout(4.5):  # the server cuts off after 5
            await served.task
