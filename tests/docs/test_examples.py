"""Every name that a configuration can import has an example, which does what it shows.

The example stands at the end of the name's docstring, and in docs/reference/plugins.md. It is loaded behind
the page's head; what it configures is in the snapshot, and builds with its steps are played.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from buildwright.config.loader import load
from buildwright.model.snapshot import Snapshot
from buildwright.plugins import TABLE
from buildwright.schedulers.force import ForceScheduler
from buildwright.testing import Rehearsal
from tools.make_reference import HEAD, alias_of, example, is_described, named

NAMES = [(namespace, name) for namespace, table in TABLE.items() for name in table]
FOOT = """
c["schedulers"].append(schedulers.ForceScheduler("foot", builderNames=[each.name for each in c["builders"]]))
"""
# What commands print, so that there is something to see for their steps.
PRINTED = {
    "*": "2 warnings, 1 of them new\n",
    "svn info --xml*": '<info><entry revision="7"><commit revision="7"/></entry></info>',
}
SECRET = re.compile(r"Secret\(\"([\w-]+)\"\)|%\(secret:([\w-]+)\)s")


def _id(name: tuple[str, str]) -> str:
    return ".".join(name)


@pytest.mark.parametrize("name", NAMES, ids=_id)
def test_it_has_an_example_that_works(name: tuple[str, str], tmp_path: Path) -> None:
    namespace, own = name
    text = example(namespace, own)
    assert text, f"the docstring of {namespace}.{own} has no Example::"
    if alias_of(namespace, own):
        return  # played under the name that it is described by
    thing = named(namespace, own)
    assert not is_described(thing) or f"{namespace}.{own}" in text, "the example is of something else"
    (tmp_path / "secrets").mkdir(mode=0o700)
    for secret in SECRET.finditer(text):
        path = tmp_path / "secrets" / (secret[1] or secret[2])
        path.write_text("a secret that is long\n")
        path.chmod(0o600)
    (tmp_path / "password-store").mkdir()
    (tmp_path / "users.htpasswd").touch()
    (tmp_path / "master.cfg").write_text(HEAD + text + FOOT)
    snapshot = load(tmp_path / "master.cfg", tmp_path)
    assert not snapshot.warnings
    held = _configured(namespace, snapshot)
    if inspect.isclass(thing) and held is not None:
        assert any(isinstance(each, thing) for each in held), f"the snapshot has no {own}"
    _play(snapshot)


def _configured(namespace: str, snapshot: Snapshot) -> list[Any] | None:
    """What the snapshot has of a namespace's things, or None where they can be anywhere."""
    if namespace == "steps":
        specs = [spec for builder in snapshot.builders.values() for spec in builder.factory.steps]
        return [spec.instantiate() for spec in specs]
    if namespace == "secrets":
        providers = list(snapshot.secrets_providers)
        return [*providers, *(part for each in providers for part in vars(each).values())]
    places: Mapping[str, Mapping[str, Any]] = {
        "changes": snapshot.change_sources,
        "schedulers": snapshot.schedulers,
        "worker": snapshot.workers,
    }
    return list(places[namespace].values()) if namespace in places else None


def _play(snapshot: Snapshot) -> None:
    """Force all that can be forced, if there is something to see: steps, or a form."""
    steps = any(builder.factory.steps for builder in snapshot.builders.values())
    forms = [each for each in snapshot.schedulers.values() if isinstance(each, ForceScheduler)]
    if not steps and len(forms) == 1:
        return
    with Rehearsal(snapshot) as ci:
        for command, text in PRINTED.items():
            ci.on(command).prints(text)
        for form in forms:
            for builder in form.builder_names or ():
                builds = ci.force(form.name, builder)
                assert builds, f"{form.name} starts nothing"
                for build in builds:
                    assert build.result != "exception", build
