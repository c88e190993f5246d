"""What a configuration imports: every name is there, and none costs anything before it is used."""

import ast
import importlib
import operator
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildwright import plugins

NAMES = [(namespace, name) for namespace, names in plugins.TABLE.items() for name in names]


@pytest.mark.parametrize(("namespace", "name"), NAMES)
def test_every_name_is_there(namespace: str, name: str) -> None:
    found = operator.attrgetter(name)(getattr(plugins, namespace))
    module = importlib.import_module(plugins.TABLE[namespace][name])
    assert found is getattr(module, name.rpartition(".")[2])


def test_the_table_is_what_can_be_imported() -> None:
    assert sorted(plugins.TABLE) == plugins.__all__
    assert sorted(plugins.TABLE["steps"]) == dir(plugins.steps)
    assert {"Interpolate", "svn"} < set(dir(plugins.util))
    namespace: dict[str, object] = {}
    exec("from buildwright.plugins import *", namespace)
    assert namespace["steps"] is plugins.steps


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"buildwright\.plugins\.util has no 'Interpolat'") as caught:
        getattr(plugins.util, "Interpolat")  # noqa: B009 - a type checker would not let it pass
    assert isinstance(caught.value, plugins.NoSuchName)
    assert caught.value.hint == "did you mean 'Interpolate'?"


def test_a_namespace_within_another() -> None:
    assert dir(plugins.util.svn) == [
        "split_file_alwaystrunk",
        "split_file_branches",
        "split_file_projects_branches",
    ]
    assert repr(plugins.util.svn) == "<namespace buildwright.plugins.util.svn>"
    with pytest.raises(AttributeError, match=r"util has no 'svn\.split_file_branch'") as caught:
        getattr(plugins.util.svn, "split_file_branch")  # noqa: B009 - as above
    assert isinstance(caught.value, plugins.NoSuchName)
    assert caught.value.hint == "did you mean 'svn.split_file_branches'?"


def test_importing_the_namespaces_imports_no_room() -> None:
    program = """
import sys, buildwright.plugins
print(*(name for name in sys.modules if name.startswith('buildwright')))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert sorted(done.stdout.split()) == [
        "buildwright",
        "buildwright.model",
        "buildwright.model.errors",
        "buildwright.plugins",
    ]


def test_type_checkers_are_told_the_same_as_the_table() -> None:
    tree = ast.parse(Path(plugins.__file__).read_text())
    named = {
        node.name: sorted(_imported(node))
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name in plugins.TABLE
    }
    assert named == {namespace: sorted(names.items()) for namespace, names in plugins.TABLE.items()}


def _imported(node: ast.ClassDef, within: str = "") -> Iterator[tuple[str, str | None]]:
    for part in node.body:
        if isinstance(part, ast.ImportFrom):
            yield from ((within + (alias.asname or alias.name), part.module) for alias in part.names)
        elif isinstance(part, ast.ClassDef):
            yield from _imported(part, f"{within}{part.name}.")
