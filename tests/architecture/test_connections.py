"""Nobody waits with a connection in hand but for the database at the other end of it (R15).

Who holds a connection and waits for a lock, a stream, the network or a second connection keeps it
from everybody else, leases among them. So what is awaited there has to be given that connection.
"""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HELD_TYPES = {"Connection", "Unit", "RoutingState"}
EXEMPT = {
    # module → why it may
    "shared/replay/rebuild.py": "a rebuild has pools of its own, which nothing else waits for",
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def waits_with_a_connection(source: str) -> Iterator[str]:
    """Yield, with its line, what is awaited by who holds a connection and does not give it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            held = {one.arg for one in arguments if _is_held(one.annotation)}
            if held:
                yield from _waits(node.body, held)
        elif isinstance(node, ast.AsyncWith):
            for place, item in enumerate(node.items):
                if (name := _acquired(item)) is not None:
                    behind = (ast.Await(one.context_expr) for one in node.items[place + 1 :])
                    inside = [*behind, *node.body]
                    yield from _waits(inside, {name})
                    yield from (f"{one.lineno}: yield" for one in _yields(inside))


def _is_held(annotation: ast.expr | None) -> bool:
    return isinstance(annotation, ast.Name) and annotation.id in HELD_TYPES


def _acquired(item: ast.withitem) -> str | None:
    call = item.context_expr
    is_acquire = isinstance(call, ast.Call) and ast.unparse(call.func).endswith(".acquire")
    return (
        item.optional_vars.id if is_acquire and isinstance(item.optional_vars, ast.Name) else None
    )


def _yields(nodes: Sequence[ast.AST]) -> Iterator[ast.expr]:
    return (one for one in _all(nodes) if isinstance(one, ast.Yield | ast.YieldFrom))


def _waits(nodes: Sequence[ast.AST], held: set[str]) -> Iterator[str]:
    """Yield what is awaited without any of the names `held`, or of what is made with them."""
    made = [
        target.id
        for one in _all(nodes)
        if isinstance(one, ast.Assign) and _makes(one.value) and _names(one.value) & held
        for target in one.targets
        if isinstance(target, ast.Name)
    ]
    held = held.union(made)
    for awaited in (awaited for one in _all(nodes) for awaited in _awaited(one)):
        if not _names(awaited) & held:
            yield f"{awaited.lineno}: {ast.unparse(awaited)}"


def _makes(value: ast.expr) -> bool:
    """Say whether a value may keep what it is made with: an object, or what `open_…` returns."""
    if isinstance(value, ast.Await):
        opener = value.value
        return isinstance(opener, ast.Call) and ast.unparse(opener.func).startswith("open_")
    return isinstance(value, ast.Call)


def _awaited(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.Await():
            return [node.value]
        case ast.AsyncFor() | ast.comprehension(is_async=1):
            return [node.iter]
        case ast.AsyncWith():
            return [item.context_expr for item in node.items]
        case _:
            return []


def _all(nodes: Sequence[ast.AST]) -> Iterator[ast.AST]:
    return (one for node in nodes for one in ast.walk(node))


def _names(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


@pytest.mark.parametrize(
    "path",
    [
        path
        for folder in ("services", "shared")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if str(path.relative_to(ROOT)) not in EXEMPT
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_who_holds_a_connection_waits_for_its_database_only(path: Path) -> None:
    assert list(waits_with_a_connection(path.read_text())) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("await connection.fetch('')", []),
        ("await ask(connection, 1)", []),
        ("unit = Unit(connection)\n  await unit.flush()", []),
        ("state = await open_state(connection)\n  await state.save()", []),
        ("async with connection.transaction():\n    pass", []),
        ("rows = await connection.fetch('')\n  await tell(rows)", ["3: tell(rows)"]),
        ("await sleep(1)", ["2: sleep(1)"]),
        ("async with lock:\n    pass", ["2: lock"]),
        ("async with pool.acquire() as other:\n    pass", ["2: pool.acquire()"]),
        ("async for one in stream():\n    pass", ["2: stream()"]),
        ("await pool.fetch('')", ["2: pool.fetch('')"]),
    ],
)
@pytest.mark.parametrize(
    "head",
    ["async def f(connection: Connection):\n  ", "async with p.acquire() as connection:\n  "],
)
def test_the_lint_sees_it(head: str, source: str, found: list[str]) -> None:
    assert list(waits_with_a_connection(head + source)) == found


def test_the_lint_sees_a_connection_lent_for_as_long_as_somebody_likes() -> None:
    lent = "async with p.acquire() as connection:\n  yield connection"
    assert list(waits_with_a_connection(lent)) == ["2: yield"]
