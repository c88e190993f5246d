"""Who asks: a user as the rules see it, and the name that it has in the audit and as the owner of builds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from buildwright.model.logins import AuthBase
from buildwright.web.errors import Unavailable

log = structlog.get_logger(__name__)

ANONYMOUS = "anonymous"
TOKEN_PREFIX = "token:"  # noqa: S105 - of a user's name


@dataclass(frozen=True, slots=True)
class User:
    """Somebody, and how that is known."""

    details: Mapping[str, Any]
    """What the rules see, and `/config` shows: ``username``, ``email``, ``full_name``, ``groups``."""
    name: str
    by: Literal["nobody", "token", "session", "proxy"]
    session: str = ""  # its id
    expires_us: int = 0  # of a session
    token: str = ""  # its hash

    @property
    def known(self) -> bool:
        return self.by != "nobody"

    @property
    def shown(self) -> dict[str, Any]:
        """The user as a page is told."""
        return {"anonymous": not self.known} | ({**self.details} if self.known else {})


NOBODY = User({"anonymous": True}, ANONYMOUS, "nobody")


def of_token(name: str, hashed: str) -> User:
    """The user that a token acts as. Its name can't be that of a person."""
    return User({"username": f"{TOKEN_PREFIX}{name}"}, name, "token", token=hashed)


def owner_of(details: Mapping[str, Any]) -> str:
    """What stands for a user as the owner of builds."""
    for field in ("email", "username", "full_name"):
        value = details.get(field)
        if isinstance(value, str) and value:
            return value
    return ANONYMOUS


async def more_of(auth: AuthBase, username: str) -> dict[str, Any]:
    """What the configuration's userInfoProvider says of a user; raises Unavailable if it raises."""
    try:
        return dict(await auth.more_of(username))
    except Exception as error:
        log.exception("getUserInfo raised", login=auth.what, error=type(error).__name__)
        raise Unavailable("nothing is known of users just now: the master's log says why") from None
