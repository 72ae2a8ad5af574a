"""Knowledge's composition: the only file that puts its parts together."""

from collections.abc import Sequence
from pathlib import Path

from fastapi import APIRouter

from services.knowledge.access import ACCESS
from services.knowledge.api import Knowledge
from services.knowledge.handlers import ArticleCommands
from services.knowledge.projections import READ_MODEL
from shared.contracts.registry import topics_of
from shared.http.app import ServiceInfo
from shared.http.kernel import Room
from shared.http.named import numbered
from shared.runtime.service import Service
from shared.runtime.spec import Spec
from shared.version import VERSION


def room() -> Room:
    """Return knowledge."""

    def routers(service: Service) -> Sequence[APIRouter]:
        return [Knowledge(service, ArticleCommands(service)).router()]

    return Room(
        ServiceInfo(
            "knowledge",
            "Deskledger knowledge",
            VERSION,
            "Articles and search.",
            Path(__file__).with_name("examples.json"),
        ),
        Spec(name="knowledge", topics=topics_of("knowledge"), read_model=READ_MODEL),
        routers,
        ACCESS,
        lambda service: numbered(service.pool, "article", "article_id"),
    )
