"""One desk for the tests that only talk to it over HTTP."""

from collections.abc import Iterator

import pytest
from support.desk import DeskProcess


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeskProcess]:
    with DeskProcess(tmp_path_factory.mktemp("e2e") / "desk") as running:
        yield running
