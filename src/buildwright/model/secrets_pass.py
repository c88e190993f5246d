"""Secrets in a password store: the program ``pass``, which keeps each in a file that GnuPG has encrypted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from pathlib import Path

from buildwright.model.errors import error, expect, from_basedir
from buildwright.model.secrets import SecretUnavailable

SECONDS = 60.0


class SecretInPass:
    """Secrets that ``pass`` knows by their names, all their lines.

    ``dirname`` is the store's directory (relative to the master's base directory); without it, it is pass's
    own: ``PASSWORD_STORE_DIR`` or ``~/.password-store``. ``gpgPassphrase`` opens the key; without it, GnuPG's
    agent must. It is handed over through a pipe, so no list of processes shows it.

    Example::

        c["secretsProviders"].append(secrets.SecretInPass(dirname="password-store"))
    """

    def __init__(self, gpgPassphrase: str | None = None, dirname: str | Path | None = None) -> None:
        self._passphrase = gpgPassphrase
        self.dirname = str(dirname) if dirname is not None else None
        self._directory = Path(os.environ.get("PASSWORD_STORE_DIR") or Path.home() / ".password-store")
        if gpgPassphrase is not None:
            expect(gpgPassphrase, str, "SecretInPass: gpgPassphrase", "text")
        if shutil.which("pass") is None:
            error("SecretInPass: there is no program 'pass'", "install it: apt install pass")
        if dirname is not None and expect(
            dirname, (str, Path), "SecretInPass: dirname", "a directory's path"
        ):
            self._directory = from_basedir(self.dirname or "").absolute()
            if not self._directory.is_dir():
                error(
                    f"SecretInPass: there is no directory {str(self._directory)!r}",
                    "make the store: PASSWORD_STORE_DIR=... pass init KEY",
                )

    async def get(self, name: str) -> str | None:
        """The value, or None if the store has no such entry. Raises SecretUnavailable."""
        path = self._directory / f"{name}.gpg"
        if ".." in Path(name).parts or not path.is_file():
            return None
        environment = {**os.environ, "PASSWORD_STORE_DIR": str(self._directory)}
        if self._passphrase is None:
            return await self._shown(name, environment, ())
        reading, writing = os.pipe()
        try:
            os.write(writing, self._passphrase.encode() + b"\n")
            os.close(writing)
            environment["PASSWORD_STORE_GPG_OPTS"] = (
                f"--batch --pinentry-mode loopback --passphrase-fd {reading}"
            )
            return await self._shown(name, environment, (reading,))
        finally:
            os.close(reading)

    async def _shown(self, name: str, environment: dict[str, str], fds: tuple[int, ...]) -> str:
        process = await asyncio.create_subprocess_exec(
            "pass",
            "show",
            "--",
            name,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            pass_fds=fds,
        )
        try:
            async with asyncio.timeout(SECONDS):
                out, err = await process.communicate()
        except TimeoutError:
            raise SecretUnavailable(
                f"secret {name!r}: pass has not answered within {SECONDS:.0f} s"
            ) from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            why = " ".join(err.decode("utf-8", "replace").split())[:200]
            raise SecretUnavailable(f"secret {name!r}: pass has failed: {why or process.returncode}")
        return out.decode("utf-8", "surrogateescape").rstrip("\r\n")

    def __repr__(self) -> str:
        return f"SecretInPass(dirname={self.dirname!r})"
