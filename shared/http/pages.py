"""The page that shows a service's routes, and what it is made of: nothing from another host."""

from pathlib import Path
from typing import Annotated, Final

import fastapi_offline
from fastapi import APIRouter
from fastapi import Path as InPath
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import FileResponse, Response

from shared.errors import NotFoundError

_FILES: Final = Path(fastapi_offline.__file__).parent / "static"
_SCRIPT, _STYLE, _ICON = "swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"
_KEPT: Final = {"Cache-Control": "public, max-age=86400"}


def docs_router(title: str) -> APIRouter:
    """Return `GET /docs` and its files; its addresses are relative, whatever stands before it."""
    router = APIRouter(include_in_schema=False)
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=title,
        swagger_js_url=f"docs/{_SCRIPT}",
        swagger_css_url=f"docs/{_STYLE}",
        swagger_favicon_url=f"docs/{_ICON}",
        swagger_ui_parameters={"validatorUrl": None},  # else it asks a host of its makers
    )

    @router.get("/docs")
    async def docs() -> Response:
        return page

    @router.get("/docs/{file}")
    async def docs_file(file: Annotated[str, InPath(max_length=100)]) -> Response:
        if file not in {_SCRIPT, _STYLE, _ICON}:
            raise NotFoundError(f"the page has no file {file!r}")
        return FileResponse(_FILES / file, headers=_KEPT)

    _ = docs, docs_file
    return router
