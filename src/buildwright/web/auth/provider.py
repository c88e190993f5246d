"""What a login at another server needs of it, whichever server it is."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote_plus

import aiohttp
import msgspec

LARGEST_ANSWER = 1_000_000


class ProviderError(Exception):
    """A provider's answer can't be used; the text says why."""


class Login(NamedTuple):
    """What a login is begun with, and must end with."""

    state: str
    verifier: str
    nonce: str


class Where(NamedTuple):
    """A provider's addresses."""

    authorize: str
    token: str
    basic: bool = False  # the client says who it is by HTTP basic authentication


class Provider(Protocol):
    """A server that people log in at."""

    async def where(self) -> Where: ...

    def asks(self, login: Login, /) -> Mapping[str, str]:
        """What it wants to be asked for, beside what all of them do."""
        ...

    async def exchange(
        self, where: Where, form: Mapping[str, str], client: tuple[str, str]
    ) -> dict[str, Any]:
        """Its answer to a code."""
        ...

    async def user(self, answer: Mapping[str, Any], login: Login, client_id: str, /) -> dict[str, Any]:
        """Whose code it was: username, and email, full_name and groups as far as they are known."""
        ...


async def exchange(
    http: aiohttp.ClientSession, where: Where, form: Mapping[str, str], client: tuple[str, str]
) -> dict[str, Any]:
    """Exchange a code as RFC 6749 says."""
    name, secret = client
    sent, headers = dict(form), {}
    if where.basic:
        text = b64encode(f"{quote_plus(name)}:{quote_plus(secret)}".encode()).decode()
        headers = {"Authorization": f"Basic {text}"}
    else:
        sent |= {"client_id": name, "client_secret": secret}
    async with http.post(where.token, data=sent, headers=headers, allow_redirects=False) as response:
        answer = await _json(response)
    if "error" in answer or not isinstance(answer.get("access_token"), str):
        said = str(answer.get("error_description") or answer.get("error") or "it gives no token")
        raise ProviderError(f"the code is refused: {said[:200]}")
    return answer


async def get(http: aiohttp.ClientSession, url: str, token: str | None = None) -> Any:
    """What is at an address of a provider's API."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with http.get(url, headers=headers, allow_redirects=False) as response:
        if response.status != 200:
            raise ProviderError(f"{_bare(url)} answers with status {response.status}")
        return await _any_json(response)


async def _json(response: aiohttp.ClientResponse) -> dict[str, Any]:
    answer = await _any_json(response)
    if not isinstance(answer, dict):
        raise ProviderError(f"{_bare(str(response.url))} answers with no JSON object")
    return answer


async def _any_json(response: aiohttp.ClientResponse) -> Any:
    body = await response.content.read(LARGEST_ANSWER + 1)
    while len(body) <= LARGEST_ANSWER and (more := await response.content.read(LARGEST_ANSWER)):
        body += more
    try:
        if len(body) > LARGEST_ANSWER:
            raise ProviderError(f"{_bare(str(response.url))} answers with too much")
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ProviderError(
            f"{_bare(str(response.url))} answers with status {response.status} and no JSON"
        ) from None


def _bare(url: str) -> str:
    return url.partition("?")[0]
