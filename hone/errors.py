"""The errors of the product, as one tree.

HoneError
  Invalid            a value that cannot be used: names the field, the value and the remedy
    UnreadableSpec   the spec of a row cannot be understood
      NewerSpec      because a newer version wrote it
  NotFound           no such thing, or the key may not see it
  Conflict           the current state forbids the request
    IllegalMove      the status of a job does not allow this event
    LimitReached     a key's limit
  Unauthorized       no key, or an unknown key
  Forbidden          the role of the key does not allow the request
  Unavailable        a server that Hone needs does not answer
LeaseLost            for workers: another attempt holds the job
Unstorable           the database cannot hold a value that it was given
"""


class HoneError(Exception):
    """A refusal with a sentence for people, and a field and a code for programs."""

    code = "error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code


class Invalid(HoneError):
    """A value that cannot be used."""

    code = "invalid_value"


class UnreadableSpec(Invalid):
    """The spec of a row cannot be read; it says what is wrong and what its owner can do."""

    code = "unreadable_spec"

    def __init__(self, reason: str, *, param: str | None, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}", param=param)
        self.reason = reason
        self.remedy = remedy


class NewerSpec(UnreadableSpec):
    """A newer version wrote the spec, with a key or value that this version does not know."""


class NotFound(HoneError):
    """There is no such thing, or this key may not see it."""

    code = "not_found"


class Conflict(HoneError):
    """The current state forbids the request."""

    code = "conflict"


class IllegalMove(Conflict):
    """The status of the job does not allow this."""

    code = "invalid_state"


class LimitReached(Conflict):
    """A limit of the key is reached."""

    code = "limit_reached"


class Unauthorized(HoneError):
    """The request has no API key, or an unknown key."""

    code = "invalid_api_key"


class Forbidden(HoneError):
    """The key's role does not allow the request."""

    code = "forbidden"


class Unavailable(HoneError):
    """A server that Hone needs does not answer, or is busy. `detail`, with names of hosts, is for logs only."""

    code = "unavailable"

    def __init__(self, message: str, *, detail: object = None, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.detail = None if detail is None else str(detail).strip()

    def __str__(self) -> str:
        return self.message if self.detail is None else f"{self.message} ({self.detail})"


class LeaseLost(Exception):
    """The attempt no longer holds its job. Its writer must stop and write nothing more."""


class Unstorable(Exception):
    """The database cannot hold a value that it was given, and which the check of requests has overlooked."""
