from collections.abc import AsyncIterator

import pytest
from http_desk import Desk, running_desk


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with running_desk() as running:
        yield running
