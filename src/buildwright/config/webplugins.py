"""``c['www']['plugins']``: badges and dashboards; the views that the page has without being told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from buildwright.config.context import Context, key_text
from buildwright.model import badges
from buildwright.model.dashboards import Dashboard
from buildwright.model.errors import shown

VIEWS: Final = frozenset({"base", "console_view", "grid_view", "waterfall_view"})
_PATH: Final = ("www", "plugins")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_DASHBOARD: Final = frozenset({"name", "caption", "app", "order", "icon"})
_EXAMPLE = "as in {'name': 'releases', 'caption': 'Releases', 'app': app, 'order': 5, 'icon': 'rocket'}"


def check_plugins(given: Any, context: Context) -> tuple[Mapping[str, Any], Sequence[Dashboard]]:
    """The options of badges, and the dashboards."""
    if given is None or not context.wanted(given, dict, "a dict of plugins to their options", *_PATH):
        return {}, ()
    for name in given:
        if isinstance(name, str) and name.removeprefix("react_").removesuffix("_react") in VIEWS:
            context.warn(f"{key_text(*_PATH, name)} has no effect: the page has its own views", *_PATH, name)
        elif name not in ("badges", "wsgi_dashboards"):
            context.warn(f"{key_text(*_PATH, name)} has no effect: it is not known here", *_PATH, name)
    return _badges(given.get("badges"), context), _dashboards(given.get("wsgi_dashboards"), context)


def _badges(given: Any, context: Context) -> Mapping[str, Any]:
    path = (*_PATH, "badges")
    if given is None or isinstance(given, bool):
        return {}
    if not context.wanted(given, dict, "a dict of options, or True", *path):
        return {}
    context.unknown_keys(given, frozenset(badges.OPTIONS) | badges.WITHOUT_EFFECT, *path)
    found = {}
    for name, value in given.items():
        if name in badges.WITHOUT_EFFECT:
            context.warn(
                f"{key_text(*path, name)} has no effect: badges aren't made of templates", *path, name
            )
        elif name in badges.OPTIONS:
            why = badges.problem(name, value)
            if why:
                context.error(f"{key_text(*path, name)} {why}", *path, name)
            else:
                found[name] = value
    return found


def _dashboards(given: Any, context: Context) -> Sequence[Dashboard]:
    path = (*_PATH, "wsgi_dashboards")
    if given is None or not context.wanted(given, (list, tuple), "a list of dicts", *path):
        return ()
    found: dict[str, Dashboard] = {}
    for place, each in enumerate(given):
        made = _dashboard(each, context, *path, place)
        if made is None:
            continue
        if made.name in found:
            context.error(f"there are two dashboards with the name {made.name!r}", *path, place, "name")
        found[made.name] = made
    return tuple(sorted(found.values(), key=lambda one: (one.order, one.name)))


def _dashboard(given: Any, context: Context, *path: str | int) -> Dashboard | None:
    if not isinstance(given, dict):
        context.error(f"{key_text(*path)} must be a dict, not {shown(given)}", *path, hint=_EXAMPLE)
        return None
    for key in given:
        if key not in _DASHBOARD:
            known = ", ".join(sorted(_DASHBOARD))
            context.error(f"unknown key {key_text(*path, key)}", *path, key, hint=f"known here: {known}")
    name, app = given.get("name"), given.get("app")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        what = "letters, digits, '.', '_' and '-'"
        context.error(f"{key_text(*path, 'name')} must be made of {what}, not {shown(name)}", *path, "name")
        return None
    if not callable(app):
        context.error(
            f"{key_text(*path, 'app')} must be a WSGI application, not {shown(app)}",
            *path,
            "app",
            hint="for example a flask.Flask(...)",
        )
        return None
    order, icon = given.get("order", 5), given.get("icon") or ""
    good = context.wanted(order, int, "a number", *path, "order")
    good = context.wanted(icon, str, "the name of an icon", *path, "icon") and good
    caption = given.get("caption") or name
    if not context.wanted(caption, str, "text", *path, "caption") or not good:
        return None
    return Dashboard(name, caption, app, order, icon)
