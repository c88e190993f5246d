"""Names of Buildbot's plugins that aren't here: those that are yet to come, and those that are refused, and
why.

What a configuration that asks for one is told, and what the table of all names says. A name that the
plugins have is not looked up here.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Kind = Literal["later", "refused"]


class Absent(NamedTuple):
    """Why a name isn't here."""

    kind: Kind
    why: str

    def __str__(self) -> str:
        return f"{'refused' if self.kind == 'refused' else 'not here yet'}: {self.why}"


_CHAT: Final = Absent("later", "reporters to chats")
_HOOKS: Final = Absent("later", "hooks of forges; GitPoller sees the same changes")
_LATENT: Final = Absent("later", "workers that are started for their builds (latent workers)")
_PICTURES: Final = Absent("refused", "the page shows no pictures of people")
_REPORTERS: Final = Absent("later", "reporters: mails, comments and states at forges")
_STATISTICS: Final = Absent("later", "statistics of builds; /metrics serves those of the master")

_CONSOLE: Final = Absent(
    "refused",
    "a console in the running master lets everyone who reaches it do anything; look at it with the data API, "
    "/metrics and `buildwright builds`",
)
_DEAD: Final = Absent("refused", "its tool is dead")
_OWN_CI: Final = Absent("refused", "it reads the files of a CI service that is gone")

# Of whole namespaces, where a name has no entry of its own. Those that aren't here have all their names.
NAMESPACES: Final[dict[str, Absent]] = {
    "buildslave": Absent("refused", "it has been `worker` since Buildbot 0.9"),
    "machine": _LATENT,
    "reporters": _REPORTERS,
    "statistics": _STATISTICS,
    "webhooks": _HOOKS,
    "worker": _LATENT,
}

NAMES: Final[dict[str, Absent]] = {
    **dict.fromkeys(("reporters.IRC", "reporters.TelegramBot", "reporters.ZulipStatusPush"), _CHAT),
    **dict.fromkeys(("steps.BuildEPYDoc", "steps.HLint", "steps.MTR", "steps.MaxQ"), _DEAD),
    **dict.fromkeys(("steps.BuildbotCiSetupSteps", "steps.BuildbotTestCiTrigger"), _OWN_CI),
    **dict.fromkeys(("util.AvatarGitHub", "util.AvatarGravatar"), _PICTURES),
    "util.LdapUserInfo": Absent(
        "refused",
        "a directory is asked by way of OpenID Connect (util.OIDCAuth), a proxy (util.RemoteUserAuth) or a "
        "userInfoProvider of your own",
    ),
    **dict.fromkeys(
        (
            "util.Connection",
            "util.KubeCtlProxyConfigLoader",
            "util.KubeHardcodedConfig",
            "util.KubeInClusterConfigLoader",
        ),
        _LATENT,
    ),
    **dict.fromkeys(("util.AuthorizedKeysManhole", "util.PasswordManhole", "util.TelnetManhole"), _CONSOLE),
    "util.CommandlineUserManager": Absent(
        "refused", "there are no stored users; c['www']['auth'] says who may log in"
    ),
    "util.DbConfig": Absent(
        "refused",
        "a configuration that depends on what a database holds can be neither checked nor repeated; read a "
        "file beside it",
    ),
    "webhooks.gitorious": Absent("refused", "its forge is gone"),
}


def absent(namespace: str, name: str) -> Absent | None:
    """Why a namespace lacks a name of Buildbot's; None for a name that nobody knows."""
    found = NAMES.get(f"{namespace}.{name}")
    return found if found is not None else NAMESPACES.get(namespace)
