"""The table of Buildbot's names is what the program and its tests are."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from buildwright import plugins
from tests.support.names import PAGE, Watch, claims

ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    program = [sys.executable, str(ROOT / "tools" / "make_names.py"), "--check"]
    checked = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, check=False)
    assert checked.returncode == 0, f"{checked.stdout}{checked.stderr}"


def test_the_page_has_each_name_once() -> None:
    page = PAGE.read_text(encoding="utf-8").partition("\n## Keys that Buildbot has dropped")[0]
    shown = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    listed = json.loads((ROOT / "tests" / "data" / "buildbot_names.json").read_text(encoding="utf-8"))
    forms = {"keys": "c['{}']", "www": "c['www']['{}']", "BuilderConfig": "BuilderConfig({}=)"}
    assert shown == [
        forms.get(section, section + ".{}").format(name)
        for section, names in listed.items()
        for name in names
    ]


def test_a_test_that_does_not_use_what_it_is_named_for_fails(request: pytest.FixtureRequest) -> None:
    page = f"| `util.Interpolate` | works | `{request.node.nodeid}` |\n| `steps.HLint` | refused | dead |\n"
    assert claims(page) == {"util.Interpolate": request.node.nodeid}
    watch = Watch(page)
    watch.begin()
    with pytest.raises(AssertionError, match=r"names this test for util\.Interpolate, which it doesn't"):
        watch.passed(request.node)
    _ = plugins.util.Interpolate
    watch.passed(request.node)
    watch.begin()
    assert "util.Interpolate" not in watch.used()


def test_a_step_counts_as_used_when_it_has_run() -> None:
    watch = Watch("")
    watch.begin()
    shell = plugins.steps.ShellCommand
    assert "steps.ShellCommand" not in watch.used()
    watch.ran(shell)
    assert "steps.ShellCommand" in watch.used()
