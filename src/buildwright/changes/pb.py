"""PBChangeSource: changes that are sent by hand or by hooks, with `buildwright sendchange`.

They come over the data API, where the token says who may act. A change that is sent with this source's user
and password goes through its ``prefix``: paths lose it, files outside of it are left out, and a change of
none but such files is ignored. Nothing listens on ``port``: the protocol of old clients, Perspective Broker,
isn't spoken here.
"""

from __future__ import annotations

import hmac
from typing import Any

from buildwright.changes.base import ChangeSource, SecretSource
from buildwright.model.errors import error, expect, warn
from buildwright.model.properties import Properties
from buildwright.model.render import is_renderable, render


class PBChangeSource(ChangeSource):
    """Takes changes that are sent with its user and password.

    Example::

        c["change_source"].append(changes.PBChangeSource(user="hooks", passwd=util.Secret("hooks-password")))
    """

    def __init__(
        self,
        user: str = "change",
        passwd: Any = "changepw",  # noqa: S107 - the default that the field knows
        port: int | str | None = None,
        prefix: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(f"PBChangeSource:{user}:{prefix or ''}" if name is None else name)
        expect(user, str, f"{self.what}: user", "a name")
        if not isinstance(passwd, str) and not is_renderable(passwd):
            error(f"{self.what}: passwd must be text or a Secret", "as in util.Secret('change-password')")
        if prefix is not None and not expect(prefix, str, f"{self.what}: prefix", "the beginning of a path"):
            prefix = None
        if port is not None:
            warn(
                f"{self.what}: port: nothing listens on this port: changes come over the data API at the web "
                "port, sent with `buildwright sendchange`; the clients of Buildbot speak Perspective Broker, "
                "which this version doesn't",
                "leave port out",
            )
        self.user = user
        self.passwd = passwd
        self.prefix = prefix

    async def admits(self, user: str, password: str, secrets: SecretSource) -> bool:
        """Whether these are its user and password."""
        properties = Properties()
        properties.secret_source = secrets
        wanted = str(await render(self.passwd, properties)).encode("utf-8", "replace")
        return user == self.user and hmac.compare_digest(wanted, password.encode("utf-8", "replace"))

    def inside(self, files: list[str]) -> list[str]:
        """The files inside its prefix, without it."""
        prefix = self.prefix or ""
        return [file.removeprefix(prefix) for file in files if file.startswith(prefix)]
