"""Every command in every state of an article, and the words it is found by."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.knowledge.domain.article import (
    Article,
    ArticleCommand,
    DraftArticle,
    PublishArticle,
    RetireArticle,
    ReviseArticle,
    decide,
    evolve,
    number_of,
)
from shared.errors import DeskError, IllegalTransitionError, NotFoundError, ReusedIdError

ID = UUID(int=1)
AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
COMMANDS: dict[str, ArticleCommand] = {
    "draft": DraftArticle(ID, "KB-000001", "bo", "VPN", "Renew it.", "en", ("vpn",)),
    "revise": ReviseArticle(ID, "bo", "VPN drops", "Renew the certificate.", ("vpn",)),
    "publish": PublishArticle(ID, "bo"),
    "retire": RetireArticle(ID, "bo", "old"),
}
STATES: dict[str, list[str]] = {
    "unknown": [],
    "draft": ["draft"],
    "published": ["draft", "publish"],
    "retired": ["draft", "publish", "retire"],
}
TABLE = """
           draft revise publish retire
unknown    +     ?      ?       ?
draft      =     +      +       !
published  =     +      =       +
retired    =     !      +       =
"""
HEAD, *ROWS = [line.split() for line in TABLE.strip().splitlines()]
CELLS = [
    (row[0], command, cell) for row in ROWS for command, cell in zip(HEAD, row[1:], strict=True)
]
ERRORS: dict[str, type[DeskError]] = {"!": IllegalTransitionError, "?": NotFoundError}


def article_in(state: str) -> Article:
    article = Article()
    for name in STATES[state]:
        for event in decide(COMMANDS[name], article):
            article = evolve(article, event, AT)
    return article


@pytest.mark.parametrize(("state", "command", "cell"), CELLS)
def test_every_cell_of_the_table(state: str, command: str, cell: str) -> None:
    article = article_in(state)
    assert article.status == state
    if cell in ERRORS:
        with pytest.raises(ERRORS[cell]):
            decide(COMMANDS[command], article)
        return
    events = decide(COMMANDS[command], article)
    assert len(events) == (cell == "+")
    for event in events:
        article = evolve(article, event, AT)
    assert decide(COMMANDS[command], article) == []


def test_a_reused_id_names_the_field_that_differs() -> None:
    with pytest.raises(ReusedIdError) as caught:
        decide(
            DraftArticle(ID, "KB-2", "bo", "Wi-Fi", "Renew it.", "en", ("vpn",)),
            article_in("draft"),
        )
    assert caught.value.field == "/title"


def test_numbers_can_be_read_out() -> None:
    assert number_of(7) == "KB-000007"
