"""Tables in text files as spreadsheets write them: byte order marks, UTF-16, semicolons, tabs."""

import csv
import gzip
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

from shared.errors import StartupError

_GZIP: Final = b"\x1f\x8b"
_WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_DELIMITERS: Final = (",", ";", "\t", "|")
_SEPARATOR_LINE: Final = "sep="


class CsvRow(NamedTuple):
    """A row that is not blank, by the names of the header in lower case.

    A missing cell is None; cells beyond the header stand under None. `position` says how many bytes
    of the file have been read, packed as they are.
    """

    line: int
    fields: Mapping[str | None, str | None]
    position: int


def read_rows(path: Path, wanted: Collection[str], encoding: str | None = None) -> Iterator[CsvRow]:
    """Yield the rows of a file, gzipped or not.

    It is UTF-8 unless its first bytes say otherwise, or `encoding` does. The delimiter is the one
    by which the header has the `wanted` columns. Raises: StartupError when it cannot be read, or
    has no such columns.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            content = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if packed else file
            lines = io.TextIOWrapper(content, encoding or _encoding(path, content), newline="")
            for line, fields in _table(path, lines, wanted):
                yield CsvRow(line, fields, file.tell())
    except UnicodeDecodeError as error:
        raise StartupError(
            f"cannot read {path} as {error.encoding}: {error.reason}; save it as CSV UTF-8, or name"
            " its encoding with --encoding, such as cp1252 or gb18030"
        ) from error
    except LookupError as error:
        raise StartupError(f"--encoding: {error}") from error
    except (OSError, EOFError, UnicodeError, csv.Error) as error:
        raise StartupError(f"cannot read {path}: {error}") from error


def _encoding(path: Path, content: BinaryIO) -> str:
    start = content.read(4)
    content.seek(0)
    if start.startswith(_WORKBOOKS):
        raise StartupError(f"{path} is a workbook; save it as CSV UTF-8 first")
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    match [byte == 0 for byte in start]:
        case [False, True, False, True]:
            return "utf-16-le"
        case [True, False, True, False]:
            return "utf-16-be"
        case _:
            return "utf-8"


def _table(
    path: Path, lines: io.TextIOWrapper, wanted: Collection[str]
) -> Iterator[tuple[int, Mapping[str | None, str | None]]]:
    first = lines.readline()
    skipped = 0
    if first.lower().startswith(_SEPARATOR_LINE):
        first, skipped = lines.readline(), 1
    delimiter, names = _header(path, first, wanted)
    reader = csv.reader(chain([first], lines), delimiter=delimiter)
    next(reader, None)
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num + skipped, _named(names, cells)


def _header(path: Path, line: str, wanted: Collection[str]) -> tuple[str, Sequence[str]]:
    best: Sequence[str] = ()
    found = ","
    for delimiter in _DELIMITERS:
        reader = csv.reader([line], delimiter=delimiter)
        names = [cell.strip().lower() for cells in reader for cell in cells]
        if len(set(wanted) & set(names)) > len(set(wanted) & set(best)):
            best, found = names, delimiter
    missing = [name for name in wanted if name not in best]
    if missing:
        raise StartupError(f"{path} has no column {', '.join(missing)}")
    twice = [name for name in wanted if best.count(name) > 1]
    if twice:
        raise StartupError(f"{path} has the column {twice[0]} more than once")
    return found, best


def _named(names: Sequence[str], cells: Sequence[str]) -> Mapping[str | None, str | None]:
    fields: dict[str | None, str | None] = dict(zip(names, cells, strict=False))
    for name in names[len(cells) :]:
        fields[name] = None
    beyond = "".join(cells[len(names) :])
    if beyond.strip():
        fields[None] = beyond
    return fields
