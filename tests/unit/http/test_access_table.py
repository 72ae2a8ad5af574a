"""The access table: what a row gives to whom, and that nothing is served without one."""

from itertools import combinations, product

import pytest
from fastapi import APIRouter
from http_desk import NOON, Desk, FixedClock
from joserfc.jwk import OKPKey

from services.host import FRONT_ACCESS, ROOMS
from shared.errors import StartupError
from shared.http.access import Access, is_route
from shared.http.app import ServiceInfo, create_app
from shared.http.auth import Caller, DeskState, LocalIssuer, Principal, Role, TokenVerifier
from shared.telemetry.metrics import MetricRegistry

TABLES = {"front": FRONT_ACCESS} | {name: room().access for name, room in ROOMS.items()}
ROWS = [(table, row) for table, access in TABLES.items() for row in access.rows]


@pytest.mark.parametrize(("table", "name"), ROWS, ids=map(" ".join, ROWS))
def test_roles_together_come_to_no_more_than_each_alone(table: str, name: str) -> None:
    access = TABLES[table]
    words = ["", *access.relations]
    held = [{a, b} for a, b in combinations(["", *words], 2)] + [{word} for word in words]
    for one, other in combinations(Role, 2):
        for relations in held:
            together = access.allows(name, {one, other}, relations)
            alone = [access.allows(name, {role}, relations) for role in (one, other)]
            assert together == any(alone), (one, other, relations)


@pytest.mark.parametrize("table", TABLES)
def test_a_finer_right_is_no_other_roles_than_the_routes(table: str) -> None:
    """With each object, roles together come to what one of them may with route and right alike."""
    access = TABLES[table]
    words = ["", *access.relations]
    held = [{a, b} for a, b in combinations(words, 2)] + [set[str]()]

    def may(route: str, right: str, roles: set[Role], relations: set[str]) -> bool:
        grant = access.rows[route].grant(roles)
        caller = Caller(Principal("x", frozenset(roles), frozenset()), access, grant)
        return grant.covers(relations) and caller.may(right, relations)

    rights = [name for name in access.own_rows if not is_route(name)]
    for route, right in product([name for name in access.own_rows if is_route(name)], rights):
        for (one, other), relations in product(combinations(Role, 2), held):
            alone = [may(route, right, {role}, relations) for role in (one, other)]
            assert may(route, right, {one, other}, relations) == any(alone), (route, right)


@pytest.mark.parametrize(("table", "name"), ROWS, ids=map(" ".join, ROWS))
def test_nobody_without_a_role_may_do_anything(table: str, name: str) -> None:
    assert not TABLES[table].allows(name, (), TABLES[table].relations)


@pytest.mark.parametrize(
    "text", ["emperor", "agent:mine", "agent:own,mine", "Agent", "agent anyone"]
)
def test_a_row_with_a_word_that_nobody_explained_stops_the_start(text: str) -> None:
    with pytest.raises(StartupError, match="GET /x"):
        Access({"GET /x": text}, {"own": "theirs"})


def served(access: Access, *paths: str) -> None:
    router = APIRouter()
    for path in paths:
        router.get(path)(lambda: None)
    clock = FixedClock(NOON)
    verifier = TokenVerifier(clock, local=LocalIssuer(OKPKey.generate_key("Ed25519")))
    state = DeskState("x", verifier, clock, MetricRegistry().for_service("x"), access)
    create_app(ServiceInfo("x", "X", "1", "x"), [router], state)


def test_a_route_without_a_row_does_not_start_nor_a_row_without_its_route() -> None:
    served(Access({"GET /a": "agent"}), "/a")
    with pytest.raises(StartupError, match="no row says who may call GET /b"):
        served(Access({"GET /a": "agent"}), "/a", "/b")
    with pytest.raises(StartupError, match="without a route: GET /c"):
        served(Access({"GET /a": "agent", "GET /c": "agent"}), "/a")


async def test_a_token_without_roles_reads_nothing(desk: Desk) -> None:
    for path in ("/tickets/journey", "/tickets/admin", "/metrics"):
        assert (await desk.client.get(path, headers=desk.bearer())).status_code == 403
