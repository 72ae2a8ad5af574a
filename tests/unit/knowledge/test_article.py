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
from shared.contracts.knowledge import AUTHORS_MAX, ArticleRevised
from shared.errors import (
    DeskError,
    ForbiddenError,
    IllegalTransitionError,
    NotFoundError,
    ReusedIdError,
)

ID = UUID(int=1)
AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
COMMANDS: dict[str, ArticleCommand] = {
    "draft": DraftArticle(ID, "KB-000001", "bo", "VPN", "Renew it.", "en", ("vpn",)),
    "revise": ReviseArticle(ID, "bo", "VPN drops", "Renew the certificate.", ("vpn",)),
    "publish": PublishArticle(ID, "al"),
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


def lived(*commands: ArticleCommand, article: Article | None = None) -> Article:
    article = article or Article()
    for command in commands:
        for event in decide(command, article):
            article = evolve(article, event, AT)
    return article


def revised_by(who: str, text: str, *, may_publish_own: bool = False) -> ReviseArticle:
    return ReviseArticle(ID, who, "VPN", text, (), may_publish_own=may_publish_own)


def test_a_revision_of_a_published_article_waits_for_a_second_person() -> None:
    article = lived(revised_by("bo", "pwned"), article=article_in("published"))
    assert article.status == "draft"
    with pytest.raises(ForbiddenError):
        decide(PublishArticle(ID, "bo"), article)
    assert lived(PublishArticle(ID, "cy"), article=article).status == "published"


def test_nobody_publishes_their_own_words_however_many_wrote_since() -> None:
    article = lived(
        COMMANDS["draft"], revised_by("al", "long text"), revised_by("Cy@x.org", "long text.")
    )
    for who in ("bo", "al", "cy@x.org"):
        for state in (article, lived(PublishArticle(ID, "dee"), article=article)):
            with pytest.raises(ForbiddenError):
                decide(PublishArticle(ID, who), state)
    published = lived(PublishArticle(ID, "dee"), article=article)
    # What was read before does not count: bo wrote nothing since.
    again = lived(revised_by("dee", "short"), PublishArticle(ID, "bo"), article=published)
    assert again.status == "published"


def test_who_may_publish_their_own_words_keeps_an_article_published() -> None:
    live = lived(revised_by("bo", "short", may_publish_own=True), article=article_in("published"))
    assert live.status == "published"
    draft = lived(COMMANDS["draft"], revised_by("bo", "short", may_publish_own=True))
    assert draft.status == "draft", "a draft stays one"
    own = PublishArticle(ID, "bo", may_publish_own=True)
    assert lived(own, article=draft).status == "published"


def test_what_was_recorded_before_means_what_it_meant() -> None:
    before = ArticleRevised(article_id=ID, revised_by="cy", title="VPN", text="x", tags=())
    live = evolve(article_in("published"), before, AT)
    assert live.status == "published"
    assert live.authors == {"bo", "cy"}
    assert evolve(article_in("draft"), before, AT).status == "draft"


def test_authors_have_an_end() -> None:
    article = lived(
        COMMANDS["draft"], *(revised_by(f"a{n}", f"{n}") for n in range(AUTHORS_MAX - 1))
    )
    lived(revised_by("bo", "more"), article=article)
    with pytest.raises(IllegalTransitionError, match="publish it first"):
        decide(revised_by("one more", "more"), article)


def test_a_reused_id_names_the_field_that_differs() -> None:
    with pytest.raises(ReusedIdError) as caught:
        decide(
            DraftArticle(ID, "KB-2", "bo", "Wi-Fi", "Renew it.", "en", ("vpn",)),
            article_in("draft"),
        )
    assert caught.value.field == "/title"


def test_numbers_can_be_read_out() -> None:
    assert number_of(7) == "KB-000007"
