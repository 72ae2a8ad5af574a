"""The examples in the OpenAPI documents are what the desk answers."""

import json
from collections.abc import Callable
from pathlib import Path

from support.examples import recorded


async def test_examples_are_what_the_desk_answers(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    for file, found in (await recorded(make_database, tmp_path)).items():
        assert json.loads(file.read_text()) == found, f"{file}: run `make docs`"
