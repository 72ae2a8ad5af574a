"""One tree of errors. The domain knows the name, `shared.http.problem` the number (RFC 9457)."""


class DeskError(Exception):
    """Something the caller can be told; `field` is the JSON pointer of the input at fault."""

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        """Keep the sentence for the caller and, if known, the field at fault."""
        super().__init__(detail)
        self.detail = detail
        self.field = field


class InvalidInputError(DeskError):
    """The input can be read but breaks a rule: 422."""


class MalformedInputError(DeskError):
    """The input cannot be read at all: 400."""


class PayloadTooLargeError(DeskError):
    """The input is larger than the service takes: 413."""


class UnsupportedMediaTypeError(DeskError):
    """The input is of a kind the route does not read: 415."""


class UnauthenticatedError(DeskError):
    """No token, or none that can be trusted: 401."""


class ForbiddenError(DeskError):
    """The caller is known and may not do this: 403."""


class NotFoundError(DeskError):
    """Nothing is known under that id: 404."""


class IllegalTransitionError(DeskError):
    """The stream's state forbids the command: 409."""


class ReusedIdError(DeskError):
    """An id or idempotency key came again with other content: 409."""


class StaleSequenceError(DeskError):
    """The stream moved on since the caller read it: 412."""


class TooBusyError(DeskError):
    """A limit is reached; try again after `retry_after_seconds`: 429."""

    def __init__(self, detail: str, *, retry_after_seconds: int = 1) -> None:
        """Keep the wait to suggest."""
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class UnavailableError(DeskError):
    """A part the service needs is away; nothing was acknowledged: 503."""


class TurnLostError(UnavailableError):
    """Somebody else had his turn since the caller read; nothing was stored: 503."""


class StartupError(DeskError):
    """The desk cannot start as asked; the command line prints the sentence and exits."""
