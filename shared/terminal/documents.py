"""Files given to a subcommand, and what is printed as it is: nothing wrapped, cut, interpreted."""

import re
import sys
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import msgspec
import typer
import yaml
from rich.console import Console

from shared.faults import Given, from_msgspec
from shared.terminal.common import err, out

T = TypeVar("T")
wide: Final = Console(width=10_000, markup=False, emoji=False, highlight=False)
"""For tables: an id or an instant that is cut to the terminal's width is of no use."""
STANDARD_INPUT: Final = Path("-")
BAD_FILE: Final = 2
_YAML: Final = (".yaml", ".yml")
_JSON: Final = ".json"
_CORE: Final = "tag:yaml.org,2002:"


def read_bytes(file: Path, option: str = "") -> bytes:
    """Return the content of a file, or of standard input for `-`; else end with exit code 2.

    `option` is what the file was given for, if it is not the command's own.
    """
    try:
        return sys.stdin.buffer.read() if file == STANDARD_INPUT else file.read_bytes()
    except OSError as error:
        refuse(f"{option} {file}: {error.strerror}".lstrip())


def read_document(file: Path) -> Any:  # noqa: ANN401 any document
    """Return the plain values of a JSON or YAML file, or of standard input for `-`.

    The name's ending says which it is; without one, what begins with a bracket is JSON. Ends with
    exit code 2 if the file cannot be read.
    """
    content = read_bytes(file)
    is_json = file.suffix == _JSON or content.lstrip()[:1] in {b"{", b"["}
    if file.suffix in _YAML or not is_json:
        return _read_yaml(content)
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        refuse(from_msgspec(error).detail)


def shaped(value: object, shape: type[T], *, base: str = "") -> T:
    """Return plain values as a shape; else say which key is wrong, and end with exit code 2.

    `base` is the JSON pointer of the values in their file.
    """
    try:
        return msgspec.convert(value, shape)
    except (msgspec.DecodeError, RecursionError) as error:
        refuse(from_msgspec(error, base=base, given=Given(value, shape)).detail)


def say(sentence: str) -> None:
    """Print a line to standard error, as it is."""
    err.print(sentence, highlight=False, markup=False, emoji=False, soft_wrap=True)


def line(text: str) -> None:
    """Print a line to standard output, as it is."""
    out.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)


def refuse(sentence: str) -> NoReturn:
    """Say what is wrong with a file, and end with exit code 2."""
    say(f"desk: {sentence}")
    raise typer.Exit(BAD_FILE)


def _read_yaml(content: bytes) -> Any:  # noqa: ANN401 any document
    try:
        return yaml.load(content, Loader=_PlainLoader)  # noqa: S506 a safe loader
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        refuse(f"no YAML: {error}")


class _PlainLoader(yaml.SafeLoader):
    """Reads what JSON can say: an unquoted date or time of day is text, and so are yes and no.

    A key that comes twice is an error, and so is a list of merges, which could explode.
    """

    def __init__(self, content: bytes) -> None:
        """Take the bytes of a file."""
        super().__init__(content)
        self._flat: set[yaml.MappingNode] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse what YAML would let pass, then merge, each map once."""
        if node in self._flat:
            return
        self._flat.add(node)
        seen: set[str] = set()
        for key, value in node.value:
            if key.tag == f"{_CORE}merge" and isinstance(value, yaml.SequenceNode):
                raise _odd("a list of merges is not read here", value)
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _odd(f"the key {key.value!r} is there twice", key)
                seen.add(key.value)
        super().flatten_mapping(node)


def _odd(reason: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(problem=reason, problem_mark=node.start_mark)


_NUMBERS: Final = "-0123456789"
_SCALARS: Final = (
    ("null", r"(?:null|~|)$", ("n", "~", "")),
    ("bool", r"(?:true|false)$", "tf"),
    ("int", r"-?(?:0|[1-9][0-9]*)$", _NUMBERS),
    ("float", r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$", _NUMBERS),
    ("merge", r"<<$", "<"),
)
_PlainLoader.yaml_implicit_resolvers = {
    first: [
        (f"{_CORE}{name}", re.compile(pattern))
        for name, pattern, firsts in _SCALARS
        if first in firsts
    ]
    for first in ("n", "~", "", "<", *"tf", *_NUMBERS)
}
