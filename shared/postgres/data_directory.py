"""The folder that holds an embedded desk: private, of one format, used by one desk at a time."""

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final

from shared.errors import StartupError

FORMAT: Final = 1


class DataDirectory:
    """Holds the folder for as long as the context lasts. Every failure is one clear sentence."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None

    def __enter__(self) -> "DataDirectory":
        """Make the folder if it is missing, and take it.

        Raises: StartupError when it cannot be written, another desk has it, or it is too new.
        """
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._path / "desk.lock", os.O_RDWR | os.O_CREAT, 0o600)
            self._take(self._lock)
        except BaseException as error:
            self._release()
            if isinstance(error, OSError):
                reason = error.strerror or error
                raise StartupError(f"cannot use folder {self._path}: {reason}") from error
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let another desk have the folder."""
        self._release()

    def _take(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StartupError(f"another desk runs on folder {self._path}") from error
        if not os.access(self._path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        self._check_format()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _check_format(self) -> None:
        file = self._path / "VERSION"
        text = file.read_text(errors="replace").strip() if file.exists() else ""
        if not text:  # a new folder, or a first start that was cut off
            file.write_text(f"{FORMAT}\n")
            return
        if not text.isdecimal():
            raise StartupError(f"{file} says {text!r}, which is no format number")
        if int(text) > FORMAT:
            raise StartupError(
                f"folder {self._path} has format {text}, newer than the {FORMAT} known here"
            )
