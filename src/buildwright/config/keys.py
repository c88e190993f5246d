"""The keys of BuildmasterConfig: their types, and what becomes of each.

Every key that the field's configurations know is known here; those that have no part here are in `foreign`.
"""

from __future__ import annotations

import codecs
import copy
import re
from collections.abc import Mapping
from typing import Any

from buildwright.config import foreign
from buildwright.config.context import Context, key_text
from buildwright.config.network import check_protocols, check_www
from buildwright.model.errors import shown
from buildwright.model.properties import Properties, json_problem
from buildwright.model.render import is_renderable
from buildwright.model.retention import Retention, default_retention
from buildwright.model.secrets import SecretsProvider

NEVER = 2**63 - 1  # bytes that no log has
METRICS_SECONDS = 60.0
_METRICS_KEYS = frozenset({"log_interval", "periodic_interval"})
_DB_KEYS = frozenset({"db_url", "engine_kwargs"})
_VALIDATION_KEYS = frozenset({"branch", "revision", "property_name", "property_value"})

_FUNCTIONS: dict[str, str] = {
    "codebaseGenerator": "codebase_generator",
    "prioritizeBuilders": "prioritize_builders",
    "revlink": "revlink",
    "select_next_worker": "select_next_worker",
}
_LISTS = frozenset(
    {"builders", "change_source", "codebases", "projects", "schedulers", "services", "workers"}
)
_OTHERS = frozenset(
    {
        "buildbotNetUsageData",
        "buildbotURL",
        "changeHorizon",
        "collapseRequests",
        "configurators",
        "db",
        "db_url",
        "logCompressionLimit",
        "logEncoding",
        "logMaxSize",
        "logMaxTailSize",
        "logStore",
        "metrics",
        "mq",
        "multiMaster",
        "properties",
        "protocols",
        "retention",
        "secretsProviders",
        "title",
        "titleURL",
        "validation",
        "www",
    }
)
USED = frozenset(_FUNCTIONS) | _LISTS | _OTHERS
KEYS = USED | frozenset(foreign.KEYS) | frozenset(foreign.DROPPED)


def check_keys(config: Mapping[Any, Any], context: Context, filename: str) -> dict[str, Any]:
    """Everything of the configuration but its builders, workers, schedulers and change sources, by the
    snapshot's names.
    """
    context.unknown_keys(config, KEYS)
    foreign.check_foreign(config, foreign.KEYS, context)
    foreign.check_dropped(config, context)
    found: dict[str, Any] = {}
    for key, name in _FUNCTIONS.items():
        value = config.get(key)
        if value is not None and not callable(value):
            context.error(f"{key_text(key)} must be a function, not {shown(value)}", key)
        elif value is not None:
            found[name] = value
    _texts(config, context, found)
    collapse = config.get("collapseRequests")
    if collapse is None or isinstance(collapse, bool) or callable(collapse):
        found["collapse_requests"] = collapse
    else:
        context.error(
            f"{key_text('collapseRequests')} must be True, False or a function, not {shown(collapse)}",
            "collapseRequests",
        )
    if "multiMaster" in config and context.wanted(
        config["multiMaster"], bool, "True or False", "multiMaster"
    ):
        found["multi_master"] = config["multiMaster"]
    usage = config.get("buildbotNetUsageData")  # nothing is ever sent anywhere, whatever it says
    if not (usage is None or callable(usage) or usage in ("basic", "full")):
        context.error(
            f"c['buildbotNetUsageData'] must be None, 'basic', 'full' or a function, not {shown(usage)}",
            "buildbotNetUsageData",
        )
    _mq(config.get("mq"), context)
    _metrics(config.get("metrics"), context, found)
    _log_limits(config, context, found)
    found["properties"] = _properties(config.get("properties"), context, filename)
    found["secrets_providers"] = _secrets(config.get("secretsProviders"), context)
    found["validation"] = _validation(config.get("validation"), context)
    _database(config, context, found)
    _retention(config, context, found)
    if "www" in config:
        found["www"] = check_www(config["www"], context)
    if "protocols" in config:
        found["protocols"] = check_protocols(config["protocols"], context)
    return found


def _texts(config: Mapping[Any, Any], context: Context, found: dict[str, Any]) -> None:
    for key, name in (("title", "title"), ("titleURL", "title_url"), ("buildbotURL", "buildbot_url")):
        if key in config and context.wanted(config[key], str, "text", key):
            found[name] = config[key]
    url = found.get("buildbot_url")
    if url is not None and not url.endswith("/"):
        found["buildbot_url"] = url + "/"
    where = config.get("logStore")
    if where is not None and context.wanted(where, str, "text", "logStore"):
        if where in ("files", "database") or "://" in where:
            found["log_store"] = where
        else:
            context.error(
                f"{key_text('logStore')} must be 'files', 'database' or the URL of an object store, "
                f"not {shown(where)}",
                "logStore",
                hint="as in 's3://bucket/prefix'",
            )
    encoding = config.get("logEncoding")
    if encoding is not None:
        if callable(encoding):
            found["log_encoding"] = encoding
        elif context.wanted(encoding, str, "the name of an encoding or a function", "logEncoding"):
            try:
                found["log_encoding"] = codecs.lookup(encoding).name
            except (LookupError, ValueError):
                message = f"{key_text('logEncoding')}: there is no encoding {encoding!r}"
                context.error(message, "logEncoding", hint="as in 'latin-1'")


def _log_limits(config: Mapping[Any, Any], context: Context, found: dict[str, Any]) -> None:
    method = config.get("logCompressionMethod")
    if isinstance(method, str) and method not in foreign.COMPRESSIONS:
        message = f"{key_text('logCompressionMethod')}: there is no method {method!r}"
        known = f"the methods are {', '.join(foreign.COMPRESSIONS)}"
        context.error(message, "logCompressionMethod", hint=known)
    limit = config.get("logCompressionLimit")
    if limit is False:
        found["log_compression_limit"] = NEVER
    elif limit is not None and context.wanted(
        limit, int, "a number of bytes, False or None", "logCompressionLimit"
    ):
        if limit < 0:
            context.error(
                f"{key_text('logCompressionLimit')} must not be negative, and is {limit}",
                "logCompressionLimit",
                hint="False: logs are never packed",
            )
        else:
            found["log_compression_limit"] = limit
    for key, name in (("logMaxSize", "log_max_size"), ("logMaxTailSize", "log_max_tail_size")):
        value = config.get(key)
        if value is None or not context.wanted(value, int, "a number of bytes or None", key):
            continue
        if value < 0:
            context.error(f"{key_text(key)} must not be negative, and is {value}", key)
        else:
            found[name] = value or None
    if found.get("log_max_tail_size") and not found.get("log_max_size"):
        message = f"{key_text('logMaxTailSize')} has no effect without {key_text('logMaxSize')}"
        context.warn(message, "logMaxTailSize")


def _mq(given: Any, context: Context) -> None:
    if given is None or not context.wanted(given, dict, "a dict", "mq"):
        return
    kind = given.get("type", "simple")
    if kind == "wamp":  # what it is for works without it
        context.warn(
            f"{key_text('mq')} has no effect: masters meet in their database and need no router", "mq"
        )
    elif kind != "simple":
        message = f"{key_text('mq', 'type')} must be 'simple' or 'wamp', not {shown(kind)}"
        context.error(message, "mq", "type", hint="remove it")


def _metrics(given: Any, context: Context, found: dict[str, Any]) -> None:
    if given is None or not context.wanted(given, dict, "a dict or None", "metrics"):
        return
    context.unknown_keys(given, _METRICS_KEYS, "metrics")
    seconds: dict[str, float] = {"log_interval": METRICS_SECONDS}
    for key in _METRICS_KEYS & set(given):
        if given[key] is not None and not context.wanted(
            given[key], (int, float), "a number of seconds", "metrics", key
        ):
            return
        seconds[key] = given[key] or 0.0
        if seconds[key] < 0:
            context.error(
                f"{key_text('metrics', key)} must not be negative, and is {given[key]}", "metrics", key
            )
            return
    found["log_metrics_every"] = seconds["log_interval"] or None


def _properties(given: Any, context: Context, filename: str) -> Properties:
    made = Properties()
    if given is None or not context.wanted(given, (dict, Properties), "a dict", "properties"):
        return made
    values = (
        given.properties
        if isinstance(given, Properties)
        else {name: (value, "") for name, value in given.items()}
    )
    for name, (value, _) in values.items():
        problem = json_problem(value) if isinstance(name, str) else "a property's name must be text"
        if problem:
            context.error(f"{key_text('properties', name)}: {problem}", "properties", name)
        else:
            made.setProperty(name, value, filename)
    return made


def _secrets(given: Any, context: Context) -> tuple[SecretsProvider, ...]:
    if given is None or not context.wanted(given, (list, tuple), "a list of providers", "secretsProviders"):
        return ()
    good = []
    for at, provider in enumerate(given):
        if isinstance(provider, SecretsProvider) and not isinstance(provider, (dict, type)):
            good.append(provider)
        else:
            context.error(
                f"{key_text('secretsProviders', at)} must be a provider, not {shown(provider)}",
                "secretsProviders",
                at,
                hint="as in secrets.SecretInAFile(dirname='...')",
            )
    return tuple(good)


def _retention(config: Mapping[Any, Any], context: Context, found: dict[str, Any]) -> None:
    given, horizon = config.get("retention"), config.get("changeHorizon")
    if given is not None:
        if not isinstance(given, Retention):
            context.error(
                f"{key_text('retention')} must be a util.Retention, not {shown(given)}",
                "retention",
                hint="as in util.Retention(logs=timedelta(days=90))",
            )
            return
        found["retention"] = given
    if horizon is None or not context.wanted(horizon, int, "a number or None", "changeHorizon"):
        return
    if horizon < 0:
        context.error(f"{key_text('changeHorizon')} must not be negative, and is {horizon}", "changeHorizon")
    elif given is not None and given.max_changes is not None:
        message = "both c['changeHorizon'] and the max_changes of c['retention'] are given"
        context.error(message, "changeHorizon", hint="remove one of them")
    else:
        kept = copy.copy(given) if given is not None else default_retention()
        kept.max_changes = horizon
        found["retention"] = kept


def _validation(given: Any, context: Context) -> dict[str, re.Pattern[str]]:
    if given is None or not context.wanted(given, dict, "a dict of name to regular expression", "validation"):
        return {}
    context.unknown_keys(given, _VALIDATION_KEYS, "validation")
    made = {}
    for key, value in given.items():
        if key not in _VALIDATION_KEYS:
            continue
        try:
            made[key] = re.compile(value)
        except (re.error, TypeError) as problem:
            context.error(
                f"{key_text('validation', key)} must be a regular expression: {problem}", "validation", key
            )
    return made


def _database(config: Mapping[Any, Any], context: Context, found: dict[str, Any]) -> None:
    url, path = config.get("db_url"), ("db_url",)
    db = config.get("db")
    if db is not None and context.wanted(db, dict, "a dict", "db"):
        context.unknown_keys(db, _DB_KEYS, "db")
        if url is not None and "db_url" in db:
            context.error(
                "both c['db_url'] and c['db']['db_url'] are given", "db_url", hint="remove one of them"
            )
        if db.get("engine_kwargs"):
            context.warn("c['db']['engine_kwargs'] has no effect in this version", "db", "engine_kwargs")
        if db.get("db_url") is not None:
            url, path = db["db_url"], ("db", "db_url")  # type: ignore[assignment]
    if url is None:
        return
    if is_renderable(url) or context.wanted(url, str, "the URL of a database", *path):
        found["db_url"] = url
