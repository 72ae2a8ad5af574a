"""The version of the program, as pyproject.toml has it."""

from importlib.metadata import version
from typing import Final

VERSION: Final = version("deskledger")
