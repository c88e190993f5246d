"""A worker's directory: its configuration, its password, and where its own files are.

    worker.json            masters, name and limits; made by `buildwright-worker create`, meant to be edited
    password               the password, readable by its owner only
    info/admin, info/host  what people should know about this worker; shown on its page
    .buildwright/          the worker's own: lock, ledger, spool, private files of commands, marks of use

Errors of the user's are `ConfigError`: what, where, and what to do.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .spool import DISK_LIMIT

PASSWORD_VARIABLE = "BUILDWRIGHT_WORKER_PASSWORD"  # noqa: S105  # a variable's name
CONFIG_FILE = "worker.json"
PASSWORD_FILE = "password"  # noqa: S105  # a file's name
OWN_DIRECTORY = ".buildwright"
_KNOWN = ("masters", "name", "spool_limit", "ca_file", "certificate", "unused_days")


class ConfigError(Exception):
    """The user can mend this: the text says what is wrong, where, and what to do."""


def own_environment() -> dict[str, str]:
    """This process's environment, as commands get it."""
    return {name: value for name, value in os.environ.items() if name != PASSWORD_VARIABLE}


@dataclass(frozen=True)
class AgentConfig:
    """All that an `Agent` needs."""

    basedir: Path
    masters: list[str]  # URLs, tried in turn
    name: str
    password: str = field(repr=False)
    spool_limit: int = DISK_LIMIT  # bytes on disk for records that no master has taken yet
    ca_file: str | None = None  # certificates to trust for wss:, besides the system's
    certificate: str | None = None  # the master's own: trust exactly this one, whatever names it is made for
    unused_days: float | None = None  # after which a directory that commands have made is removed
    environ: dict[str, str] = field(default_factory=own_environment, repr=False)

    @property
    def own_directory(self) -> Path:
        return self.basedir / OWN_DIRECTORY

    @property
    def private_directory(self) -> Path:
        """Where commands have files that nobody else may read, each for as long as it runs."""
        return self.own_directory / "private"

    @property
    def lock_path(self) -> Path:
        return self.own_directory / "lock"


def master_url(text: str) -> str:
    """The WebSocket URL of a master, from what people write: host:port, or a URL with or without a path."""
    url = text if "://" in text else f"ws://{text}"
    url = re.sub(r"^http(s?)://", r"ws\1://", url)
    parts = urlsplit(url)
    try:
        usable = parts.scheme in ("ws", "wss") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.username is not None:
        raise ConfigError(
            f"{text!r} is no master's address: write ws://HOST:PORT, wss://HOST:PORT or HOST:PORT"
        )
    path = parts.path if parts.path not in ("", "/") else "/worker"
    return f"{parts.scheme}://{parts.netloc}{path}"


def create(
    basedir: Path,
    masters: list[str],
    name: str,
    password: str | None,
    password_file: Path | None,
    **others: Any,
) -> AgentConfig:
    """Make a worker's directory, or update its configuration; what isn't given stays as it is."""
    content: dict[str, Any] = {**_content_of(basedir), "masters": [master_url(master) for master in masters]}
    content |= {"name": name, **others}
    if not name or ":" in name or not name.isprintable():
        raise ConfigError(f"{name!r} can't be a worker's name: it must be printable and without a colon")
    try:
        (basedir / "info").mkdir(parents=True, exist_ok=True)
        (basedir / OWN_DIRECTORY).mkdir(exist_ok=True)
        if password_file is not None:
            password = password_file.read_text(encoding="utf-8").rstrip("\r\n")
        if password:
            _write_private(basedir / PASSWORD_FILE, password + "\n")
        elif not (basedir / PASSWORD_FILE).exists():
            raise ConfigError(
                f"no password: give --password-file or --password, or set {PASSWORD_VARIABLE} "
                "(for `create` or at each `start`)"
            )
        (basedir / CONFIG_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        for info, default in (("admin", "Your Name Here <admin@example.org>\n"), ("host", _host_text())):
            path = basedir / "info" / info
            if not path.exists():
                path.write_text(default, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"can't set up {basedir}: {error.filename}: {error.strerror}") from error
    return load(basedir)


def load(basedir: Path, password: str | None = None) -> AgentConfig:
    """The configuration of a worker's directory; the password given comes before the one in the file."""
    path = basedir / CONFIG_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{basedir} is no worker's directory, {CONFIG_FILE} is missing: "
            f"run `buildwright-worker create {basedir} URL NAME`"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error
    if not isinstance(content, dict) or (unknown := [key for key in content if key not in _KNOWN]):
        what = f"unknown key {unknown[0]!r}" if isinstance(content, dict) else "not a JSON object"
        raise ConfigError(f"{path}: {what}; it may have {', '.join(_KNOWN)}")
    masters, name, limit = content.get("masters"), content.get("name"), content.get("spool_limit", DISK_LIMIT)
    if not isinstance(masters, list) or not masters or not all(isinstance(one, str) for one in masters):
        raise ConfigError(f'{path}: "masters" must be a list of addresses, as ["ws://host:8010"]')
    if not isinstance(name, str) or not name:
        raise ConfigError(f'{path}: "name" must be the name that the master knows this worker by')
    if not isinstance(limit, int) or limit < 0:
        raise ConfigError(f'{path}: "spool_limit" must be a number of bytes')
    days = content.get("unused_days")
    if days is not None and (isinstance(days, bool) or not isinstance(days, (int, float)) or days <= 0):
        raise ConfigError(f'{path}: "unused_days" must be a number of days, more than none')
    ca_file, certificate = (_file_in(basedir, content, key) for key in ("ca_file", "certificate"))
    return AgentConfig(
        basedir=basedir.absolute(),
        masters=[master_url(master) for master in masters],
        name=name,
        password=password or _read_password(basedir / PASSWORD_FILE),
        spool_limit=limit,
        ca_file=ca_file,
        certificate=certificate,
        unused_days=days,
    )


def _file_in(basedir: Path, content: dict[str, Any], key: str) -> str | None:
    file = content.get(key)
    if file is None:
        return None
    if not isinstance(file, str) or not (basedir / file).is_file():
        raise ConfigError(f'{basedir / CONFIG_FILE}: "{key}" must name a file of certificates')
    return str(basedir / file)


def _content_of(basedir: Path) -> dict[str, Any]:
    """What the directory's configuration says by now, as far as it is understood."""
    try:
        content = json.loads((basedir / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: content[key] for key in _KNOWN if key in content} if isinstance(content, dict) else {}


def _read_password(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(
            f"no password: {path}: {error.strerror}; write it there (mode 600) or set {PASSWORD_VARIABLE}"
        ) from None


def _write_private(path: Path, text: str) -> None:
    """The file is never readable by others, not even while it is written."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


def _host_text() -> str:
    system = os.uname()
    return f"{system.nodename}: {system.sysname} {system.release} on {system.machine}\n"
