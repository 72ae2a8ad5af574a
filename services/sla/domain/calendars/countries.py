"""Holidays of a country, make-up working days among them, as the package `holidays` knows them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple, cast

from services.sla.domain.calendars.draft import ClosedDay, MakeUpDay
from shared.errors import InvalidInputError

_SUBSTITUTION_LENGTHS: Final = (4, 5)
_ENGLISH: Final = "en_US"


class CountryDays(NamedTuple):
    """Public holidays and make-up working days of some years.

    `unannounced` are the years for which a country that has make-up days has not named them yet.
    """

    holidays: tuple[ClosedDay, ...]
    make_up_days: tuple[MakeUpDay, ...]
    unannounced: tuple[int, ...]


def country_days(country: str, subdivision: str | None, years: range) -> CountryDays:
    """Return the holidays of a country, or of one of its subdivisions.

    `country` is its code in ISO 3166-1. Raises: InvalidInputError naming the option at fault.
    """
    import holidays

    country = country.upper()
    known = holidays.list_supported_countries(include_aliases=True)
    if country not in known:
        raise InvalidInputError(f"--country: no holidays are known for {country!r}")
    if subdivision is not None and subdivision not in known[country]:
        has = ", ".join(known[country]) or "none"
        raise InvalidInputError(
            f"--subdivision: {country} has no {subdivision!r}; it has {has}",
        )
    # A make-up day may be for a holiday of the next January, or of the last December.
    found = holidays.country_holidays(
        country,
        subdiv=subdivision,
        years=[*years, years[-1] + 1],
        expand=False,
        language=_language(holidays.list_localized_countries(include_aliases=True), country),
    )
    exchanged = dict(_exchanges(found, range(years[0] - 1, years[-1] + 2)))
    make_up_days = [
        MakeUpDay(day, exchanged.get(day))
        for day in sorted(found.weekend_workdays)
        if day.year in years and day not in found
    ]
    worked = {make_up.replaces: make_up.day for make_up in make_up_days}
    days_off = sorted((day, name) for day, name in found.items() if day.year in years)
    return CountryDays(
        tuple(
            ClosedDay(day, f"day off, worked on {worked[day]}" if day in worked else name)
            for day, name in days_off
        ),
        tuple(make_up_days),
        tuple(_unannounced(found, years)),
    )


def _language(localized: Mapping[str, Sequence[str]], country: str) -> str | None:
    """Return the language of the names, the same on every machine: English, else the first."""
    languages = localized.get(country)
    if not languages:
        return None
    return _ENGLISH if _ENGLISH in languages else languages[0]


def _exchanges(found: object, years: range) -> Iterator[tuple[date, date]]:
    """Yield the dates worked on, each with the date that was given off for it."""
    for year, entries in _substitutions(found):
        if year not in years:
            continue
        for month, day, *worked in entries:
            from_month, from_day = worked[:2]
            from_year = worked[2] if len(worked) > 2 else year
            yield date(from_year, from_month, from_day), date(year, month, day)


def _unannounced(found: object, years: range) -> Iterator[int]:
    announced = [year for year, entries in _substitutions(found) if entries]
    if announced:
        yield from (year for year in years if year > max(announced))


def _substitutions(found: object) -> Iterator[tuple[int, Sequence[Sequence[int]]]]:
    """Yield, by year of the day off, its month and day, then month, day and year of the work."""
    table = cast("dict[int, Any]", getattr(found, "special_public_holidays", None) or {})
    for year, data in table.items():
        entries = data if data and isinstance(data[0], tuple) else (data,)
        yield year, [entry for entry in entries if len(entry) in _SUBSTITUTION_LENGTHS]
