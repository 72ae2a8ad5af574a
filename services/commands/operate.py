"""`desk migrate`, `desk topics`, `desk demo`."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from services.settings import DeskSettings, database_url
from shared.contracts.registry import TOPICS
from shared.errors import StartupError
from shared.terminal.common import (
    DEFAULT_DATA,
    Data,
    Target,
    Token,
    Url,
    desk_client,
    out,
    run,
)

topics = typer.Typer(help="The desk's topics on Kafka.", no_args_is_help=True)
Kafka = Annotated[
    str | None, typer.Option("--kafka", envvar="DESK_KAFKA", help="Bootstrap servers.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("migrate", help="Bring service databases to this version; safe side by side.")(
        migrate
    )
    app.command(
        "demo",
        help="Play a synthetic working day; for desks without real work.",
    )(demo)
    app.add_typer(topics, name="topics")


def migrate(
    services: Annotated[list[str] | None, typer.Argument(help="All, if none is named.")] = None,
) -> None:
    """Migrate the databases named by <SERVICE>_DATABASE_URL."""
    run(_migrate(services))


async def _migrate(names: list[str] | None) -> None:
    from services.host import ROOMS, known_service
    from shared.postgres.migrate import migrate as migrate_database

    for name in names or list(ROOMS):
        migrations = ROOMS[known_service(name)]().spec.migrations
        reached = await migrate_database(database_url(name), migrations)
        out.print(f"{name:10} {', '.join(reached) if reached else 'up to date'}")


@topics.command("create", help="Create the topics that are missing.")
def create_topics(
    kafka: Kafka = None,
    partitions: Annotated[int | None, typer.Option(min=1, max=1_000)] = None,
    replication_factor: Annotated[int | None, typer.Option(min=1)] = None,
) -> None:
    """Create topics: kept for ever, never compacted, all with the same partition count."""
    settings = DeskSettings()
    if replication_factor is not None:
        settings = settings.model_copy(update={"replication_factor": replication_factor})
    run(_create_topics(settings, kafka, partitions or settings.partitions))


async def _create_topics(settings: DeskSettings, kafka: str | None, partitions: int) -> None:
    from services.host import kafka_log

    log = kafka_log(settings, _named(kafka))
    try:
        created = await log.create_topics(TOPICS, partitions)
        out.print(f"created {len(created)} topics; {len(TOPICS) - len(created)} were there")
    finally:
        await log.close()


@topics.command("check", help="Exit 0 if all topics are there with the same partition count.")
def check_topics(kafka: Kafka = None) -> None:
    """Check topics."""
    run(_check_topics(DeskSettings(), kafka))


async def _check_topics(settings: DeskSettings, kafka: str | None) -> None:
    from services.host import kafka_log, partition_count

    log = kafka_log(settings, _named(kafka))
    try:
        count = await partition_count(log)
        out.print(f"{len(TOPICS)} topics, {count} partitions each")
    finally:
        await log.close()


def _named(kafka: str | None) -> str:
    if kafka is None:
        raise StartupError("name the broker with --kafka HOST:PORT")
    return kafka


def _requesters(data: Path) -> Callable[[str], str] | None:
    """Return what gives a requester's token, where the desk's key is at hand."""
    from shared.clock import SystemClock
    from shared.http.auth import ALL_SERVICES, LocalIssuer, Role
    from shared.terminal.folder import key_file

    if not key_file(data).exists():
        return None
    issuer = LocalIssuer.load_or_create(key_file(data))

    def token(subject: str) -> str:
        return issuer.issue(
            subject,
            [Role.REQUESTER],
            services=[ALL_SERVICES],
            expires_in=timedelta(minutes=5),
            now=SystemClock().now(),
        )

    return token


def demo(
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
    tickets: Annotated[int, typer.Option(min=1, max=100_000, help="How many tickets.")] = 60,
    speed: Annotated[
        float, typer.Option(min=0.1, help="How many times faster than a real day.")
    ] = 600,
    seed: Annotated[int, typer.Option(help="The same seed plays the same day.")] = 1,
) -> None:
    """Play a day: tickets of all kinds through all states, breaches, escalations.

    For a desk without real work: meanwhile policy `standard` promises what fits the day's speed.
    """
    from services.demo import Day, play

    day = Day(tickets=tickets, speed=speed, seed=seed, as_requester=_requesters(data))

    async def work() -> None:
        async with desk_client(Target(data, url, token)) as client:
            await play(client, day, out)

    run(work())
