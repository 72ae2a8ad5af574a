"""`desk migrate`, `desk topics`, `desk demo`."""

from datetime import datetime, timedelta
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
    fail,
    out,
    run,
)
from shared.terminal.documents import line

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
        help="Take over a synthetic working day, to have something to look at.",
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


def demo(
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
    tickets: Annotated[int, typer.Option(min=1, max=999, help="How many tickets.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same day.")] = 1,
    day: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Which day it was; else the day before yesterday."),
    ] = None,
) -> None:
    """Take over a day: tickets of all kinds through all states, promises kept and missed.

    It comes as the past of another system, so nobody is paged and no clock runs. Taken over again
    it changes nothing; another seed or day adds one.
    """
    from services.commands.imports import catch_up
    from services.demo import Day, take_over
    from services.imports.client import ImportReport
    from shared.clock import SystemClock

    on = (day or SystemClock().now() - timedelta(days=2)).date()

    async def work() -> ImportReport:
        async with desk_client(Target(data, url, token)) as client:
            report = await take_over(client, Day(tickets, seed, on))
            await catch_up(client)
            return report

    report = run(work())
    if report.refused:
        fail(f"the desk refused {len(report.refused)} pasts, such as {report.refused[0]}")
    first = f"DEMO-{on:%Y%m%d}-{seed}-001"
    if not report.added.total():
        line(f"{tickets} tickets of {on} were there already; another --seed or --day adds some")
    else:
        line(f"{tickets} tickets of {on}, {first} and on; {report.added.total()} events were added")
    line("see: desk report kpi --by priority")
