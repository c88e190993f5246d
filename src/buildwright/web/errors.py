"""What a caller can have done wrong, as exceptions that carry their HTTP status.

Everything a client can cause ends in one of these, and :mod:`buildwright.web.api` turns each into a JSON body
``{"error": ...}`` (or a JSON-RPC error for POST). Anything else that escapes a handler is a defect of ours:
the caller gets status 500 with an identifier and nothing of the traceback, which goes to the log under the
same identifier."""

from __future__ import annotations

from collections.abc import Mapping


class ApiError(Exception):
    """The request can't be answered as it was made."""

    status = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadQuery(ApiError):
    """The query string names something that isn't there, or a value that doesn't fit."""


class NotFound(ApiError):
    """No such path, or no such thing at it."""

    status = 404


class Denied(ApiError):
    """The caller may not do this."""

    status = 403


class Unauthorized(ApiError):
    """The caller has to say who it is."""

    status = 401


class Unavailable(ApiError):
    """Something that the answer needs doesn't do its part just now."""

    status = 503


class TooMany(ApiError):
    """The caller has tried too often, and may again after so many seconds."""

    status = 429

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds


class Refused(Exception):
    """A control verb refuses its parameters; raised by a :class:`~buildwright.web.services.Control`.

    ``message`` is text, or a text per parameter (by full name) for forms that show it beside the field.
    """

    def __init__(self, message: str | Mapping[str, str]) -> None:
        super().__init__(str(message))
        self.message = message
