"""How git reaches a repository: keys, known hosts and passwords, for whoever runs git, worker or master.

Nothing secret is on a command line, in a repository's configuration or in an environment. Keys and passwords
are in files of a directory that lives as long as the one command does, and that `BUILDWRIGHT_PRIVATE` names
to it:

    key           the private ssh key
    known_hosts   what the host's key must be
    credentials   addresses with user and password, as `git credential-store` reads them

A password in an http address is taken out of it and put there, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from buildwright.model.arguments import Checked
from buildwright.model.errors import error, expect, shown
from buildwright.model.properties import Properties
from buildwright.model.renderable import is_renderable, render

PRIVATE = "BUILDWRIGHT_PRIVATE"
SSH_PORT = 22
_STORE = f'store --file="${PRIVATE}/credentials"'
_SCP_LIKE = re.compile(r"(?!\w+://)[^/]+:(?!:)")


class AccessError(Exception):
    """What was given can't be used to reach a repository: says why, without the secret."""


class GitCredentialInputRenderer:
    """One credential: `protocol`, `host`, `path`, `username`, `password`, or `url` for the first three.

    Example::

        login = util.GitCredentialInputRenderer(
            url="https://git.example.org", username="ci", password=util.Secret("git-password")
        )
        factory.addStep(
            steps.Git(
                repourl="https://git.example.org/project.git",
                git_credentials=util.GitCredentialOptions([login]),
            )
        )
    """

    def __init__(self, **attributes: Any) -> None:
        for name in attributes:
            if name not in _ATTRIBUTES:
                known = ", ".join(_ATTRIBUTES)
                error(f"GitCredentialInputRenderer takes no {name!r}", f"a credential has {known}")
        self.attributes = attributes

    async def getRenderingFor(self, props: Properties) -> str:
        values = await render(self.attributes, props)
        return "".join(f"{name}={value}\n" for name, value in values.items() if value is not None)

    def __repr__(self) -> str:
        return f"GitCredentialInputRenderer({', '.join(self.attributes)})"


class GitCredentialOptions(metaclass=Checked):
    """The credentials that git may use; with ``use_http_path`` also the path of an address counts.

    Example::

        logins = util.GitCredentialOptions(
            credentials=[
                util.GitCredentialInputRenderer(url=url, username="ci", password=util.Secret("git-password"))
                for url in ("https://git.example.org/tools", "https://git.example.org/libraries")
            ],
            use_http_path=True,
        )
        factory.addStep(
            steps.Git(repourl="https://git.example.org/tools", submodules=True, git_credentials=logins)
        )
    """

    def __init__(self, credentials: Any, use_http_path: bool | None = None) -> None:
        if not is_renderable(credentials):
            expect(credentials, (list, tuple), "GitCredentialOptions: credentials", "a list")
        self.credentials = credentials
        self.use_http_path = use_http_path

    async def getRenderingFor(self, props: Properties) -> dict[str, Any]:
        return {
            "credentials": [str(each) for each in await render(self.credentials, props)],
            "use_http_path": self.use_http_path,
        }

    def __repr__(self) -> str:
        return f"GitCredentialOptions({len(self.credentials)} credentials)"


_ATTRIBUTES = ("url", "protocol", "host", "path", "username", "password")
ACCESS_ARGUMENTS = ("sshPrivateKey", "sshHostKey", "sshKnownHosts", "auth_credentials", "git_credentials")


def check_access(
    what: str,
    *,
    sshPrivateKey: Any,
    sshHostKey: Any,
    sshKnownHosts: Any,
    auth_credentials: Any,
    git_credentials: Any,
    port: Any,
) -> None:
    """Check the arguments of a step or poller."""
    if isinstance(sshPrivateKey, str) and "PRIVATE KEY" not in sshPrivateKey:
        error(f"{what}: sshPrivateKey must be the private key itself", "as in util.Secret('deploy-key')")
    if sshHostKey is not None and sshKnownHosts is not None:
        error(f"{what} takes sshHostKey or sshKnownHosts, not both")
    if auth_credentials is not None and not is_renderable(auth_credentials):
        pair = isinstance(auth_credentials, list | tuple) and len(auth_credentials) == 2
        if not pair:
            given = shown(auth_credentials) if isinstance(auth_credentials, str) else type(auth_credentials)
            error(f"{what}: auth_credentials must be (user, password), not {given}")
    if git_credentials is not None and not is_renderable(git_credentials):
        error(
            f"{what}: git_credentials must be a GitCredentialOptions, not {shown(git_credentials)}",
            "as in util.GitCredentialOptions(credentials=[...])",
        )
    expect(port, int, f"{what}: port", "a number")


@dataclass(frozen=True, slots=True)
class GitAccess:
    """What the commands of git need, to reach a repository."""

    url: str  # without a password
    settings: Sequence[tuple[str, str]] = ()  # configuration, for `git -c`
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)  # private ones: name and content

    @property
    def options(self) -> list[str]:
        """The settings as words of a command line."""
        return [word for name, value in self.settings for word in ("-c", f"{name}={value}")]


def git_access(
    url: str,
    *,
    port: int = SSH_PORT,
    sshPrivateKey: str | None = None,
    sshHostKey: str | None = None,
    sshKnownHosts: str | None = None,
    auth_credentials: Sequence[str] | None = None,
    git_credentials: Mapping[str, Any] | None = None,
) -> GitAccess:
    """How to reach a repository, of rendered arguments. Raises AccessError."""
    files: dict[str, str] = {}
    settings: list[tuple[str, str]] = []
    url, found = _without_credentials(url)
    if auth_credentials is not None:
        user, password = auth_credentials
        found.append(_stored(f"url={url}\nusername={user}\npassword={password}"))
    if git_credentials is not None:
        found += [_stored(text) for text in git_credentials["credentials"]]
        if git_credentials["use_http_path"] is not None:
            settings.append(("credential.useHttpPath", str(bool(git_credentials["use_http_path"])).lower()))
    if found:
        files["credentials"] = "".join(f"{line}\n" for line in found)
        settings += [("credential.helper", ""), ("credential.helper", _STORE)]
    environment = {"GIT_TERMINAL_PROMPT": "0"}
    ssh = ["ssh", "-o", "BatchMode=yes"]
    if sshPrivateKey is not None:
        files["key"] = _text_file(sshPrivateKey)
        ssh += ["-o", "IdentitiesOnly=yes", "-i", f'"${PRIVATE}/key"']
    if sshKnownHosts is not None or sshHostKey is not None:
        files["known_hosts"] = _text_file(sshKnownHosts if sshKnownHosts is not None else f"* {sshHostKey}")
        # ssh itself splits the value at blanks, so the quotes are for it; the shell has its own.
        ssh += ["-o", f'"UserKnownHostsFile=\\"${PRIVATE}/known_hosts\\""']
        ssh += ["-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes"]
    if port != SSH_PORT and _has_no_port(url):
        ssh += ["-p", str(int(port))]
    if len(ssh) > 3:
        environment["GIT_SSH_COMMAND"] = " ".join(ssh)
    return GitAccess(url, settings, environment, files)


def why_unreachable(said: str) -> str:
    """What to do about a message of git's or ssh's; empty if that says it all."""
    if "Host key verification failed" in said or "REMOTE HOST IDENTIFICATION HAS CHANGED" in said:
        return (
            "the host's key is not the expected one: check sshHostKey or sshKnownHosts, or who answers there"
        )
    if re.search(r"error in libcrypto|invalid format|Load key ", said):
        return "ssh can't read the key: check that sshPrivateKey is a whole private key without a passphrase"
    if "Permission denied (publickey" in said:
        return "the host doesn't accept the ssh key: check sshPrivateKey"
    if "could not read Username" in said or "could not read Password" in said:
        return "the server wants a user and a password: give auth_credentials or git_credentials"
    if "Authentication failed" in said:
        return "the server doesn't accept the user and password: check auth_credentials or git_credentials"
    return ""


def _text_file(text: str) -> str:
    return str(text).replace("\r\n", "\n").rstrip("\n") + "\n"


def _has_no_port(url: str) -> bool:
    if url.startswith("ssh://"):
        try:
            return urlsplit(url).port is None
        except ValueError:
            return False
    return _SCP_LIKE.match(url) is not None


def _without_credentials(url: str) -> tuple[str, list[str]]:
    """An address without its password, and that as a line for credential-store."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return url, []
    if not password or parts.scheme not in ("http", "https"):
        return url, []
    user, _, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    plain = urlunsplit(parts._replace(netloc=f"{name}@{host}"))
    said = f"protocol={parts.scheme}\nhost={host}\nusername={unquote(name)}\npassword={unquote(password)}"
    return plain, [_stored(said)]


def _stored(text: str) -> str:
    """A credential, given as lines of name=value, as a line for credential-store."""
    said = dict(_pairs(text.splitlines()))
    if "url" in said:
        parts = urlsplit(said.pop("url"))
        user, _, host = parts.netloc.rpartition("@")
        of_url = {"protocol": parts.scheme, "host": host, "path": parts.path.lstrip("/")}
        if user:
            of_url["username"] = unquote(user.partition(":")[0])
        said = {**of_url, **said}
    for name in ("protocol", "host", "username", "password"):
        if not said.get(name):
            raise AccessError(f"a git credential has no {name}: it needs a url, a username and a password")
    login = f"{quote(said['username'], safe='')}:{quote(said['password'], safe='')}"
    return f"{said['protocol']}://{login}@{said['host']}/{quote(said.get('path') or '')}".rstrip("/")


def _pairs(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        if not line.strip():
            continue
        name, equals, value = line.partition("=")
        if not equals or name not in _ATTRIBUTES:
            raise AccessError(f"a git credential must be lines of name=value with {', '.join(_ATTRIBUTES)}")
        yield name, value
