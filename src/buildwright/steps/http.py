"""Requests over HTTP, sent by the master.

A request is work of the master's: it is sent once per try of its step, and a master that dies in the middle
of it leaves nobody who knows whether it arrived. Then ``GET``, ``HEAD`` and ``OPTIONS`` start again, and a
build at one of the others ends with RETRY. The log ``log`` has both heads, ``content`` the answer's body.

Arguments are called as in Python's `requests`. What can't be had: ``hooks`` and ``stream``; ``files`` and
``auth`` as anything but plain data. Proxies are taken from ``proxies`` or else from the environment.

Headers that carry credentials are never shown. Secrets are masked in all that is, also where a URL, JSON or
base64 spells them in another way.
"""

from __future__ import annotations

import json as jsons
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from yarl import URL

from buildwright.builds.step import BuildStep
from buildwright.model.errors import error, expect, shown
from buildwright.model.renderable import is_plain
from buildwright.model.results import FAILURE, SUCCESS
from buildwright.steps.transfer import expect_json
from buildwright_worker.protocol import Masker

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    import aiohttp

    from buildwright.model.render import IRenderable

METHODS = ("GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH")
CONNECT_SECONDS = 60.0
SILENCE_SECONDS = 300.0
BODY_MOST = 1 << 20
REDIRECTS_MOST = 30

_CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
_UNAVAILABLE = {
    "hooks": "override run() in a class of your own",
    "stream": "the answer is always read",
}


class HTTPStep(BuildStep):
    """Sends a request; fails if the answer's status is 400 or more, or if there is none.

    ``timeout`` is in seconds, for the connection and for each silence; or (connection, silence). Without it
    they are 60 and 300. ``verify`` is true, false, or a file or directory of certificates; ``cert`` a file,
    or (certificate, key): both relative to the master's basedir. ``files`` has (name, content) or the content
    for each field.

    Example::

        factory.addStep(
            steps.HTTPStep(
                "https://issues.example.org/api/issues/7",
                method="PUT",
                json={"state": "built"},
                headers={"Authorization": util.Interpolate("Bearer %(secret:issues-token)s")},
            )
        )
    """

    name = "HTTPStep"
    description = ("Requesting",)
    arguments: ClassVar[tuple[str, ...]] = (
        "params",
        "data",
        "json",
        "headers",
        "cookies",
        "files",
        "auth",
        "timeout",
        "allow_redirects",
        "proxies",
        "verify",
        "cert",
    )
    renderables: ClassVar[Sequence[str]] = (
        "url", "method", "hide_request_headers", "hide_response_headers", *arguments,
    )  # fmt: skip

    def __init__(
        self,
        url: str | IRenderable,
        method: Any,
        hide_request_headers: Sequence[str] | IRenderable | None = None,
        hide_response_headers: Sequence[str] | IRenderable | None = None,
        params: Mapping[str, Any] | Sequence[Any] | str | IRenderable | None = None,
        data: Mapping[str, Any] | Sequence[Any] | str | bytes | IRenderable | None = None,
        json: Any = None,
        headers: Any = None,
        cookies: Any = None,
        files: Any = None,
        auth: Any = None,
        timeout: float | Sequence[float] | IRenderable | None = None,
        allow_redirects: bool | IRenderable = True,
        proxies: Any = None,
        verify: bool | str | IRenderable = True,
        cert: str | Sequence[str] | IRenderable | None = None,
        **kwargs: Any,
    ) -> None:
        kind = f"step {type(self).__name__}"
        for name, instead in _UNAVAILABLE.items():
            if name in kwargs:
                kwargs.pop(name)
                error(f"{kind}: {name} can't be had", instead)
        super().__init__(**kwargs)
        self.url: Any = url
        self.method = method
        self.hide_request_headers: Any = hide_request_headers or ()
        self.hide_response_headers: Any = hide_response_headers or ()
        self.params: Any = params
        self.data: Any = data
        self.json = json
        self.headers = headers
        self.cookies = cookies
        self.files = files
        self.auth = auth
        self.timeout: Any = timeout
        self.allow_redirects: Any = allow_redirects
        self.proxies = proxies
        self.verify: Any = verify
        self.cert: Any = cert
        self._status = ""
        self._check(kind)

    def _check(self, kind: str) -> None:
        if is_plain(self.url):
            expect(self.url, str, f"{kind}: url", "text")
        if self.json is not None:
            expect_json(self.json, f"{kind}: json")
        if is_plain(self.method) and self.method not in METHODS:
            error(f"{kind}: method can't be {shown(self.method)}", f"one of {', '.join(METHODS)}")
        for name in ("headers", "cookies", "files", "proxies"):
            value = getattr(self, name)
            if value is not None and is_plain(value):
                expect(value, dict, f"{kind}: {name}", "a dict")
        if self.auth is not None and is_plain(self.auth) and not _is_pair(self.auth):
            error(f"{kind}: auth must be (user, password), not {shown(self.auth)}")
        if isinstance(self.files, dict) and is_plain(self.files):
            for value in self.files.values():
                if not _is_file(value):
                    error(f"{kind}: a file must be its content or (name, content), not {shown(value)}")
        if self.json is not None and not (self.data is None and self.files is None):
            error(f"{kind} has json beside data or files", "give it one of them")
        if self.files is not None and isinstance(self.data, str | bytes):
            error(f"{kind} has files beside data that is text", "give it data as a dict")

    async def run(self) -> int:
        log = self._run.log("log")
        log.addHeader(f"{self.method} {self.url}\n")
        outcome = await self.once("request", self._request)
        for name, value in outcome["sent"]:
            log.addHeader(f"> {name}: {value}\n")
        if outcome["problem"]:
            self._status = "no answer"
            log.addStderr(outcome["problem"] + "\n")
            return FAILURE
        self._status = f"{outcome['status']} {outcome['reason']}".strip()
        if outcome["redirected"]:
            log.addHeader(f"redirected to {outcome['redirected']}\n")
        log.addHeader(f"< {self._status}\n")
        for name, value in outcome["received"]:
            log.addHeader(f"< {name}: {value}\n")
        if outcome["cut"]:
            log.addHeader(f"the answer is longer than {BODY_MOST} bytes: the rest was not read\n")
        if outcome["body"]:
            self.addCompleteLog("content", outcome["body"])
        return SUCCESS if outcome["status"] < 400 else FAILURE

    def getResultSummary(self) -> dict[str, str]:
        if self.descriptionDone:
            return super().getResultSummary()
        return self._with_result(self._status)

    # -- the work on the master ---------------------------------------------------------------------------

    async def _request(self) -> dict[str, Any]:
        """Send it and read the answer; all that is given has its secrets masked."""
        import asyncio

        import aiohttp

        masker = Masker([*_spellings(self._run.runner.secrets.values.items()), ("auth", self._login)])
        headers = _texts(self.headers)
        if self.auth:
            headers["Authorization"] = f"Basic {self._login}"
        outcome: dict[str, Any] = {
            "problem": "", "sent": [], "status": 0, "reason": "", "redirected": "", "received": [],
            "body": b"", "cut": False,
        }  # fmt: skip
        try:
            basedir = self.build.runner.services.basedir
            trust = await asyncio.to_thread(_trust, basedir, self.verify, self.cert)
            async with (
                aiohttp.ClientSession(trust_env=True, timeout=self._limits()) as session,
                session.request(
                    self.method,
                    self.url,
                    params=_parameters(self.params),
                    data=self._body(),
                    json=self.json,
                    headers=headers,
                    cookies=_texts(self.cookies),
                    allow_redirects=bool(self.allow_redirects),
                    max_redirects=REDIRECTS_MOST,
                    proxy=_proxy(self.url, self.proxies),
                    ssl=trust,
                    skip_auto_headers=["Content-Type"] if isinstance(self.data, str | bytes) else None,
                ) as response,
            ):
                outcome["sent"] = _shown(response.request_info.headers.items(), self.hide_request_headers)
                outcome["status"] = response.status
                outcome["reason"] = response.reason or ""
                outcome["redirected"] = str(response.url) if response.history else ""
                outcome["received"] = _shown(response.headers.items(), self.hide_response_headers)
                body = bytearray()
                async for piece in response.content.iter_any():
                    body += piece
                    if len(body) > BODY_MOST:
                        outcome["cut"] = True
                        break
                outcome["body"] = bytes(body[:BODY_MOST])
        except TimeoutError:
            outcome["problem"] = "it took longer than timeout allows"
        except (aiohttp.ClientError, OSError, ValueError, TypeError) as problem:
            outcome["problem"] = f"{type(problem).__name__}: {problem}"
        masked: dict[str, Any] = masker.mask_value(outcome)
        return masked

    def _limits(self) -> aiohttp.ClientTimeout:
        import aiohttp

        connect, silence = CONNECT_SECONDS, SILENCE_SECONDS
        if isinstance(self.timeout, list | tuple):
            connect, silence = self.timeout
        elif self.timeout is not None:
            connect = silence = self.timeout
        return aiohttp.ClientTimeout(total=None, connect=connect, sock_read=silence)

    @property
    def _login(self) -> str:
        """What basic authentication sends; empty for none."""
        return b64encode(":".join(map(str, self.auth)).encode()).decode() if self.auth else ""

    def _body(self) -> Any:
        import aiohttp

        if isinstance(self.data, str | bytes):
            return self.data.encode() if isinstance(self.data, str) else self.data
        if not self.files:
            return _parameters(self.data)
        form = aiohttp.FormData()
        for name, value in _parameters(self.data) or ():
            form.add_field(name, value)
        for field, given in self.files.items():
            filename, content, *kind = given if isinstance(given, list | tuple) else (field, given)
            data = content.encode() if isinstance(content, str) else content
            form.add_field(field, data, filename=filename, content_type=kind[0] if kind else None)
        return form


HTTPStepNewStyle = HTTPStep


class _Fixed(HTTPStep):
    """A request whose method is the class's."""

    verb: ClassVar[str]

    def __init__(self, url: Any, **kwargs: Any) -> None:
        super().__init__(url, self.verb, **kwargs)


class GET(_Fixed):
    """Sends a GET request.

    Example::

        factory.addStep(steps.GET("https://status.example.org/ready", timeout=30))
    """

    verb = "GET"
    restartable = True


class PUT(_Fixed):
    """Sends a PUT request.

    Example::

        factory.addStep(
            steps.PUT(
                "https://registry.example.org/latest",
                data=util.Property("got_revision"),
                auth=("ci", "a token"),
            )
        )
    """

    verb = "PUT"


class POST(_Fixed):
    """Sends a POST request.

    Example::

        factory.addStep(
            steps.POST(
                "https://chat.example.org/hooks/ci",
                json={"text": util.Interpolate("%(prop:buildername)s: build %(prop:buildnumber)s is ready")},
            )
        )
    """

    verb = "POST"


class DELETE(_Fixed):
    """Sends a DELETE request.

    Example::

        factory.addStep(steps.DELETE(util.Interpolate("https://preview.example.org/sites/%(prop:branch)s")))
    """

    verb = "DELETE"


class HEAD(_Fixed):
    """Sends a HEAD request.

    Example::

        factory.addStep(steps.HEAD("https://downloads.example.org/project.tar.gz"))
    """

    verb = "HEAD"
    restartable = True


class OPTIONS(_Fixed):
    """Sends an OPTIONS request.

    Example::

        factory.addStep(steps.OPTIONS("https://api.example.org/packages"))
    """

    verb = "OPTIONS"
    restartable = True


# -- from the arguments of `requests` to those of aiohttp ---------------------------------------------------


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2


def _is_file(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return 2 <= len(value) <= 3 and isinstance(value[1], str | bytes)
    return isinstance(value, str | bytes)


def _parameters(value: Any) -> Any:
    """Names and values of a query or a form: a dict's value may be a list, None leaves its name out."""
    if not value:
        return None
    if isinstance(value, str):
        return value
    pairs = value.items() if isinstance(value, Mapping) else value
    return [
        (str(name), str(one))
        for name, each in pairs
        for one in (each if isinstance(each, list | tuple) else [each])
        if one is not None
    ]


def _texts(value: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: str(each) for name, each in (value or {}).items() if each is not None}


def _proxy(url: str, proxies: Mapping[str, str] | None) -> str | None:
    """The proxy for a URL; None: what the environment says."""
    if not proxies:
        return None
    there = urlsplit(url)
    for key in (f"{there.scheme}://{there.hostname}", there.scheme, f"all://{there.hostname}", "all"):
        if proxies.get(key):
            return proxies[key]
    return None


def _trust(basedir: Path, verify: Any, cert: Any) -> ssl.SSLContext | bool:
    """What to take for the server's certificate, and ours. Blocks; raises OSError."""
    if cert is None and isinstance(verify, bool):
        return verify
    import ssl

    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif verify is not True:
        path = basedir / verify
        context = ssl.create_default_context(
            cafile=None if path.is_dir() else str(path), capath=str(path) if path.is_dir() else None
        )
    if cert is not None:
        own = [cert] if isinstance(cert, str) else cert
        context.load_cert_chain(*(str(basedir / each) for each in own))
    return context


# -- what is shown ------------------------------------------------------------------------------------------


def _shown(headers: Iterable[tuple[str, str]], hidden: Sequence[str]) -> list[tuple[str, str]]:
    names = {name.lower() for name in hidden} | _CREDENTIALS
    return [(f"{name}", "<hidden>" if name.lower() in names else value) for name, value in headers]


def _spellings(secrets: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The secrets, also as base64 and the client's own URLs spell them; the masker knows more ways.

    JSON is here because answers carry a request's JSON in JSON of their own: the masker escapes it again.
    """
    for name, value in secrets:
        yield name, value
        yield name, jsons.dumps(value)[1:-1]
        yield name, URL.build(query={"": value}).raw_query_string[1:]
        yield name, URL.build(path=f"/{value}").raw_path[1:]
        yield name, b64encode(value.encode("utf-8", "surrogateescape")).decode()
