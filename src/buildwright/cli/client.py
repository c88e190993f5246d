"""Talking to a master over its data API.

Which master: ``--url`` or BUILDWRIGHT_URL, else the one that runs on the basedir, whose own ``status.json``
says where it listens (with TLS it is trusted by the very certificate it was configured with). Acting needs a
token where there are tokens: ``--token`` or BUILDWRIGHT_TOKEN.

Everything that can go wrong ends in one :class:`Failure`. A master that is away is a :class:`Away`: who
follows something waits then, since builds outlive their master.
"""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlsplit

import aiohttp
import click
from yarl import URL

from buildwright import __version__
from buildwright.cli import status
from buildwright.cli.basedir import BASEDIR, CONFIGURATION
from buildwright.cli.faults import Failure

R = TypeVar("R")
Command = Callable[..., Any]

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
TRIES = 3


class Away(Failure):
    """Nobody answers at the master's address."""


class NotThere(Failure):
    """The master has nothing at this path."""


@dataclass(frozen=True, slots=True)
class Where:
    """A master's address, and how to be trusted there."""

    url: str | None
    token: str | None
    ca_file: Path | None
    basedir: Path | None


def on_a_master(function: Command) -> Command:
    """Give a command the options that name a master; it gets them as ``where``, and may be a coroutine."""

    @click.option("--url", envvar="BUILDWRIGHT_URL", help="The master's address, as its web page has it.")
    @click.option(
        "--token", envvar="BUILDWRIGHT_TOKEN", help="An API token, as `buildwright token` makes it."
    )
    @click.option(
        "--ca-file",
        envvar="BUILDWRIGHT_CA_FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Certificates to trust for https, instead of the system's.",
    )
    @click.option("--basedir", type=BASEDIR, help="The directory of a master on this machine.")
    @functools.wraps(function)
    def command(
        url: str | None, token: str | None, ca_file: Path | None, basedir: Path | None, **options: Any
    ) -> Any:
        return run(function(where=Where(url or None, token or None, ca_file, basedir), **options))

    return command


def run(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run a command's coroutine; Ctrl-C ends it as it ends any program."""
    try:
        return asyncio.run(coroutine)
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None


class Master:
    """The data API of one master."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self.base = base

    async def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET; a list of values repeats the parameter."""
        return await self._answer("GET", path, params=_flat(query))

    async def all(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """The things of a collection, in the order asked for."""
        answer = await self.get(path, **query)
        return cast("list[dict[str, Any]]", next(value for key, value in answer.items() if key != "meta"))

    async def one(self, path: str, **query: Any) -> dict[str, Any]:
        """One thing."""
        return (await self.all(path, **query))[0]

    async def act(self, path: str, method: str, params: dict[str, Any], key: str) -> Any:
        """Call a method. ``key`` makes repeating it safe, so it is repeated when the connection breaks."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        for tries in range(TRIES):
            try:
                answer = await self._answer("POST", path, json=body, headers={"Idempotency-Key": key})
            except Away:
                if tries == TRIES - 1:
                    raise
                await asyncio.sleep(tries)
            else:
                return answer["result"]
        raise AssertionError  # the last try has returned or raised

    async def stream(self, path: str, **query: Any) -> AsyncIterator[bytes]:
        """The bytes of an answer, as they come."""
        async with self._request("GET", path, params=_flat(query)) as response:
            async for piece in response.content.iter_chunked(256 * 1024):
                yield piece

    @asynccontextmanager
    async def events(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A connection for events."""
        async with self._session.ws_connect(self.base + "ws", heartbeat=30, compress=0) as socket:
            yield socket

    async def _answer(self, method: str, path: str, **arguments: Any) -> Any:
        async with self._request(method, path, **arguments) as response:
            return await response.json(content_type=None)

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, **arguments: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = URL(f"{self.base}api/v2/{quote(path, safe='/%')}", encoded=True)
        try:
            async with self._session.request(method, url, **arguments) as response:
                if response.status >= 400:
                    raise await self._refused(response)
                if not path.endswith("/raw") and response.content_type != "application/json":
                    raise Failure(
                        f"at {self.base} is something, but no Buildwright master: check the address"
                    )
                yield response
        except aiohttp.ClientConnectorCertificateError as error:
            raise Failure(
                f"the certificate of {self.base} isn't trusted ({error.certificate_error}): name the file of "
                "the certificate, or of who signed it, with --ca-file"
            ) from None
        except aiohttp.ClientSSLError as error:
            raise Failure(
                f"{self.base} can't be spoken to with TLS ({error}): is it http:// there?"
            ) from None
        except (aiohttp.ClientConnectionError, TimeoutError, OSError) as error:
            raise Away(
                f"no master answers at {self.base} ({_why(error)}): does it run, is this the address?"
            ) from None
        except (aiohttp.ClientError, ValueError) as error:
            raise Failure(f"at {self.base} is something, but no Buildwright master ({_why(error)})") from None

    async def _refused(self, response: aiohttp.ClientResponse) -> Failure:
        try:
            error = (await response.json(content_type=None))["error"]
        except (ValueError, LookupError, TypeError):
            return Failure(f"at {self.base} is something, but no Buildwright master (HTTP {response.status})")
        text = error.get("message") if isinstance(error, dict) else error
        if isinstance(text, dict):  # what is wrong, by field
            text = "; ".join(f"{field}: {what}" if field else what for field, what in text.items())
        if response.status == 401:
            return Failure(
                f"the master at {self.base} says: {text}. Give the token with --token or BUILDWRIGHT_TOKEN; "
                "`buildwright token create NAME` in the master's directory makes one"
            )
        if response.status == 404:
            return NotThere(str(text))
        if response.status == 503:
            return Away(f"the master at {self.base} can't answer just now: {text}")
        return Failure(str(text))


@asynccontextmanager
async def master_at(where: Where) -> AsyncIterator[Master]:
    """A connection to the master that is meant; raises Failure if none can be."""
    base, context = _address(where)
    connector = aiohttp.TCPConnector(ssl=context) if context is not None else None
    headers = {"User-Agent": f"buildwright/{__version__}"}
    if where.token is not None:
        headers["Authorization"] = f"Bearer {where.token}"
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS)
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:
        yield Master(session, base)


def _address(where: Where) -> tuple[str, ssl.SSLContext | None]:
    if where.url is not None and where.basedir is None:
        base, pinned = _normal(where.url), None
    else:
        base, pinned = _of_basedir(where.basedir)
    if not base.startswith("https:"):
        return base, None
    try:
        if where.ca_file is not None or pinned is None:
            return base, ssl.create_default_context(cafile=where.ca_file)
        context = ssl.create_default_context(cafile=pinned)
    except (ssl.SSLError, OSError) as error:
        raise Failure(f"{where.ca_file or pinned} can't be used as a certificate: {error}") from None
    # This file's certificate and no other, whatever names it was made for.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return base, context


def _of_basedir(basedir: Path | None) -> tuple[str, str | None]:
    directory = basedir if basedir is not None else Path()
    if not (directory / CONFIGURATION).exists() and not (directory / status.LOCK).exists():
        if basedir is not None:
            raise Failure(f"{basedir} is no master's directory, it has no {CONFIGURATION}")
        raise Failure(
            "which master? Give its address with --url or BUILDWRIGHT_URL, or run this in the directory of a "
            "master on this machine"
        )
    pid = status.running(directory)
    if pid is None:
        raise Away(f"no master runs in {directory.absolute()}: `buildwright start` there starts it")
    found = status.read(directory, pid)
    if found is None:
        raise Away(f"the master in {directory.absolute()} (process {pid}) is still starting: try again")
    if found.url is None:
        raise Failure("this master has no web port: set c['www'] = {'port': 8010} and restart it")
    return found.url, found.certificate


def _normal(url: str) -> str:
    """The address with scheme and final slash, without what a browser's address bar adds."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
    if not usable:
        raise Failure(f"{url!r} is no address of a master: write it as in http://localhost:8010")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/"


def _flat(query: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, str(each).lower() if isinstance(each, bool) else str(each))
        for name, value in query.items()
        for each in (value if isinstance(value, (list, tuple)) else [value])
    ]


def _why(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.os_error)
    return str(error) or type(error).__name__


async def away_again(waiting: Callable[[], Awaitable[R]], told: Callable[[Away], None]) -> R:
    """What ``waiting`` gives once the master answers; ``told`` hears of the first time that it doesn't."""
    silent = False
    while True:
        try:
            return await waiting()
        except Away as away:
            if not silent:
                told(away)
                silent = True
            await asyncio.sleep(1)
