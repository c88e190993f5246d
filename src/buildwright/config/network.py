"""The keys that say where this master listens: ``www`` and ``protocols``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from buildwright.config import foreign
from buildwright.config.context import Context, key_text
from buildwright.config.webplugins import check_plugins
from buildwright.model.authz import Authz
from buildwright.model.errors import shown
from buildwright.model.logins import NO_AUTH, AuthBase
from buildwright.model.render import is_renderable
from buildwright.model.snapshot import WorkerEndpoint, WwwConfig

USED = frozenset(
    {
        "allowed_origins",
        "auth",
        "authz",
        "cookie_expiration_time",
        "debug",
        "json_cache_seconds",
        "plugins",
        "port",
        "ssl",
        "tokens",
        "ws_ping_interval",
    }
)
WWW_KEYS = USED | frozenset(foreign.WWW)

_OTHER_PROTOCOLS = ("pb", "msgpack_experimental_v7")
_PROTOCOLS = frozenset({"buildwright", "null", *_OTHER_PROTOCOLS})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A port, with what a description of an endpoint may say beside it."""

    port: int
    interface: str | None = None
    certificate: str | None = None
    private_key: str | None = None


def parse_port(value: Any) -> Endpoint | str:
    """A port as a number, its digits, or ``tcp:8010:interface=127.0.0.1`` (``ssl:`` with its files); else
    what is wrong.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return Endpoint(value) if 0 <= value <= 65535 else f"{value} is no port: they go up to 65535"
    if not isinstance(value, str):
        return f"a port must be a number or text like 'tcp:8010:interface=127.0.0.1', not {shown(value)}"
    if value.isdigit():
        return parse_port(int(value))
    kind, *parts = value.replace("\\:", "\0").split(":")
    if kind not in ("tcp", "ssl"):
        return f"{value!r} is no endpoint that this version knows: it knows 'tcp:' and 'ssl:'"
    options: dict[str, str] = {}
    for place, part in enumerate(parts):
        name, equals, text = part.replace("\0", ":").partition("=")
        if equals:
            options[name] = text
        elif place == 0:
            options["port"] = part
        else:
            return f"{value!r}: {part!r} should be name=value"
    known = {"port", "interface"} if kind == "tcp" else {"port", "interface", "privateKey", "certKey"}
    if unknown := sorted(options.keys() - known):
        return f"{value!r}: {unknown[0]!r} is not known here, only {', '.join(sorted(known))}"
    if not options.get("port", "").isdigit():
        return f"{value!r} names no port"
    found = parse_port(int(options["port"]))
    if isinstance(found, str):
        return found
    key = options.get("privateKey")
    certificate = options.get("certKey", key)
    if kind == "ssl" and key is None:
        return f"{value!r} names no privateKey"
    return Endpoint(found.port, options.get("interface"), certificate, key)


def check_www(given: Any, context: Context) -> WwwConfig:
    """The web server of ``c['www']``."""
    if not context.wanted(given, dict, "a dict", "www"):
        return WwwConfig()
    context.unknown_keys(given, WWW_KEYS, "www")
    foreign.check_foreign(given, foreign.WWW, context, "www")
    endpoint = _endpoint(given.get("port"), context, "www", "port")
    certificate, private_key = _tls(given, endpoint, context)
    origins = given.get("allowed_origins")
    if isinstance(origins, str):
        origins = [origins]
    if origins is not None and not context.wanted(
        origins, (list, tuple), "a list of origins", "www", "allowed_origins"
    ):
        origins = None
    badges, dashboards = check_plugins(given.get("plugins"), context)
    return WwwConfig(
        port=endpoint.port if endpoint is not None else None,
        interface=endpoint.interface if endpoint is not None else None,
        certificate=certificate,
        private_key=private_key,
        tokens=_tokens(given.get("tokens"), context),
        allowed_origins=tuple(origins or ()),
        json_cache_seconds=_seconds(given, "json_cache_seconds", context),
        ws_ping_interval=_seconds(given, "ws_ping_interval", context),
        debug=bool(given.get("debug", False)),
        auth=_auth(given.get("auth"), context),
        authz=_authz(given.get("authz"), context),
        session_seconds=_session_seconds(given.get("cookie_expiration_time"), context),
        badges=badges,
        dashboards=dashboards,
    )


def _auth(given: Any, context: Context) -> AuthBase:
    if given is None:
        return NO_AUTH
    if isinstance(given, AuthBase):
        return given
    context.error(
        f"{key_text('www', 'auth')} must be a way to log in, not {shown(given)}",
        "www",
        "auth",
        hint="as in util.UserPasswordAuth({'ann': util.Secret('password-of-ann')})",
    )
    return NO_AUTH


def _authz(given: Any, context: Context) -> Authz | None:
    if given is None or isinstance(given, Authz):
        return given
    context.error(
        f"{key_text('www', 'authz')} must be a util.Authz, not {shown(given)}",
        "www",
        "authz",
        hint="as in util.Authz(allowRules=[util.AnyControlEndpointMatcher(role='admins')])",
    )
    return None


def _session_seconds(given: Any, context: Context) -> int:
    path = ("www", "cookie_expiration_time")
    if given is None:
        return WwwConfig().session_seconds
    if not context.wanted(given, (timedelta, int), "a timedelta", *path):
        return WwwConfig().session_seconds
    seconds = int(given.total_seconds() if isinstance(given, timedelta) else given)
    if not 0 < seconds <= 10 * 366 * 86_400:
        context.error(f"{key_text(*path)} must be above 0 and at most ten years", *path)
        return WwwConfig().session_seconds
    return seconds


def _endpoint(value: Any, context: Context, *path: str) -> Endpoint | None:
    if value is None:
        return None
    found = parse_port(value)
    if isinstance(found, str):
        context.error(f"{key_text(*path)}: {found}", *path)
        return None
    return found


def _seconds(given: Mapping[str, Any], key: str, context: Context) -> int:
    value = given.get(key, 0)
    if context.wanted(value, (int, float), "seconds", "www", key):
        return int(value)
    return 0


def _tls(
    given: Mapping[str, Any], endpoint: Endpoint | None, context: Context
) -> tuple[Path | None, Path | None]:
    ssl = given.get("ssl")
    if ssl is None:
        if endpoint is None or endpoint.private_key is None:
            return None, None
        ssl = {"certificate": endpoint.certificate, "private_key": endpoint.private_key}
        path: tuple[str, ...] = ("www", "port")
    else:
        path = ("www", "ssl")
        if not context.wanted(ssl, dict, "a dict with 'certificate' and 'private_key'", *path):
            return None, None
        context.unknown_keys(ssl, frozenset({"certificate", "private_key"}), *path)
    files = []
    for key in ("certificate", "private_key"):
        if ssl.get(key) is None:
            context.error(f"{key_text(*path)} needs {key!r}, the path of a PEM file", *path)
        elif context.wanted(ssl[key], (str, Path), "a path", *path, key):
            file = context.basedir / ssl[key]
            if file.is_file():
                files.append(file)
            else:
                context.error(f"{key_text(*path, key)}: there is no file {str(file)!r}", *path, key)
    return (files[0], files[1]) if len(files) == 2 else (None, None)


def _tokens(given: Any, context: Context) -> dict[str, Any]:
    if given is None or not context.wanted(given, dict, "a dict of name to token", "www", "tokens"):
        return {}
    tokens = {}
    for name, token in given.items():
        if not isinstance(name, str) or not name:
            context.error(
                f"{key_text('www', 'tokens')}: a token's name must be text, not {shown(name)}",
                "www",
                "tokens",
            )
        elif is_renderable(token) or (isinstance(token, str) and len(token) >= 16):
            tokens[name] = token
        else:
            context.error(
                f"{key_text('www', 'tokens', name)} must be text of at least 16 characters, or a Secret",
                "www",
                "tokens",
                name,
                hint="python3 -c 'import secrets; print(secrets.token_urlsafe())' makes a good one",
            )
    return tokens


def check_protocols(given: Any, context: Context) -> WorkerEndpoint:
    """Where workers connect, of ``c['protocols']``."""
    if not context.wanted(given, dict, "a dict", "protocols"):
        return WorkerEndpoint()
    context.unknown_keys(given, _PROTOCOLS, "protocols")
    for key in _OTHER_PROTOCOLS:
        if key in given and context.wanted(given[key], dict, "a dict", "protocols", key):
            context.warn(
                f"{key_text('protocols', key)} has no effect: this version has no answer to such workers",
                "protocols",
                key,
                hint="workers of buildwright-worker connect at /worker of the web port",
            )
    if "null" in given:
        context.wanted(given["null"], dict, "a dict", "protocols", "null")
    own = given.get("buildwright")
    if own is None or not context.wanted(own, dict, "a dict", "protocols", "buildwright"):
        return WorkerEndpoint()
    context.unknown_keys(own, frozenset({"interface", "port"}), "protocols", "buildwright")
    endpoint = _endpoint(own.get("port"), context, "protocols", "buildwright", "port")
    interface = own.get("interface")
    if interface is not None and not context.wanted(
        interface, str, "an address", "protocols", "buildwright", "interface"
    ):
        interface = None
    if endpoint is None:
        return WorkerEndpoint()
    return WorkerEndpoint(endpoint.port, interface or endpoint.interface)
