"""Writes docs/access.md from the access tables, as `python -m services.access_page`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from services.host import FRONT_ACCESS, ROOMS
from shared.http.access import KERNEL, Access, is_route
from shared.http.issuers import Role

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "access.md"
_ROLES: Final[Mapping[Role, str]] = {
    Role.REQUESTER: "Reports trouble or asks for something; sees what is theirs.",
    Role.AGENT: "Works on tickets: takes them up, answers, solves. Writes articles.",
    Role.MANAGER: "Runs the desk: people, rules, promises, agreements.",
    Role.AUDITOR: "Reads everything, changes nothing.",
    Role.ADMIN: "Keeps the desk running: quarantine, deliveries, tokens.",
    Role.INTEGRATION: "Another system: reports for people, and follows what it reported.",
    Role.IMPORTER: "Takes over the past of another desk; may do nothing with what is live.",
    Role.CUSTOMER: "An organisation with an agreement. The token's subject is the customer's id.",
}
_HEAD: Final = """# Who may do what

Generated from `services/*/access.py` by `make docs`; a test keeps it true. Routes are served by
these tables: one without a row does not start.

## Roles

A token has a subject, which is who calls, and roles. Who has several may do what any single one of
them may, with the same objects, and nothing more: reading by one never becomes writing by another.
A token without a role may do nothing. Beside its roles a token names the services it reaches.

| role | who that is |
|---|---|
"""
_READING: Final = """
## Reading the tables

`yes`: with everything. `own` and other words: only with objects that relate to the caller like
that; under each table stands what the words ask. Where an object is not for the caller to see, the
answer is 404, the same as for one that is not there; 403 is for what no object would make right.
Rows in plain words are finer rights within a route.
"""


def document() -> str:
    """Return the page."""
    people = "".join(f"| `{role}` | {_ROLES[role]} |\n" for role in Role)
    tables = [
        *(_section(name.capitalize(), room().access) for name, room in ROOMS.items()),
        _section("Every service", Access({}, common=KERNEL)),
        _section("The whole desk under one address", FRONT_ACCESS),
    ]
    return _HEAD + people + _READING + "".join(tables)


def _section(title: str, access: Access) -> str:
    return "\n".join([f"\n## {title}\n", *_lines(access)]) + "\n"


def _lines(access: Access) -> Iterator[str]:
    rows = access.own_rows or access.rows
    yield "| | " + " | ".join(Role) + " |"
    yield "|---" * (len(Role) + 1) + "|"
    for name, row in rows.items():
        shown = f"`{name}`" if is_route(name) else name
        if row.is_open:
            cells = ["no token needed", *[""] * (len(Role) - 1)]
        else:
            cells = [
                "" if role not in row.roles else ", ".join(sorted(row.roles[role])) or "yes"
                for role in Role
            ]
        yield f"| {shown} | {' | '.join(cells)} |"
    if access.relations:
        yield ""
    for word, meaning in access.relations.items():
        yield f"- `{word}`: {meaning}."


if __name__ == "__main__":
    DOCUMENT.write_text(document())
