"""Whether a password is a user's: of the configuration, of an htpasswd file, or by a function of the user's.

A hash costs its checker a noticeable time, so it is done in a thread, two at a time. For a name that isn't
there another user's password is compared all the same, so that how long it takes doesn't say who is there.
Comparisons take no time that depends on how much is right."""

from __future__ import annotations

import asyncio
import hmac
import inspect
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from buildwright.model.logins import CustomAuth, HTPasswdAuth, PasswordAuth, UserPasswordAuth
from buildwright.model.properties import Properties, SecretSource
from buildwright.model.render import render

if TYPE_CHECKING:
    from passlib.context import CryptContext

log = structlog.get_logger(__name__)

# Nobody's password is spelled like one of these, so a hash can stand where a password does.
_STRONG = ("bcrypt", "sha512_crypt", "sha256_crypt", "apr_md5_crypt", "md5_crypt")
_OF_FILES = (*_STRONG, "ldap_sha1", "ldap_salted_sha1", "des_crypt")
_BCRYPT_READS = 72  # bytes of a password; Apache's htpasswd cuts there, too
_LONGEST = 1024


@cache
def _context(schemes: tuple[str, ...]) -> CryptContext:
    from passlib.context import CryptContext

    return CryptContext(schemes=list(schemes))


def is_hash(stored: str) -> bool:
    """Whether a password of the configuration is the hash of one."""
    if not stored.startswith("$"):
        return False
    context = _context(_STRONG)
    scheme = context.identify(stored)
    try:
        return scheme is not None and bool(context.handler(scheme).from_string(stored).checksum)
    except ValueError:
        return False


def fits(password: str, stored: str, *, hashed: bool) -> bool:
    """Whether a password is the stored one; slow for a hash. One that nobody can read fits nothing."""
    if not hashed:
        return hmac.compare_digest(password.encode(), stored.encode())
    context = _context(_OF_FILES)
    given = password.encode()
    try:
        if context.identify(stored) == "bcrypt":
            given = given[:_BCRYPT_READS]
        return bool(context.verify(given, stored))
    except (ValueError, TypeError):
        return False


class Passwords:
    """Checks passwords, two at a time."""

    def __init__(self) -> None:
        self._at_once = asyncio.Semaphore(2)

    async def check(self, auth: PasswordAuth, username: str, password: str, secrets: SecretSource) -> bool:
        """Whether this is the user's password; raises what a user's own function raises."""
        if not username or not password or len(username) > _LONGEST or len(password) > _LONGEST:
            return False
        if isinstance(auth, CustomAuth):
            return await self._ask(auth, username, password)
        if isinstance(auth, UserPasswordAuth):
            stored, known = await _configured(auth, username, secrets)
            hashed = is_hash(stored)
        elif isinstance(auth, HTPasswdAuth):
            users = await asyncio.to_thread(read_htpasswd, auth.passwdFile)
            known = username in users
            stored, hashed = users.get(username) or next(iter(users.values()), ""), True
        else:
            return False
        async with self._at_once:
            return await asyncio.to_thread(fits, password, stored, hashed=hashed) and known

    async def _ask(self, auth: CustomAuth, username: str, password: str) -> bool:
        if inspect.iscoroutinefunction(auth.check_credentials):
            return bool(await auth.check_credentials(username, password))
        async with self._at_once:
            found = await asyncio.to_thread(auth.check_credentials, username, password)
        return bool(await found if inspect.isawaitable(found) else found)


def knows(auth: PasswordAuth, username: str) -> bool:
    """Whether a user who has logged in may still be one; a user's own code isn't asked again."""
    if isinstance(auth, UserPasswordAuth):
        return username in auth.users
    if isinstance(auth, HTPasswdAuth):
        return username in read_htpasswd(auth.passwdFile)
    return True


async def _configured(auth: UserPasswordAuth, username: str, secrets: SecretSource) -> tuple[str, bool]:
    properties = Properties()
    properties.secret_source = secrets
    known = username in auth.users
    stored: Any = auth.users.get(username) or next(iter(auth.users.values()), "")
    return str(await render(stored, properties)), known


def read_htpasswd(path: Path) -> dict[str, str]:
    """The users of a file and the hashes of their passwords; nobody, if it can't be read."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        log.warning("the file of users can't be read: nobody can log in", file=str(path), why=str(problem))
        return {}
    pairs = (line.strip().partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: hashed for name, colon, hashed in pairs if name and colon and hashed}
