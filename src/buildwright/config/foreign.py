"""Keys of Buildbot's configuration that have no part here, and why.

Those that are *accepted* change nothing because what they tune works otherwise; they are checked, and whoever
sets one is told. Those of parts that are yet to come or are refused are an error where ignoring them would
lose something, else told as well. Keys that Buildbot itself has dropped are an error that says what to write
instead. So none is ignored in silence; what asks for nothing (``None``, an empty list) is no matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from buildwright.config.context import Context, key_text

_ANYTHING: Final = ((object,), "anything")
_DICT: Final = ((dict,), "a dict")
_NUMBER: Final = ((int,), "a number")
_NUMBER_OR_NONE: Final = ((int, type(None)), "a number or None")
_TEXT: Final = ((str,), "text")

COMPRESSIONS: Final = ("raw", "bz2", "gz", "lz4", "zstd", "br")


class Foreign(NamedTuple):
    """What becomes of a key: its kind, the reason, and what its value must be all the same."""

    kind: Literal["accepted", "later", "refused"]
    why: str
    must_be: tuple[tuple[type, ...], str] = _ANYTHING
    loses: bool = False  # ignoring it would lose something, or let somebody in


_UNCACHED: Final = "rows are read where they are needed: there is no cache of them whose size could be set"
_ACCESS: Final = "requests are no log file of their own; a proxy before the port can write one"
_PAGE: Final = "the page has one look"

KEYS: Final[dict[str, Foreign]] = {
    "buildCacheSize": Foreign("accepted", _UNCACHED, _NUMBER),
    "caches": Foreign("accepted", _UNCACHED, ((dict,), "a dict of name to size")),
    "changeCacheSize": Foreign("accepted", _UNCACHED, _NUMBER),
    "logCompressionMethod": Foreign("accepted", "finished logs are packed with zstd", _TEXT),
    "machines": Foreign("later", "machines of workers that are started for their builds", loses=True),
    "manhole": Foreign(
        "refused",
        "a console in the running master lets everyone who reaches it do anything; look at it with the data "
        "API, /metrics and `buildwright builds`",
        loses=True,
    ),
    "user_managers": Foreign(
        "refused", "there are no stored users; c['www']['auth'] says who may log in", loses=True
    ),
}
WWW: Final[dict[str, Foreign]] = {
    "avatar_methods": Foreign("accepted", "the page shows no pictures of people"),
    "change_hook_auth": Foreign("later", "hooks of forges", loses=True),
    "change_hook_dialects": Foreign("later", "hooks of forges; GitPoller sees the same changes", _DICT),
    "custom_templates_dir": Foreign("accepted", "the page is made without templates", _TEXT),
    "default_page": Foreign("accepted", "the page begins with its overview", _TEXT),
    "graphql": Foreign("accepted", "Buildbot has dropped it, too; the data API is at /api/v2"),
    "jsonp": Foreign("accepted", "other pages read the data API by c['www']['allowed_origins']"),
    "logRotateLength": Foreign("accepted", _ACCESS, _NUMBER),
    "logfileName": Foreign("accepted", _ACCESS, ((str,), "a path")),
    "maxRotatedFiles": Foreign("accepted", _ACCESS, _NUMBER_OR_NONE),
    "project_widgets": Foreign("accepted", _PAGE),
    "rest_minimum_version": Foreign("accepted", "there is one version of the data API, 2", _NUMBER),
    "theme": Foreign("accepted", _PAGE, _DICT),
    "ui_default_config": Foreign("accepted", _PAGE, _DICT),
    "versions": Foreign("accepted", "the page has no list of versions", ((list, tuple), "a list")),
}
# What to write instead of a key that Buildbot has dropped.
DROPPED: Final[dict[str, str]] = {
    "bots": "c['workers'] = [worker.Worker('name', 'password')]",
    "buildHorizon": "c['retention'] says how long builds are kept",
    "debugPassword": "nothing asks for one",
    "eventHorizon": "c['retention'] says what is kept",
    "logHorizon": "c['retention'] says how long logs are kept",
    "mergeRequests": "c['collapseRequests'], whose function takes (master, builder, newer, older)",
    "projectName": "c['title']",
    "projectURL": "c['titleURL']",
    "slavePortnum": "nothing: workers connect at /worker of the web port, or at a port of their own with "
    "c['protocols'] = {'buildwright': {'port': 9989}}",
    "slaves": "c['workers'] = [worker.Worker('name', 'password')]",
    "sources": "c['change_source']",
    "status": "c['services'], which takes reporters and other services",
}


def check_foreign(
    given: Mapping[Any, Any], known: Mapping[str, Foreign], context: Context, *path: str
) -> None:
    """Tell of the keys that have no part here."""
    for key, foreign in known.items():
        if not given.get(key):
            continue
        named = key_text(*path, key)
        if foreign.loses:
            wait = "is refused" if foreign.kind == "refused" else "isn't supported yet"
            context.error(f"{named} {wait}: {foreign.why}", *path, key, hint="remove it")
        elif context.wanted(given[key], *foreign.must_be, *path, key):
            wait = "has no effect yet" if foreign.kind == "later" else "has no effect"
            context.warn(f"{named} {wait}: {foreign.why}", *path, key)


def check_dropped(config: Mapping[Any, Any], context: Context) -> None:
    """Tell what to write instead of keys of old versions; an empty one asks for nothing."""
    for key, instead in DROPPED.items():
        if config.get(key):
            context.error(f"{key_text(key)} is a name of old versions", key, hint=f"now: {instead}")
