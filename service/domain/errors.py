"""Everything that the product refuses, as one tree.

HoneError
  Invalid            a value that cannot be used: names the field, the value and the remedy
  NotFound           no such thing, or not yours to see
  Conflict           the state of a thing forbids the request
    IllegalMove      a job's state has no such way out
    LimitReached     a key's limit
  Unauthorized       no key, or an unknown one
  Forbidden          a key whose role does not reach so far
  Unavailable        a server that we need does not answer
LeaseLost            for workers: somebody else runs this job now
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


class NotFound(HoneError):
    """No such thing, or not yours to see."""

    code = "not_found"


class Conflict(HoneError):
    """The state of a thing forbids the request."""

    code = "conflict"


class IllegalMove(Conflict):
    """A job's state has no such way out."""

    code = "invalid_state"


class LimitReached(Conflict):
    """A key's limit."""

    code = "limit_reached"


class Unauthorized(HoneError):
    """No key, or an unknown one."""

    code = "invalid_api_key"


class Forbidden(HoneError):
    """A key whose role does not reach so far."""

    code = "forbidden"


class Unavailable(HoneError):
    """A server that we need does not answer."""

    code = "unavailable"


class LeaseLost(Exception):
    """Somebody else runs this job now, or nobody should: the writer must stop and write nothing more."""
