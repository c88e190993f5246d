"""Which of Buildbot's names a test uses, and which it is named for.

`docs/reference/buildbot-names.md` names a test for each name that works. So that this can't be wrong, each
test is watched: what its configurations asked of `buildwright.plugins`, which keys they had, which arguments
their builders, and which steps ran in a build. A test that passes without what the page names it for fails.
What passing tests used is left in pytest's cache, where `tools/make_names.py` finds tests for new names.
"""

import json
import os
import re
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from buildwright import plugins
from buildwright.builds.step import BuildStep
from buildwright.builds.steprun import StepRun
from buildwright.config import checks, loader
from buildwright.config.context import Context
from buildwright.model.builders import BuilderConfig, BuildFactory

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "buildbot-names.md"
_ROW = re.compile(r"^\| `(?P<name>[^`]+)` \| works \| `(?P<test>[^`]+)` \|$", re.MULTILINE)

# These look at every name there is: they say nothing of what it does.
SHALLOW = ("tests/config/test_plugins.py", "tests/config/test_wrong_types.py", "tests/docs/")
# A name that is only written into a configuration here is better shown elsewhere.
WEAK = ("tests/config/", "tests/robust/", "tests/model/")
ABOUT_MISTAKES = re.compile("wrong|mistake|refuse|unknown|fails")


def claims(page: str) -> dict[str, str]:
    """The name of each row that works -> its test."""
    return {row["name"]: row["test"] for row in _ROW.finditer(page)}


class Watch:
    """What the configurations of the running test have used so far."""

    def __init__(self, page: str) -> None:
        self._keys: set[str] = set()
        self._ran: set[type] = set()  # the steps that ran
        self._claimed: dict[str, set[str]] = {}
        for name, test in claims(page).items():
            self._claimed.setdefault(test, set()).add(name)
        self.best: dict[str, tuple[tuple[int, int, int], str]] = {}  # name -> (how far from it, test)

    def watch_configurations(self) -> None:
        """Look into every configuration that this process loads from now on."""
        check_keys, check_builders = vars(loader)["check_keys"], checks.check_builders

        def watched_keys(config: Any, *args: Any) -> Any:
            self._keys.update(f"c[{key!r}]" for key in config)
            if isinstance(config.get("www"), dict):
                self._keys.update(f"c['www'][{key!r}]" for key in config["www"])
            return check_keys(config, *args)

        def watched_builders(config: Any, context: Context) -> Any:
            found = check_builders(config, context)
            for builder in found.values():
                self._keys.update(f"BuilderConfig({name}=)" for name in _given(builder))
            if "workername=" not in context.places.main.read_text(encoding="utf-8", errors="replace"):
                self._keys.discard("BuilderConfig(workername=)")
            return found

        execute = StepRun.execute

        def watched_execute(run: StepRun) -> Coroutine[Any, Any, int]:
            self.ran(type(run.step))
            return execute(run)

        StepRun.execute = watched_execute  # type: ignore[assignment, method-assign]
        vars(loader)["check_keys"] = watched_keys
        checks.check_builders = watched_builders

    def begin(self) -> None:
        """A test begins: forget what those before have used."""
        self._keys.clear()
        self._ran.clear()
        for namespace in plugins.TABLE:
            values: dict[str, Any] = vars(getattr(plugins, namespace))
            for name in [name for name in values if not name.startswith("_")]:
                del values[name]

    def used(self) -> set[str]:
        """What has been used since."""
        names = set(self._keys)
        for namespace in plugins.TABLE:
            names |= _asked(namespace, getattr(plugins, namespace))
        return {name for name in names if self._has_run(name)}

    def ran(self, step: type) -> None:
        """A step of this class runs in a build."""
        self._ran.add(step)

    def _has_run(self, name: str) -> bool:
        """Whether a step of this name, or a subclass of it, has run; what is no step needs not."""
        namespace, _, bare = name.partition(".")
        cls = vars(plugins.steps).get(bare) if namespace == "steps" else None
        if not isinstance(cls, type) or not issubclass(cls, BuildStep):
            return True
        return any(issubclass(ran, cls) for ran in self._ran)

    def passed(self, item: pytest.Item) -> None:
        """A test has passed: AssertionError if it is named for what it doesn't use."""
        used = self.used()
        missing = self._claimed.get(item.nodeid, set()) - used
        assert not missing, (
            f"{PAGE.name} names this test for {', '.join(sorted(missing))}, which it doesn't use: "
            "run tools/make_names.py"
        )
        if item.nodeid.startswith(SHALLOW) or re.search(r"[^\w./:\[\]-]", item.nodeid):
            return
        source = _source(item)
        for name in used:
            bare = re.sub(r"\W", " ", name.removeprefix("BuilderConfig")).split()[-1]
            weak = item.nodeid.startswith(WEAK) or ABOUT_MISTAKES.search(item.name) is not None
            far = (weak, not re.search(rf"\b{bare}\b", source), len(used))
            candidate = far, item.nodeid
            if name not in self.best or candidate < self.best[name]:
                self.best[name] = candidate

    def save(self, directory: Path) -> None:
        """Leave the best test of each name for the tool."""
        if self.best:
            (directory / f"{os.getpid()}.json").write_text(json.dumps(self.best), encoding="utf-8")


def _source(item: pytest.Item) -> str:
    import inspect

    return inspect.getsource(item.function) if isinstance(item, pytest.Function) else ""


def _asked(prefix: str, namespace: Any) -> set[str]:
    names: set[str] = set()
    if not isinstance(namespace, plugins.Namespace):
        return names
    for name, value in vars(namespace).items():
        if name.startswith("_"):
            continue
        if isinstance(value, plugins.Namespace):
            names |= _asked(f"{prefix}.{name}", value)
        else:
            names.add(f"{prefix}.{name}")
    return names


def _given(builder: BuilderConfig) -> set[str]:
    """The arguments that a builder was given something other than its default for."""
    plain = BuilderConfig(name=builder.name or "b", workername="", factory=BuildFactory())
    names = {
        name
        for name, value in vars(plain).items()
        if name != "where" and (getattr(builder, name) != value or name in ("name", "factory"))
    }
    if "workernames" in names:
        names.add("workername")
    return names
