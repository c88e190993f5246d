"""Modules of a configuration: afresh at each load, and no failed or parallel load is seen by the other."""

import asyncio
import importlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from buildwright.model.errors import ConfigErrors
from tests.config.support import WHOLE, Site


@pytest.fixture(autouse=True)
def _modules_of_the_test_only() -> Iterator[None]:
    before = dict(sys.modules)
    path = list(sys.path)
    yield
    for name in sys.modules.keys() - before.keys():
        if not name.startswith(("buildwright", "sqlalchemy")):
            del sys.modules[name]
    sys.path[:] = path


USES = WHOLE + "import parts\nc['title'] = parts.title()\nc['revlink'] = parts.later\n"
PARTS = """\
from pkg import sub
from pkg.sub import NAME as name
def title():
    return 'title ' + name
def later():
    from lazy import VALUE
    import pkg.deep.more
    return VALUE + pkg.deep.more.VALUE
"""


def write(site: Site, mark: str) -> None:
    site.write("parts.py", PARTS)
    site.write("pkg/__init__.py", "")
    site.write("pkg/sub.py", f"from . import other\nfrom .other import OTHER\nNAME = '{mark}' + OTHER\n")
    site.write("pkg/other.py", f"OTHER = '{mark}'\n")
    site.write("pkg/deep/more.py", f"VALUE = '{mark}'\n")  # a namespace package in a package
    site.write("lazy.py", f"VALUE = '{mark}'\n")


def test_each_load_sees_the_files_as_they_are(site: Site) -> None:
    snapshot = None
    for mark in "abc":  # within one second, and of one size
        write(site, mark)
        snapshot = site.load(USES)
        assert snapshot.title == f"title {mark}{mark}"
        assert snapshot.revlink is not None
        assert snapshot.revlink() == f"{mark}{mark}"
    assert snapshot is not None
    assert {path.name for path in snapshot.sources} == {
        "master.cfg",
        "parts.py",
        "__init__.py",
        "sub.py",
        "other.py",
    }


def test_functions_of_the_running_configuration_import_what_they_were_made_with(site: Site) -> None:
    write(site, "a")
    old = site.load(USES)
    assert old.revlink is not None
    assert old.revlink() == "aa"
    write(site, "b")
    new = site.load(USES)
    assert new.revlink is not None
    assert new.revlink() == "bb"
    assert old.revlink() == "aa"
    assert old.revlink is not new.revlink


def test_a_failed_load_leaves_everything_as_it_was(site: Site) -> None:
    write(site, "a")
    running = site.load(USES)
    modules = {name: sys.modules[name] for name in ("parts", "pkg", "pkg.sub", "pkg.other", "master_cfg")}
    path, environment = list(sys.path), dict(os.environ)
    write(site, "b")
    site.write("fresh.py", "")
    for ending in ("raise ValueError\n", "c['titel'] = 1\n"):
        site.refused(
            f"{USES}import fresh, sys, os\nsys.path.insert(0, '/nowhere')\n"
            f"os.environ['BUILDWRIGHT_TEST'] = 'x'\ndel os.environ['PATH']\n{ending}"
        )
        assert {name: sys.modules[name] for name in modules} == modules
        assert "fresh" not in sys.modules
        assert sys.path == path
        assert dict(os.environ) == environment
    assert running.revlink is not None
    assert running.revlink() == "bb"  # not loaded before, so it is the file as it is now
    assert importlib.import_module("parts") is modules["parts"]


async def test_the_running_configuration_works_while_another_is_loaded(site: Site) -> None:
    write(site, "a")
    running = site.load(USES)
    assert running.revlink is not None
    assert running.revlink() == "aa"
    before = sys.modules["parts"]
    write(site, "b")
    site.write("gate.py", "import sys\nsys.modules['the_test'].gate()\n")
    reached, go = threading.Event(), threading.Event()
    test = ModuleType("the_test")
    sys.modules["the_test"] = test

    def gate() -> None:
        reached.set()
        assert go.wait(30)

    vars(test)["gate"] = gate
    loading = asyncio.create_task(asyncio.to_thread(site.load, f"{USES}import lazy, gate\n"))
    assert await asyncio.to_thread(reached.wait, 30)
    assert running.revlink() == "aa"
    go.set()
    snapshot = await loading
    assert snapshot.title == "title bb"
    assert running.revlink() == "aa"
    assert sys.modules["parts"] is not before


def test_code_that_imports_by_name_gets_the_fresh_modules(site: Site) -> None:
    text = (
        f"{WHOLE}import importlib\n"
        "c['title'] = importlib.import_module('pkg.other').OTHER + __import__('lazy').VALUE\n"
    )
    for mark in "ab":
        write(site, mark)
        assert site.load(text).title == mark * 2


def test_a_path_that_the_configuration_adds(site: Site) -> None:
    text = (
        "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(__file__), 'lib'))\n"
        f"{WHOLE}import helper\nc['title'] = helper.NAME\n"
    )
    for name in ("one", "two"):
        site.write("lib/helper.py", f"NAME = '{name}'\n")
        assert site.load(text).title == name
    assert sys.path.count(str(site.directory / "lib")) == 1


def test_installed_packages_come_before_files_of_the_same_name(site: Site) -> None:
    site.write("json.py", "broken(\n")
    site.write("msgspec.py", "broken(\n")
    site.load(f"{WHOLE}import json, msgspec\nfrom json import decoder\njson.loads, msgspec.json, decoder\n")


def test_an_environment_beside_the_configuration_is_not_the_configurations(site: Site) -> None:
    packages = site.directory / "venv/lib/python3/site-packages"
    site.write(f"{packages}/installed_here.py", "LOADS = []\n")
    text = f"import sys\nsys.path.append({str(packages)!r})\n{WHOLE}"
    text += "import installed_here\ninstalled_here.LOADS.append(1)\n"
    site.load(text)
    site.load(text)
    assert sys.modules["installed_here"].LOADS == [1, 1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import pkg.absent", "ModuleNotFoundError: No module named 'pkg.absent'"),
        ("import lazy.part", "ModuleNotFoundError: No module named 'lazy.part'; 'lazy' is not a package"),
        ("from pkg import absent", "ImportError: cannot import name 'absent' from 'pkg'"),
        ("from lazy import VALU", "ImportError: cannot import name 'VALU' from 'lazy'"),
        ("from . import lazy", "ImportError: attempted relative import with no known parent package"),
        (
            "import importlib; importlib.import_module('pkg.absent')",
            "ModuleNotFoundError: No module named 'pkg.absent'",
        ),
    ],
)
def test_imports_that_fail(line: str, said: str, site: Site) -> None:
    write(site, "a")
    (error,) = site.refused(f"{WHOLE}{line}\n")
    assert error.startswith(f"master.cfg:8: {said}")


def test_a_module_that_fails_is_tried_again(site: Site) -> None:
    site.write("flaky.py", "raise ValueError('first')\n")
    (error,) = site.refused(f"{WHOLE}import flaky\n")
    assert error == "flaky.py:1: ValueError: first"
    site.write("flaky.py", "")
    site.load()


def test_a_star_brings_submodules_that_the_package_names(site: Site) -> None:
    site.write("pkg/__init__.py", "__all__ = ['one', 'two']\none = 1\n")
    site.write("pkg/two.py", "VALUE = 2\n")
    assert site.load(f"{WHOLE}from pkg import *\nc['title'] = str(one + two.VALUE)\n").title == "3"


def test_modules_that_import_each_other(site: Site) -> None:
    site.write("left.py", "import right\ndef name(): return right.NAME\n")
    site.write("right.py", "import left\nNAME = 'right'\ndef name(): return left.name()\n")
    assert site.load(f"{WHOLE}import left, right\nc['title'] = right.name()\n").title == "right"


def test_a_module_may_replace_itself(site: Site) -> None:
    site.write("odd.py", "import sys\nclass Odd:\n    name = 'odd'\nsys.modules[__name__] = Odd()\n")
    assert site.load(f"{WHOLE}import odd\nc['title'] = odd.name\n").title == "odd"


def test_classes_of_the_file_are_found_by_their_modules_name(site: Site) -> None:
    site.load(
        "from __future__ import annotations\n"
        f"{WHOLE}from dataclasses import dataclass\nimport pickle, typing\n"
        "@dataclass\nclass Point:\n    x: int\n    y: typing.ClassVar[int] = 3\n"
        "assert pickle.loads(pickle.dumps(Point(1))) == Point(1)\n"
        "assert typing.get_type_hints(Point)['x'] is int\n"
    )


class Elsewhere:
    """A hook that knows one name of another world."""

    def __init__(self, title: str) -> None:
        self.known = ModuleType("other_world.plugins")
        vars(self.known)["TITLE"] = title
        self.top = ModuleType("other_world")
        vars(self.top).update(__path__=[], plugins=self.known)

    def module(self, name: str) -> ModuleType | None:
        return {"other_world": self.top, "other_world.plugins": self.known}.get(name)


def test_a_hook_gives_names_of_another_world(site: Site) -> None:
    text = f"{WHOLE}import other_world.plugins\nfrom other_world.plugins import TITLE\nc['title'] = TITLE\n"
    assert site.load(text, [Elsewhere("first")]).title == "first"
    assert site.load(text, [Elsewhere("second")]).title == "second"
    assert "No module named 'other_world'" in site.refused()[0]


def test_outside_of_a_load_a_mistake_is_raised_at_once(tmp_path: Path) -> None:
    from buildwright.plugins import util

    with pytest.raises(ConfigErrors, match="has no worker"):
        util.BuilderConfig(name="b", factory=util.BuildFactory())
