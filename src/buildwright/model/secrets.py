"""Secrets providers: where a secret's value comes from, by its name.

Providers are asked in the order of ``c['secretsProviders']``; the first that knows the name answers. Values
are part of no fingerprint, message or repr. Those in files and in the environment are read when the
configuration loads, so that one that can't be read is an error of the configuration.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from buildwright.model.arguments import Checked
from buildwright.model.errors import error, expect, from_basedir


class SecretUnavailable(Exception):
    """A provider knows the secret, or may know it, and can't get at it; the text says why, without it."""


@runtime_checkable
class SecretsProvider(Protocol):
    """Something that knows secrets."""

    async def get(self, name: str) -> str | None:
        """The value, or None if this provider doesn't know the name."""
        ...


class SecretInAFile(metaclass=Checked):
    """One file per secret in a directory (relative to the master's base directory); a file that others than
    its owner and group may touch is refused.

    Example::

        c["secretsProviders"].append(secrets.SecretInAFile("secrets"))
    """

    def __init__(
        self, dirname: str | Path, suffixes: Sequence[str] | None = None, strip: bool = True
    ) -> None:
        self.dirname = str(dirname)
        self.suffixes = list(suffixes) if suffixes is not None else [""]
        self.strip = strip
        self._directory = from_basedir(self.dirname)
        self._values: dict[str, str] = {}
        if expect(dirname, (str, Path), "SecretInAFile: dirname", "a directory's path"):
            self._read()

    def _read(self) -> None:
        try:
            names = sorted(path.name for path in self._directory.iterdir())
        except (OSError, ValueError) as problem:
            why = getattr(problem, "strerror", None) or problem
            error(
                f"SecretInAFile: {str(self._directory)!r} can't be read: {why}",
                "a directory with a file for each secret",
            )
            return
        for suffix in self.suffixes:
            for filename in names:
                if filename.endswith(suffix):
                    name = filename.removesuffix(suffix)
                    value = self._value(self._directory / filename)
                    if value is not None:
                        self._values.setdefault(name, value)

    def _value(self, path: Path) -> str | None:
        try:
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                return None
            if mode & 0o007:
                error(
                    f"SecretInAFile: others may read or write {str(path)!r} (mode {stat.S_IMODE(mode):03o})",
                    f"chmod o-rwx {path}",
                )
                return None
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as problem:
            why = getattr(problem, "strerror", None) or "it is not text"
            error(f"SecretInAFile: {str(path)!r} can't be read: {why}")
            return None
        return text.rstrip("\r\n") if self.strip else text

    async def get(self, name: str) -> str | None:
        """The value, or None if there is no such file."""
        return self._values.get(name)

    def __repr__(self) -> str:
        return f"SecretInAFile({self.dirname!r})"


class SecretInEnvironment(metaclass=Checked):
    """One environment variable of the master's process per secret: ``prefix`` and the secret's name in
    capitals, with ``_`` for what is neither letter nor digit (``BUILDWRIGHT_SECRET_UPLOAD_TOKEN`` is
    ``upload-token``).

    Variables with that prefix are taken out of the process's environment, so that none of the processes that
    it starts (local workers, steps on the master) inherits them.

    Example::

        c["secretsProviders"].append(secrets.SecretInEnvironment(prefix="CI_SECRET_"))
    """

    def __init__(self, prefix: str = "BUILDWRIGHT_SECRET_") -> None:
        self.prefix = prefix
        if expect(prefix, str, "SecretInEnvironment: prefix", "text") and not prefix:
            error("SecretInEnvironment: prefix must not be empty: it would take everything")
            return
        for name in [name for name in os.environ if name.startswith(self.prefix)]:
            _from_environment[name] = os.environ.pop(name)

    async def get(self, name: str) -> str | None:
        """The value, or None if there was no such variable."""
        plain = "".join(each if each.isascii() and each.isalnum() else "_" for each in name)
        return _from_environment.get(self.prefix + plain.upper())

    def __repr__(self) -> str:
        return f"SecretInEnvironment({self.prefix!r})"


# What was taken out of the process's environment, for the loads to come.
_from_environment: dict[str, str] = {}
