"""Whether people find what they ask for, in English and in Chinese: the share among ten hits."""

import re
import zipfile
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from support.found_texts import CHINESE_QUESTIONS, ENGLISH, ENGLISH_QUESTIONS

from services.knowledge.projections import READ_MODEL
from services.knowledge.queries import search
from shared.contracts.envelope import Lineage, encode_event
from shared.contracts.knowledge import ArticleDrafted, ArticlePublished
from shared.contracts.registry import decode_shared
from shared.ids import event_id
from shared.postgres.migrate import migrate
from shared.postgres.pool import Pool, open_pool
from shared.replay import schema
from shared.runtime.read_model import Fold, write
from shared.search.terms import asked

CHINESE = Path(__file__).parents[3] / "shared/data/zh-it-knowledge/zh-it-articles-600.zip"
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
async def pool(make_database: Callable[[str], str]) -> AsyncGenerator[Pool]:
    dsn = make_database("knowledge")
    await migrate(dsn)
    async with await open_pool(dsn, role="desk_replay", name="test", size_max=2) as pool:
        async with pool.acquire() as connection, connection.transaction():
            await schema.create(connection, READ_MODEL, schema.LIVE)
        yield pool


async def publish(pool: Pool, articles: Mapping[str, tuple[str, str]], language: str) -> None:
    """Have the articles published, one a day."""
    fold = Fold(READ_MODEL)
    for number, (title, text) in enumerate(articles.values()):
        key = UUID(int=number + 1)
        drafted = ArticleDrafted(
            article_id=key,
            number=f"KB-{number:06d}",
            author_id="bo",
            title=title[:300],
            text=text[:65_536],
            language="zh" if language == "zh" else "en",
            tags=(),
        )
        for sequence, data in enumerate(
            (drafted, ArticlePublished(article_id=key, published_by="bo")), 1
        ):
            at = BEGIN + timedelta(days=number)
            value = encode_event(
                "knowledge",
                data,
                sequence=sequence,
                event_id=event_id("knowledge", str(key), sequence),
                time=at,
                recorded_at=at,
                lineage=Lineage(actor="bo", correlation_id="test"),
            )
            fold.add(decode_shared(data.TYPE, value))
    async with pool.acquire() as connection:
        await write(connection, READ_MODEL, fold, "read")


async def missed(pool: Pool, questions: Mapping[str, str]) -> list[str]:
    """Return the questions for which no title among the first ten has what is wanted."""
    lost: list[str] = []
    for question, wanted in questions.items():
        hits = await search(pool, asked(question), language=None, published_only=True, limit=10)
        if not any(wanted in hit.title for hit in hits):
            lost.append(question)
    return lost


async def test_english_questions_find_their_article_among_ten(pool: Pool) -> None:
    await publish(pool, ENGLISH, "en")
    titles = {question: ENGLISH[name][0] for question, name in ENGLISH_QUESTIONS.items()}
    assert await missed(pool, titles) == []


@pytest.mark.realdata
@pytest.mark.skipif(not CHINESE.exists(), reason="the Chinese articles are not here")
async def test_chinese_questions_find_their_article_among_ten(pool: Pool) -> None:
    articles: dict[str, tuple[str, str]] = {}
    with zipfile.ZipFile(CHINESE) as archive:
        for name in sorted(archive.namelist()):
            if name.startswith("articles/") and name.endswith(".md"):
                _, head, text = archive.read(name).decode().split("---", 2)
                title = re.search(r"^title:\s*(.+)$", head, re.MULTILINE)
                articles[name] = (title[1].strip() if title else name), text
    assert len(articles) == 600
    await publish(pool, articles, "zh")
    assert await missed(pool, CHINESE_QUESTIONS) == []
