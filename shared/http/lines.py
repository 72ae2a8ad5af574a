"""Answers that are one line: a terminal's prompt stands on the next."""

from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

JSON: Final = "application/json"


class JsonLine(Response):
    """A JSON text, encoded before, with a newline behind it."""

    def __init__(
        self,
        content: bytes,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str = JSON,
    ) -> None:
        """Take the text as it is without the newline."""
        super().__init__(content + b"\n", status_code, headers, media_type)
