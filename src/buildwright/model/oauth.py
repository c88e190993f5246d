"""Logging in at another server: OAuth 2 at the forges, OpenID Connect at any provider.

What is configured stands here; :mod:`buildwright.web.auth.oauth` sends browsers there and asks who came back.
The address to register at the provider is always ``<c['buildbotURL']>auth/login``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from buildwright.model.errors import error, expect
from buildwright.model.logins import AuthBase
from buildwright.model.render import is_renderable


class OAuth2Auth(AuthBase):
    """A login at another server; the bases of its addresses are class attributes."""

    title: ClassVar[str] = ""
    icon: ClassVar[str] = ""

    def __init__(
        self,
        clientId: Any,
        clientSecret: Any,
        autologin: bool = False,
        ssl_verify: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.clientId = clientId
        self.clientSecret = clientSecret
        self.autologin = bool(autologin)
        self.ssl_verify = bool(ssl_verify)
        for name, value in (("clientId", clientId), ("clientSecret", clientSecret)):
            if not is_renderable(value) and not (isinstance(value, str) and value):
                error(f"{self.what}: {name} must be text or a Secret, and not empty")

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.title,
            "oauth2": True,
            "fa_icon": self.icon,
            "autologin": self.autologin,
        }


class GitHubAuth(OAuth2Auth):
    """Users of GitHub, or of a GitHub Enterprise Server at ``serverURL``. Groups are the user's
    organizations; with ``getTeamsMembership`` also teams, as ``organization/team``. The address is the
    primary one, if it is verified. ``apiVersion`` 4 and 3 do the same; ``debug`` has no effect.

    Example::

        c["www"] = {
            "port": 8010,
            "auth": util.GitHubAuth("Iv1.0123456789abcdef", util.Secret("github-client-secret")),
        }
    """

    kind = "GitHubAuth"
    title = "GitHub"
    icon = "fa-github"
    server: ClassVar[str] = "https://github.com"
    api: ClassVar[str] = "https://api.github.com"

    def __init__(
        self,
        clientId: Any,
        clientSecret: Any,
        serverURL: str | None = None,
        autologin: bool = False,
        apiVersion: int = 3,
        getTeamsMembership: bool = False,
        debug: bool = False,  # noqa: ARG002
        **kwargs: Any,
    ) -> None:
        super().__init__(clientId, clientSecret, autologin, **kwargs)
        self.serverURL = _base(serverURL, "GitHubAuth: serverURL") if serverURL else self.server
        self.apiURL = f"{self.serverURL}/api/v3" if serverURL else self.api
        self.apiVersion = apiVersion
        self.getTeamsMembership = bool(getTeamsMembership)
        if apiVersion not in (3, 4):
            error(f"GitHubAuth: apiVersion must be 3 or 4, and is {apiVersion!r}")


class GitLabAuth(OAuth2Auth):
    """Users of the GitLab at ``instanceUri``. Groups are the full paths of those that the user is a member
    of (``tools/ci`` for a subgroup: anybody can call a subgroup of their own ``ci``).

    Without ``scope`` GitLab gives what it gives by default, ``api``; an application that is registered with
    ``read_api`` alone needs ``scope="read_api"``.

    Example::

        c["www"] = {
            "port": 8010,
            "auth": util.GitLabAuth(
                "https://gitlab.example.org",
                "client-id",
                util.Secret("gitlab-client-secret"),
                scope="read_api",
            ),
        }
    """

    kind = "GitLabAuth"
    title = "GitLab"
    icon = "fa-git"

    def __init__(
        self,
        instanceUri: str,
        clientId: Any,
        clientSecret: Any,
        autologin: bool = False,
        ssl_verify: bool = True,
        scope: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(clientId, clientSecret, autologin, ssl_verify, **kwargs)
        self.instanceUri = _base(instanceUri, "GitLabAuth: instanceUri")
        self.scope = scope


class BitbucketAuth(OAuth2Auth):
    """Users of Bitbucket Cloud. Groups are the slugs of the user's workspaces; the address is the primary
    one, if it is confirmed.

    Example::

        c["www"] = {
            "port": 8010,
            "auth": util.BitbucketAuth("client-id", util.Secret("bitbucket-client-secret")),
        }
    """

    kind = "BitbucketAuth"
    title = "Bitbucket"
    icon = "fa-bitbucket"
    server: ClassVar[str] = "https://bitbucket.org"
    api: ClassVar[str] = "https://api.bitbucket.org"


class OIDCAuth(OAuth2Auth):
    """Users of any OpenID Connect provider (Keycloak, Authentik, Entra ID, Dex). ``issuer`` is its address;
    all else is read from ``<issuer>/.well-known/openid-configuration``.

    ``usernameClaim`` and ``groupsClaim`` say which claims of the ID token, or of the provider's answer about
    the user, hold name and groups; a name with dots leads into objects (``realm_access.roles``). An address
    that the provider doesn't call verified is left out, unless ``verifiedEmailOnly`` is False.

    Example::

        c["www"] = {
            "port": 8010,
            "auth": util.OIDCAuth(
                "https://id.example.org/realms/staff", "buildwright", util.Secret("oidc-client-secret")
            ),
        }
    """

    kind = "OIDCAuth"
    title = "OpenID Connect"
    icon = "fa-openid"

    def __init__(
        self,
        issuer: str,
        clientId: Any,
        clientSecret: Any,
        autologin: bool = False,
        ssl_verify: bool = True,
        scopes: Sequence[str] = ("openid", "email", "profile"),
        usernameClaim: str = "preferred_username",
        groupsClaim: str = "groups",
        verifiedEmailOnly: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(clientId, clientSecret, autologin, ssl_verify, **kwargs)
        self.issuer = _base(issuer, f"{self.what}: issuer", keep=True)
        self.scopes = list(dict.fromkeys(("openid", *scopes)))
        self.usernameClaim = usernameClaim
        self.groupsClaim = groupsClaim
        self.verifiedEmailOnly = bool(verifiedEmailOnly)
        self.name = name or self.title

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"name": self.name}


class GoogleAuth(OIDCAuth):
    """Users of Google. Their name is their whole address: its first part alone could be anybody's.

    Example::

        c["www"] = {
            "port": 8010,
            "auth": util.GoogleAuth("client-id", util.Secret("google-client-secret")),
        }
    """

    kind = "GoogleAuth"
    title = "Google"
    icon = "fa-google-plus"
    google: ClassVar[str] = "https://accounts.google.com"

    def __init__(
        self,
        clientId: Any,
        clientSecret: Any,
        autologin: bool = False,
        ssl_verify: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            self.google, clientId, clientSecret, autologin, ssl_verify, usernameClaim="email", **kwargs
        )


def _base(url: Any, what: str, *, keep: bool = False) -> str:
    if not expect(url, str, what, "a URL"):
        return ""
    if not url.startswith(("https://", "http://")):
        error(f"{what} must be a URL, not {url!r}", "as in 'https://example.org'")
    return str(url) if keep else str(url).rstrip("/")
