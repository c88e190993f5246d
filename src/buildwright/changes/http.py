"""A forge's API over HTTP, as pollers read it: JSON, page by page, with a token.

What goes wrong is a `PollError` that says what was asked and what came, and nothing of the token. A rate
limit is a `RateLimited`, so that a poller can keep what it has found until then. The token goes to the API's
own address only: a link to another place, in a page's end say, is refused.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from yarl import URL

import buildwright
from buildwright.changes.base import PollError

if TYPE_CHECKING:  # loading it takes a while, and a configuration is often only read
    import aiohttp

SECONDS = 60.0
MOST_BYTES = 32 * 1024 * 1024
MOST_PAGES = 1000


class RateLimited(PollError):
    """The API wants no more questions for a while."""


class Api:
    """A session with an API."""

    def __init__(self, session: aiohttp.ClientSession, base: str, advice: str) -> None:
        self._session = session
        self._base = URL(base)
        self._advice = advice  # how one may ask for more

    async def get(self, url: str, **query: str) -> tuple[Any, Mapping[str, str]]:
        """An answer's JSON, and its links by their relation. ``url`` may be a path."""
        body, links = await self._body(url, query)
        try:
            return json.loads(body), links
        except ValueError:
            raise PollError(f"{self.address(url)} gave something that is no JSON") from None

    async def text(self, url: str, **query: str) -> str:
        """An answer as text."""
        body, _ = await self._body(url, query)
        return body.decode("utf-8", "replace")

    async def _body(self, url: str, query: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
        import aiohttp

        address = self.address(url)
        try:
            async with self._session.get(address, params=query or None) as response:
                body = await response.content.read(MOST_BYTES + 1)
                while len(body) <= MOST_BYTES and (more := await response.content.read(MOST_BYTES)):
                    body += more
                self._check(address, response, body)
                return body, {relation: str(link["url"]) for relation, link in response.links.items()}
        except TimeoutError:
            raise PollError(f"{address} gave no answer within {SECONDS:g} s") from None
        except aiohttp.ClientError as problem:
            raise PollError(f"{address} can't be reached: {problem}") from None

    def address(self, url: str) -> URL:
        """A path's address, or a whole one of the same place. Raises PollError for another place."""
        if url.startswith("/"):
            return URL(str(self._base).rstrip("/") + url)
        address = URL(url)
        if not address.is_absolute() or address.origin() != self._base.origin():
            raise PollError(f"{self._base} points to another place, {address}, where the token must not go")
        return address

    def _check(self, address: URL, response: aiohttp.ClientResponse, body: bytes) -> None:
        if len(body) > MOST_BYTES:
            raise PollError(f"{address} gave more than {MOST_BYTES} bytes")
        headers = response.headers
        limited = headers.get("X-RateLimit-Remaining") == "0" or "Retry-After" in headers
        if response.status == 429 or (response.status == 403 and limited):
            raise RateLimited(f"{address}: the rate limit is used up{_until(headers)}. {self._advice}")
        if response.status in (401, 403):
            raise PollError(f"{address}: access is denied ({response.status}{_said(body)}). {self._advice}")
        if response.status == 404:
            raise PollError(f"{address} doesn't exist (404), or isn't shown to us. {self._advice}")
        if response.status >= 400:
            raise PollError(f"{address} failed: {response.status}{_said(body)}")


@contextlib.asynccontextmanager
async def api(base: str, advice: str, headers: Mapping[str, str]) -> AsyncIterator[Api]:
    """A session, for one poll."""
    import aiohttp

    sent = {"User-Agent": f"buildwright/{buildwright.__version__}", **headers}
    limits = aiohttp.ClientTimeout(total=SECONDS)
    async with aiohttp.ClientSession(headers=sent, timeout=limits, trust_env=True) as session:
        yield Api(session, base, advice)


def basic(user: Any, password: Any) -> str:
    """The header that proves a user by a password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _until(headers: Mapping[str, str]) -> str:
    reset, after = headers.get("X-RateLimit-Reset", ""), headers.get("Retry-After", "")
    if after.isdecimal():
        return f" for {after} s"
    if reset.isdecimal() and len(reset) < 12:
        return f" until {dt.datetime.fromtimestamp(int(reset), dt.UTC):%H:%M:%S} UTC"
    return ""


def _said(body: bytes) -> str:
    """What an error's answer says."""
    try:
        said = json.loads(body)
        said = said.get("message") or said["error"]["message"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f": {said}"[:200]
