"""Who may do what, as data: one row for each route and each finer right (R16).

A row says which roles may: `agent` may with everything, `requester:own` only with what is theirs.
What the words behind the colon ask of caller and object stands beside the rows that use them.
A caller may do what any single one of their roles may; together roles never come to more: a finer
right counts only by a role that opened the route for this object.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from shared.errors import ForbiddenError, StartupError
from shared.http.issuers import Role

ANYONE: Final = "anyone"
"""Says in a row that no token is needed."""
ANY_ROLE: Final = " ".join(Role)
"""A row for whoever has a role, whichever it is."""
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})

KERNEL: Final[Mapping[str, str]] = {
    "GET /docs": ANYONE,
    "GET /docs/{file}": ANYONE,
    "GET /openapi.json": ANYONE,
    "GET /health/live": ANYONE,
    "GET /health/ready": ANYONE,
    "GET /metrics": "auditor integration admin",
    "POST /history:batch": "importer",
    "GET /quarantine": "admin",
    "GET /quarantine/{number}": "admin",
    "POST /quarantine/{number}/redrive": "admin",
    "GET /quarantine/timers": "admin",
    "POST /quarantine/timers/{number}/redrive": "admin",
    "GET /deliveries": "admin",
    "GET /deliveries/{delivery_id}": "admin",
    "POST /deliveries/redrive": "admin",
    "POST /deliveries/{delivery_id}/redrive": "admin",
    "POST /deliveries/{delivery_id}/discard": "admin",
}
"""The rows of routes that every service has."""


class Grant(NamedTuple):
    """What a caller may by one row: each of their roles with everything, or with what relates so.

    No relation is with everything.
    """

    roles: Mapping[Role, frozenset[str]]

    @property
    def is_whole(self) -> bool:
        """Whether it is good for every object."""
        return not all(self.roles.values())

    def of(self, relations: Collection[str]) -> "Grant":
        """Return the roles by which it is good for an object that has these relations."""
        return Grant(
            {
                role: frozenset()
                for role, wanted in self.roles.items()
                if not wanted or not wanted.isdisjoint(relations)
            }
        )

    def covers(self, relations: Collection[str]) -> bool:
        """Say whether it is good for an object that has these relations to the caller."""
        return bool(self.of(relations).roles)


class AccessRow(NamedTuple):
    """Which roles may, and with what; no relation is with everything."""

    roles: Mapping[Role, frozenset[str]]
    is_open: bool = False

    def grant(self, roles: Iterable[Role]) -> Grant:
        """Return what these roles may."""
        return Grant({role: self.roles[role] for role in roles if role in self.roles})


class Access:
    """The rows of one app.

    A key is a route, such as `GET /tickets/{id}`, or a finer right in words, which a route asks for
    where what it does depends on the object. `relations` explains every word behind a colon.
    """

    def __init__(
        self,
        rows: Mapping[str, str],
        relations: Mapping[str, str] | None = None,
        *,
        common: Mapping[str, str] = KERNEL,
    ) -> None:
        """Read the rows. Raises: StartupError naming one that has an unknown word."""
        self.relations = dict(relations or {})
        self.own_rows = {name: self._read(name, text) for name, text in rows.items()}
        self.rows = {**{name: self._read(name, text) for name, text in common.items()}}
        self.rows |= self.own_rows

    def _read(self, name: str, text: str) -> AccessRow:
        if text == ANYONE:
            return AccessRow({}, is_open=True)
        roles: dict[Role, frozenset[str]] = {}
        for word in text.split():
            role, _, wanted = word.partition(":")
            related = frozenset(wanted.split(",")) if wanted else frozenset[str]()
            if role not in {*Role} or not related <= self.relations.keys():
                raise StartupError(f"access to {name}: {word!r} is no role, or no relation")
            roles[Role(role)] = related
        return AccessRow(roles)

    def require_rows(self, routes: Iterable[str]) -> None:
        """Raise StartupError unless every route has a row, and every row of a route its route."""
        known = set(routes)
        named = {name for name in self.rows if is_route(name)}
        if missing := sorted(known - named):
            raise StartupError(f"no row says who may call {', '.join(missing)}")
        if stale := sorted(name for name in self.own_rows if is_route(name) and name not in known):
            raise StartupError(f"access rows without a route: {', '.join(stale)}")

    def grant(self, name: str, roles: Collection[Role]) -> Grant:
        """Return what a row gives to these roles. Raises: ForbiddenError for nothing."""
        row = self.rows[name]
        found = row.grant(roles)
        if not found.roles:
            wanted = ", ".join(sorted(row.roles))
            raise ForbiddenError(f"This needs one of the roles {wanted}.")
        return found

    def allows(self, name: str, roles: Collection[Role], relations: Collection[str]) -> bool:
        """Say whether a row lets these roles with an object that relates to the caller so."""
        return self.rows[name].grant(roles).covers(relations)


def is_route(name: str) -> bool:
    """Say whether the key of a row is a route, and not a finer right."""
    return name.partition(" ")[0] in _METHODS
