"""Write docs/reference from the program itself: its keys, names, commands and paths.

What a page says of one thing is the first paragraph of its docstring and the example at the docstring's end,
which tests/docs/test_examples.py loads and plays, or stands in the tables below, which must have an entry for
each key that the program knows. `--check` writes nothing and tells which pages are not as they should be; a
test runs it.
"""

# ruff: noqa: SLF001 - the program's own tables are what is written down here

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from buildwright import plugins
from buildwright.builds.step import BuildStep
from buildwright.cli.main import SUBCOMMANDS, main
from buildwright.config import foreign, keys, network
from buildwright.web import data, events, methods
from buildwright.web.logtext import LogPath
from buildwright.web.rawdata import ValuePath
from buildwright.web.resource import Computed, Endpoint, Resource
from buildwright_worker import cli as worker_cli

DIRECTORY = Path(__file__).parents[1] / "docs" / "reference"
NOTE = "<!-- Written by tools/make_reference.py: change what it reads, and run it. -->\n\n"

KEYS = {
    "buildbotNetUsageData": "Accepted, and nothing is ever sent anywhere.",
    "buildbotURL": "The address that people and links use, as `http://localhost:8010/`.",
    "builders": "A list of `util.BuilderConfig`.",
    "change_source": "A change source, or a list of them.",
    "codebases": "A list of `util.Codebase`: the repositories of projects, for the data API.",
    "changeHorizon": "How many changes are kept: as `max_changes` of `retention`.",
    "codebaseGenerator": "A function of a change (as a dict) that gives its codebase's name.",
    "collapseRequests": "Whether waiting requests make room for newer ones: `True` (default), `False`, or a "
    "function `(master, builder, newer, older)`.",
    "configurators": "Objects whose `configure(config)` may change the configuration before it is looked at.",
    "db": "A dict with `db_url`; `engine_kwargs` has no effect.",
    "db_url": "The database: `sqlite:///state.sqlite` (default) or `postgresql://...`; may be a renderable "
    "with secrets.",
    "logCompressionLimit": "Finished logs of more bytes are packed and leave the database for `logStore`; "
    "65536 by default, `False`: none.",
    "logEncoding": "The encoding of what commands write, or a function of bytes that gives text; `utf-8` by "
    "default.",
    "logMaxSize": "How many bytes of a log are kept; the rest is left out, and the log says so.",
    "logMaxTailSize": "How many bytes of a log's end are kept beyond `logMaxSize`.",
    "logStore": "Where sealed logs go: `files` (default), `database`, or an object store's URL.",
    "metrics": "`{'log_interval': 60}` has the master's numbers logged so often, in seconds; "
    "`periodic_interval` is accepted. `/metrics` of the web port has them always.",
    "mq": "`{'type': 'simple'}` (default), or `'wamp'`, which changes nothing: masters meet in their "
    "database.",
    "multiMaster": "Whether builders and schedulers may name workers and builders that another master has.",
    "prioritizeBuilders": "A function `(master, builders)` that gives the builders in the order in which "
    "their requests are looked at.",
    "projects": "A list of `util.Project`; a builder names its own by `project`.",
    "properties": "Properties of every build: a dict.",
    "protocols": "Where workers connect; see below.",
    "retention": "What is kept, and for how long: a `util.Retention`.",
    "revlink": "A function `(revision, repository)` that gives a link; by default links to GitHub, GitLab, "
    "Bitbucket and SourceForge.",
    "schedulers": "A list of schedulers.",
    "secretsProviders": "A list of providers; the first that knows a name answers.",
    "services": "What the master runs besides: `util.OldBuildCanceller`, `util.FailingBuildsetCanceller`.",
    "select_next_worker": "A function `(builder, workers, request)` that chooses a worker.",
    "title": "What the page is called.",
    "titleURL": "Where the title links to.",
    "validation": "Regular expressions by what they are for: "
    + ", ".join(f"`{name}`" for name in sorted(keys._VALIDATION_KEYS))
    + ".",
    "workers": "A list of workers.",
    "www": "The web server; see below. Without it there is none.",
}
WWW = {
    "allowed_origins": "Origins of pages that may use the API in a browser, with `*` and `?` as wild cards.",
    "auth": "How people log in, as in `util.UserPasswordAuth(...)`; by default nobody does.",
    "authz": "Who may do what: a `util.Authz`; without it, whoever is known may act, and everybody may read.",
    "cookie_expiration_time": "How long a login lasts: a `timedelta`; by default a week.",
    "debug": "Accepted; it changes nothing.",
    "json_cache_seconds": "How long clients may keep an answer of the API.",
    "plugins": "`badges`: a dict of options of badges; `wsgi_dashboards`: a list of dicts with `name`, "
    "`caption`, `app` (a WSGI application), `order` and `icon`.",
    "port": "A number, or text as `tcp:8010:interface=127.0.0.1` or "
    "`ssl:8010:privateKey=key.pem:certKey=cert.pem`.",
    "ssl": "TLS: a dict with `certificate` and `private_key`, paths of PEM files, relative to the base "
    "directory.",
    "tokens": "API tokens: a dict of name to token (text of 16 characters or more, or a `Secret`).",
    "ws_ping_interval": "After how many seconds a WebSocket is asked whether it still lives; 0: as usual.",
}
PROTOCOLS = {
    "buildwright": "A port of their own for workers: a dict with `port` and `interface` "
    "(127.0.0.1 by default). Without it they connect at `/worker` of the web port.",
    "msgpack_experimental_v7": "Accepted with a warning: stock Buildbot workers can't attach yet.",
    "null": "Accepted.",
    "pb": "Accepted with a warning: stock Buildbot workers can't attach yet.",
}
METHODS = {
    ("builds", "stop"): "Stop it: `reason`, `results` (6, CANCELLED, by default).",
    ("builds", "rebuild"): "Ask for it again: the buildset's id and requests. With `from`: `failed`, what "
    "succeeded is left out, if the work directory is still as it left it.",
    ("buildrequests", "cancel"): "Cancel it, or stop its build: `reason`.",
    ("buildrequests", "set_priority"): "Change its `priority`.",
    ("schedulers", "enable"): "Switch it on or off: `enabled`.",
    (
        "forceschedulers",
        "force",
    ): "Ask for builds: `builderNames` or `builderid`, and the form's fields by full name.",
    ("tryschedulers", "try"): "Build a difference that no repository has, as `buildwright try` sends it: "
    "`baserev`, `branch`, `repository`, `project`, `codebase`, `patch_body` or `patch_body_base64`, "
    "`patch_level`, `who`, `comment`, `builderNames`, `properties`, `username`, `passwd`.",
    (
        "changes",
        "add",
    ): "Take a change, as `buildwright sendchange` sends it: `author`, `branch`, `revision`, "
    "`repository`, `project`, `codebase`, `category`, `comments`, `committer`, `files`, `properties`, "
    "`revlink`, `when_timestamp`, `username`, `passwd`. Gives its id.",
    ("workers", "stop"): "Let it end when its builds are done.",
    ("workers", "kill"): "End it and its builds.",
    ("workers", "pause"): "Give it no more builds.",
    ("workers", "unpause"): "Give it builds again.",
}
# What a class takes out of the arguments of its base.
REFUSED = {
    **dict.fromkeys(("DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"), ("method",)),
    "JSONPropertiesDownload": ("s",),
    "JSONStringDownload": ("s",),
    "LocalWorker": ("password",),
}

# -- configuration -----------------------------------------------------------------------------------------


def configuration() -> str:
    text = "# Configuration\n\nThe keys of `BuildmasterConfig`. A key that isn't here is an error.\n\n"
    text += _table(("key", "what it says"), _described(KEYS, keys.USED))
    text += "\n## `www`\n\n" + _table(("key", "what it says"), _described(WWW, network.USED))
    text += "\n## `protocols`\n\n" + _table(
        ("key", "what it says"), _described(PROTOCOLS, network._PROTOCOLS)
    )
    text += (
        "\n## Accepted, without effect\n\nKeys of Buildbot's that change nothing here. They are checked, and "
        "a warning says so if one is set.\n\n"
    )
    text += _table(("key", "why"), _foreign(loses=False))
    text += "\n## Not supported\n\nAn error if it is set: ignoring it would lose something.\n\n"
    text += _table(("key", "why"), _foreign(loses=True))
    text += "\n## Names of old versions\n\nAn error that says what to write instead.\n\n"
    rows = [(f"`{key}`", instead) for key, instead in sorted(foreign.DROPPED.items())]
    return text + _table(("key", "instead"), rows)


def _foreign(*, loses: bool) -> list[tuple[str, str]]:
    shown = [("`{}`", foreign.KEYS), ("`www['{}']`", foreign.WWW)]
    return [
        (form.format(key), f"{'' if each.kind == 'accepted' else each.kind + ': '}{each.why}")
        for form, table in shown
        for key, each in sorted(table.items())
        if each.loses == loses
    ]


def _described(texts: dict[str, str], known: Iterable[str]) -> list[tuple[str, str]]:
    known = sorted(known, key=str.lower)
    wrong = set(known) ^ set(texts)
    if wrong:
        raise SystemExit(
            f"tools/make_reference.py has too much or too little about: {', '.join(sorted(wrong))}"
        )
    return [(f"`{key}`", texts[key]) for key in known]


# -- names -------------------------------------------------------------------------------------------------


HEAD = """\
from buildwright.plugins import changes, schedulers, secrets, steps, util, worker

c = BuildmasterConfig = {}
c["workers"] = [worker.Worker("linux", "a password")]
factory = util.BuildFactory()
c["builders"] = [util.BuilderConfig("tests", workernames=["linux"], factory=factory)]
c["schedulers"] = []
c["change_source"] = []
c["services"] = []
c["configurators"] = []
c["secretsProviders"] = [secrets.SecretInAFile("secrets")]
c["www"] = {"port": 8010}
"""
"""What an example continues."""

_EXAMPLE = re.compile(r"^Example::\n\n((?: {4}.*\n|\n)+)", re.MULTILINE)


def names() -> str:
    text = (
        "# Names for configurations\n\n"
        "What `from buildwright.plugins import changes, schedulers, secrets, steps, util, worker` gives. "
        "Arguments after `*` go by name only; a default shown as `...` means that the argument isn't given.\n"
        "\nThe examples continue this configuration, and use its names:\n\n"
        f"```python title=master.cfg\n{HEAD}```\n"
    )
    for namespace, table in sorted(plugins.TABLE.items()):
        text += f"\n## {namespace}\n"
        if namespace == "steps":
            shell = ", ".join(
                f"`{name}`"
                for name in importlib.import_module(table["ShellMixin"]).ShellMixin.shell_arguments
            )
            text += (
                "\nEvery step takes "
                + ", ".join(f"`{name}`" for name in sorted(BuildStep.parms))
                + f". Steps marked † also take {shell}.\n"
            )
        values = []
        example_of_values = ""
        for name in sorted(table, key=str.lower):
            thing = named(namespace, name)
            if other := alias_of(namespace, name):
                text += f"\n### {name}\n\nAnother name of [{other}](#{other.lower()}).\n"
            elif is_described(thing):
                arguments = "" if is_instance(thing) else f"`{_signature(name, thing)}`{_marks(thing)}\n\n"
                text += f"\n### {name}\n\n{arguments}{_first(thing)}\n" + _shown(example(namespace, name))
            else:
                values.append((f"`{name}`", f"`{thing!r}`"))
                example_of_values = example(namespace, name)
        if values:
            text += "\n### Values\n\n" + _table(("name", "value"), values) + _shown(example_of_values)
    return text


def named(namespace: str, name: str) -> Any:
    """What a name of the table stands for."""
    return getattr(importlib.import_module(plugins.TABLE[namespace][name]), name.rpartition(".")[2])


def alias_of(namespace: str, name: str) -> str | None:
    """The name under which a class is described that also has this one."""
    thing = named(namespace, name)
    own = getattr(thing, "__name__", name)
    known = inspect.isclass(thing) and own in plugins.TABLE[namespace] and own != name
    return own if known and named(namespace, own) is thing else None


def is_described(thing: Any) -> bool:
    """Whether it has a docstring of its own; constants have none."""
    return not is_instance(thing) or "__doc__" in getattr(thing, "__dict__", ())


def is_instance(thing: Any) -> bool:
    return not inspect.isclass(thing) and not inspect.isfunction(thing)


def example(namespace: str, name: str) -> str:
    """The lines after ``Example::`` in a docstring: the name's own, or for a constant its module's."""
    thing = named(namespace, name)
    holder = thing if is_described(thing) else importlib.import_module(plugins.TABLE[namespace][name])
    found = _EXAMPLE.search(inspect.cleandoc(holder.__doc__ or "") + "\n")
    return inspect.cleandoc(found[1]) + "\n" if found else ""


def _shown(code: str) -> str:
    return f"\n```python\n{code}```\n" if code else ""


def _signature(name: str, thing: Any) -> str:
    """The arguments, those that a constructor hands on to its base's among them."""
    shown: list[str] = []
    by_name = False
    for parameter in _parameters(thing):
        if parameter.kind is parameter.VAR_POSITIONAL:
            shown.append(f"*{parameter.name}")
            by_name = True
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            shown.append(f"**{parameter.name}")
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not by_name:
            shown.append("*")
            by_name = True
        default = "" if parameter.default is parameter.empty else f"={_default(parameter.default)}"
        shown.append(parameter.name + default)
    return f"{name}({', '.join(shown)})"


def _parameters(thing: Any) -> list[inspect.Parameter]:
    if not inspect.isclass(thing):
        return list(inspect.signature(thing).parameters.values())
    found: dict[str, inspect.Parameter] = {}
    for base in thing.__mro__:
        if base in (object, BuildStep) or "__init__" not in vars(base):
            continue
        handed_on = False
        later = bool(found)  # a base's arguments can be given by name only
        for parameter in list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]:
            if parameter.kind is parameter.VAR_KEYWORD and base.__mro__[1] is not object:
                handed_on = True
            elif parameter.name not in found:
                named = later and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
                found[parameter.name] = parameter.replace(kind=parameter.KEYWORD_ONLY) if named else parameter
        if not handed_on:
            break
    return [each for name, each in found.items() if name not in REFUSED.get(thing.__name__, ())]


def _default(value: Any) -> str:
    shown = repr(value)
    return "..." if "<" in shown else shown


def _marks(thing: Any) -> str:
    return (
        " †"
        if inspect.isclass(thing) and hasattr(thing, "shell_arguments") and issubclass(thing, BuildStep)
        else ""
    )


def _first(thing: Any) -> str:
    """The docstring's first paragraph."""
    doc = inspect.cleandoc(thing.__doc__ or "")
    if not doc:
        raise SystemExit(f"{thing.__module__}.{thing.__qualname__} has no docstring")
    paragraph = doc.split("\n\n")[0].replace("\n", " ")
    return re.sub(r"`?:\w+:`([^`]*)`", r"`\1`", paragraph).replace("``", "`")


# -- command line ------------------------------------------------------------------------------------------


def command_line() -> str:
    text = "# Command line\n\n"
    context = click.Context(main, info_name="buildwright", terminal_width=100, **main.context_settings)
    text += f"## buildwright\n\n```text\n{main.get_help(context)}\n```\n"
    for name in SUBCOMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        text += _command(command, context, name)
    text += f"\n## buildwright-worker\n\n```text\n{worker_cli.DESCRIPTION}```\n"
    parser = worker_cli._parser()
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for name, sub in groups[0].choices.items():
        text += f"\n### buildwright-worker {name}\n\n```text\n{sub.description}```\n\n"
        rows = []
        for action in sub._actions:
            shown = ", ".join(action.option_strings) or str(action.metavar or action.dest)
            if action.option_strings and action.nargs != 0:
                shown += f" {action.metavar or '{' + ','.join(map(str, action.choices or ())) + '}'}"
            rows.append((f"`{shown}`", str(action.help)))
        text += _table(("argument", "what it says"), rows)
    return text


def _command(command: click.Command, parent: click.Context, name: str) -> str:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=100)
    text = f"\n### {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            sub = command.get_command(context, each)
            assert sub is not None
            text += _command(sub, context, each)
    return text


# -- data API ----------------------------------------------------------------------------------------------


def data_api() -> str:
    text = """# Data API

Everything is below `/api/v2`. In a path, `n:` stands before a number, `i:` before an identifier and `s:`
before any text. GET reads; an answer is JSON with the things under their plural, and `meta.total` for a
collection.

| parameter | what it does |
|---|---|
| `NAME=VALUE`, `NAME__OP=VALUE` | filters: `eq`, `ne`, `lt`, `le`, `gt`, `ge`, `contains`, `in`, `notin` |
| `field=NAME` | only these fields; may be repeated. Some are shown only when they are asked for |
| `order=NAME`, `order=-NAME` | sorts; may be repeated |
| `limit=N`, `offset=N` | pages; an answer has 10,000 things at most, `meta.total` says how many there are |
| `property=NAME`, `property=*` | also these properties, of things that have them |

Filters and orders are by fields of the answer: those asked for with `field`, if any. Whatever isn't known
is an error, 400. All errors are JSON.

`/api/openapi.json` describes all of it in OpenAPI 3.1, for tools.

POST calls a method by JSON-RPC 2.0: `{"jsonrpc": "2.0", "id": 1, "method": "stop", "params": {}}` with the
content type `application/json`. The header `Idempotency-Key` makes a call that starts builds act once,
however often it is repeated. Where there are tokens, send `Authorization: Bearer TOKEN`.

Times are whole seconds, as Buildbot has them, and microseconds in the field with `_us` at its end.

Events of these things are at `/ws` and `/sse/listen/PATH`, under the names given here and with what happened
as the last element: `builds/12/finished`. In what one listens to, `*` stands for any one element.
"""
    paths: dict[str, list[str]] = {}
    computed: dict[str, Computed] = {}
    resources: dict[str, Resource] = {}
    for path, target in data.TABLE:
        plural = _plural(target)
        paths.setdefault(plural, []).append(path)
        if isinstance(target, Computed):
            computed.setdefault(plural, target)
        elif isinstance(target, Endpoint):
            resources[plural] = target.resource
    for plural in sorted(paths):
        text += f"\n## {plural}\n\n" + "".join(f"- `{path}`\n" for path in paths[plural])
        if plural in resources:
            text += "\n" + _table(("field", "type"), _fields(resources[plural]))
        elif plural in computed and computed[plural].fields:
            text += "\n" + _table(
                ("field", "type"),
                [(f"`{name}`", kind) for name, kind in sorted(computed[plural].fields.items())],
            )
        known = {**methods.METHODS.get(plural, {}), **methods.COLLECTION_METHODS.get(plural, {})}
        if known:
            text += "\n" + _table(
                ("method", "what it does"), [(f"`{name}`", METHODS[plural, name]) for name in known]
            )
        told = events.NAMES.get(plural)
        if told:
            text += "\nEvents: " + ", ".join(f"`{'/'.join(name)}/...`" for name in told) + "\n"
    return text


def _plural(target: Any) -> str:
    if isinstance(target, LogPath):
        return "logchunks"
    if isinstance(target, ValuePath):
        return "build_data"
    return target.resource.plural if isinstance(target, Endpoint) else str(target.plural)


def _fields(resource: Resource) -> Iterator[tuple[str, str]]:
    for name, field in resource.fields.items():
        asked = ", when asked for" if name not in resource.usual else ""
        yield f"`{name}`", field.type + (" or null" if field.nullable else "") + asked
    if resource.properties is not None:
        yield "`properties`", "{name: [value, source]}, as far as asked for"


# -- writing -----------------------------------------------------------------------------------------------


def _table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [head, ("---", "---"), *((one, two.replace("|", "\\|")) for one, two in rows)]
    return "".join(f"| {one} | {two} |\n" for one, two in lines).replace("| --- | --- |", "|---|---|")


PAGES = {
    "configuration.md": configuration,
    "plugins.md": names,
    "command-line.md": command_line,
    "data-api.md": data_api,
}


def write(*, check: bool) -> int:
    """Write the pages, or tell which of them are old; gives their number."""
    old = 0
    for name, make in PAGES.items():
        path = DIRECTORY / name
        text = NOTE + re.sub(r"[ \t]+$", "", make(), flags=re.MULTILINE)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        old += 1
        print(f"{path}: {'is not as tools/make_reference.py writes it' if check else 'written'}")
        if not check:
            path.write_text(text, encoding="utf-8")
    return old


if __name__ == "__main__":
    checking = "--check" in sys.argv[1:]
    old_pages = write(check=checking)
    sys.exit(1 if checking and old_pages else 0)
