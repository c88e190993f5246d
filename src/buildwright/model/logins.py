"""How people log in: ``c['www']['auth']``.

The classes here say what was configured; the web room (``web/auth``) does it. Three ways of knowing somebody:

- a name and a password, checked by the master (:class:`PasswordAuth`);
- a name that a proxy vouches for (:class:`RemoteUserAuth`);
- another server, to which the browser is sent (:mod:`buildwright.model.oauth`).

What a login tells of a user is a dict: ``username``, and ``email``, ``full_name``, ``groups`` as far as they
are known. A ``userInfoProvider`` adds to it: any object with ``getUserInfo(username)``, which gives a dict
(or a coroutine that does).
"""

from __future__ import annotations

import inspect
import ipaddress
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from buildwright.model.arguments import Checked
from buildwright.model.errors import error, expect, from_basedir, location, shown
from buildwright.model.render import is_renderable


class AuthBase(metaclass=Checked):
    """A way to log in."""

    kind: ClassVar[str] = ""
    """What the page and the data API call it."""
    autologin = False

    def __init__(self, userInfoProvider: Any = None) -> None:
        self.where = location(self)
        self.what = type(self).__name__
        self.userInfoProvider = userInfoProvider
        if userInfoProvider is not None and not callable(getattr(userInfoProvider, "getUserInfo", None)):
            error(
                f"{self.what}: userInfoProvider must be an object with getUserInfo(username), "
                f"not {shown(userInfoProvider)}"
            )
            self.userInfoProvider = None

    async def more_of(self, username: str) -> Mapping[str, Any]:
        """What the userInfoProvider knows of a user."""
        if self.userInfoProvider is None:
            return {}
        found = self.userInfoProvider.getUserInfo(username)
        if inspect.isawaitable(found):
            found = await found
        return dict(found or {})

    def describe(self) -> dict[str, Any]:
        """What a page has to know to offer it."""
        return {"name": self.kind}

    def __repr__(self) -> str:
        return f"<{self.what}>"


class NoAuth(AuthBase):
    """Nobody logs in; API tokens say who may act."""

    kind = "NoAuth"


NO_AUTH = NoAuth()


class PasswordAuth(AuthBase):
    """A name and a password, checked by the master."""


class UserPasswordAuth(PasswordAuth):
    """Users of the configuration: a dict of name to password, or a list of pairs. A password is text, better
    a ``util.Secret``; or its hash, as ``htpasswd -nB name`` prints it (bcrypt, SHA-256 and SHA-512 of crypt,
    Apache's MD5), which no password can be read from.

    Example::

        c["www"] = {"port": 8010, "auth": util.UserPasswordAuth({"ann": util.Secret("password-of-ann")})}
    """

    kind = "UserPasswordAuth"

    def __init__(self, users: Mapping[Any, Any] | Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.users: dict[str, Any] = {}
        for pair in users.items() if isinstance(users, Mapping) else users:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                error("UserPasswordAuth: users must be a dict, or a list of pairs of name and password")
                continue
            name, password = (each.decode() if isinstance(each, bytes) else each for each in pair)
            if not isinstance(name, str) or not name or ":" in name:
                error(f"UserPasswordAuth: a user's name must be text without ':', not {shown(name)}")
            elif not is_renderable(password) and not (isinstance(password, str) and password):
                error(f"UserPasswordAuth: the password of {name!r} must be text or a Secret, and not empty")
            else:
                self.users[name] = password


class HTPasswdAuth(PasswordAuth):
    """Users of a file as Apache's ``htpasswd`` writes it, read at each login; its path is relative to the
    base directory. Its hashes may be bcrypt, SHA-256 and SHA-512 of crypt, Apache's MD5, SHA-1, or of the old
    crypt; prefer ``htpasswd -B``.

    Example::

        c["www"] = {"port": 8010, "auth": util.HTPasswdAuth("users.htpasswd")}
    """

    kind = "HTPasswdAuth"

    def __init__(self, passwdFile: str | Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.passwdFile = Path()
        if not expect(passwdFile, (str, Path), "HTPasswdAuth: passwdFile", "a path"):
            return
        self.passwdFile = from_basedir(passwdFile)
        if not self.passwdFile.is_file():
            error(
                f"HTPasswdAuth: there is no file {str(self.passwdFile)!r}",
                f"htpasswd -cB {passwdFile} NAME makes one",
            )


class CustomAuth(PasswordAuth):
    """Users whom your own code knows: a subclass with ``check_credentials(user, password)``, which may be a
    coroutine. (One that isn't is called in a thread of its own, so that it may take its time.)

    Example::

        class FromTheWiki(util.CustomAuth):
            def check_credentials(self, user, password):
                return (user, password) == ("ann", "rather use a real one")


        c["www"] = {"port": 8010, "auth": FromTheWiki()}
    """

    kind = "CustomAuth"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if type(self).check_credentials is CustomAuth.check_credentials:
            error(
                f"{self.what}: it lets nobody in",
                "derive a class of your own that has check_credentials(self, user, password)",
                self.where,
            )

    def check_credentials(self, user: str, password: str) -> Any:  # noqa: ARG002
        """Whether a user has this password."""
        return False


class RemoteUserAuth(AuthBase):
    """Users whom a proxy has let in: it names them in a header of each request, which ``headerRegex`` takes
    apart (its groups are what is known of the user; ``username`` must be one).

    Whoever can send the header can be anybody. So it counts only from ``trustedProxies`` (addresses or
    networks; by default this machine), and the master listens on this machine alone unless
    ``c['www']['port']`` names an interface. The proxy must drop the header that it is sent.

    Example::

        c["www"] = {
            "port": 8010,
            "auth": util.RemoteUserAuth(header="X-Remote-User", headerRegex="(?P<username>[a-z]+)"),
        }
    """

    kind = "RemoteUserAuth"

    def __init__(
        self,
        header: str | bytes | None = None,
        headerRegex: str | bytes | re.Pattern[Any] | None = None,
        trustedProxies: Sequence[str] = ("127.0.0.0/8", "::1"),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.header = header.decode() if isinstance(header, bytes) else header or "REMOTE_USER"
        regex = headerRegex.pattern if isinstance(headerRegex, re.Pattern) else headerRegex
        regex = regex.decode() if isinstance(regex, bytes) else regex
        self.headerRegex = re.compile(r"(?P<username>[^ @]+)@(?P<realm>[^ @]+)")
        try:
            self.headerRegex = re.compile(regex) if regex else self.headerRegex
        except (re.error, TypeError) as problem:
            error(f"RemoteUserAuth: headerRegex must be a regular expression: {problem}")
        if "username" not in self.headerRegex.groupindex:
            error("RemoteUserAuth: headerRegex has no group 'username'", "write it as (?P<username>...)")
        self.trustedProxies = []
        for each in trustedProxies:
            try:
                self.trustedProxies.append(ipaddress.ip_network(each))
            except ValueError as problem:
                error(f"RemoteUserAuth: trustedProxies: {problem}", "as in '192.0.2.0/24'")
