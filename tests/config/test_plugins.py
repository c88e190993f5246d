"""What a configuration imports: every name is there, and none costs anything before it is used."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from buildwright import plugins

NAMES = [(namespace, name) for namespace, names in plugins.TABLE.items() for name in names]


@pytest.mark.parametrize(("namespace", "name"), NAMES)
def test_every_name_is_there(namespace: str, name: str) -> None:
    found = getattr(getattr(plugins, namespace), name)
    assert found is getattr(importlib.import_module(plugins.TABLE[namespace][name]), name)


def test_the_table_is_what_can_be_imported() -> None:
    assert sorted(plugins.TABLE) == plugins.__all__
    assert sorted(plugins.TABLE["util"]) == dir(plugins.util)
    namespace: dict[str, object] = {}
    exec("from buildwright.plugins import *", namespace)
    assert namespace["steps"] is plugins.steps


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"buildwright\.plugins\.util has no 'Interpolat'") as caught:
        getattr(plugins.util, "Interpolat")  # noqa: B009 - a type checker would not let it pass
    assert isinstance(caught.value, plugins.NoSuchName)
    assert caught.value.hint == "did you mean 'Interpolate'?"


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
        node.name: sorted(
            (alias.asname or alias.name, part.module)
            for part in node.body
            if isinstance(part, ast.ImportFrom)
            for alias in part.names
        )
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name in plugins.TABLE
    }
    assert named == {namespace: sorted(names.items()) for namespace, names in plugins.TABLE.items()}
