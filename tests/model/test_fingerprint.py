"""Fingerprints: equal in every process for equal content, different for different content."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from buildwright.model.builders import StepSpec
from buildwright.model.errors import Where
from buildwright.model.fingerprint import describe, digest
from buildwright.model.locks import MasterLock
from buildwright.model.render import Interpolate, Property, Transform, renderer

CONTENT = '''
import functools, re
from datetime import timedelta
from pathlib import Path
from buildwright.model.builders import StepSpec
from buildwright.model.locks import MasterLock, WorkerLock
from buildwright.model.render import Interpolate, Property, Transform, renderer

class Base:
    def run(self):
        return {"a", "b", "c"}

class Step(Base):
    """A step of the user's."""
    flags = frozenset({"x", "y", "z"})
    @classmethod
    def make(cls): return cls()
    @staticmethod
    def help(): return 1
    @property
    def size(self): return 2
    def run(self): return super().run() or (lambda: 3)

def closed(limit):
    def inner(props, *, more=limit): return props.getProperty("x") in {"one", "two", limit}
    return inner

class Odd(dict):
    pass

@renderer
def render_it(props):
    return [each for each in "abc"]

limited = WorkerLock("w", maxCountForWorker={"a": 2})

def spec():
    return StepSpec(Step, (1, "two"), {
        "command": ["make", Interpolate("%(prop:x:-%(kw:y)s)s", y=Property("z"))],
        "doStepIf": closed("three"), "env": {"B": None, "A": b"x"}, "found": {"p", "q", "r"},
        "locks": [MasterLock("m").access("counting"), limited.access("exclusive")],
        "when": timedelta(hours=1), "where": Path("/x"), "pattern": re.compile("a+", re.I),
        "call": functools.partial(closed, limit=3), "bound": Step().run, "odd": Odd(a=1),
        "render": render_it.withArgs(1), "map": Transform(len, [1]), "builtin": len, "cls": Step,
        "module": re,
    })
'''


def in_another_process(seed: int, path: Path) -> str:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import content; print(content.spec().fingerprint())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        env={"PYTHONHASHSEED": str(seed)},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_every_process_comes_to_the_same(tmp_path: Any) -> None:
    (tmp_path / "content.py").write_text(CONTENT)
    found = {in_another_process(seed, tmp_path) for seed in (1, 2, 3)}
    assert len(found) == 1
    assert re.fullmatch(r"[0-9a-f]{32}", found.pop())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('(1, "two")', '(1, "2")'),
        ("%(kw:y)s", "%(kw:q)s"),
        ('Property("z")', 'Property("y")'),
        ('closed("three")', 'closed("four")'),
        ('{"one", "two", limit}', '{"one", "2", limit}'),
        ("*, more=limit", "*, more=3"),
        ('"A": b"x"', '"A": b"y"'),
        ('{"p", "q", "r"}', '{"p", "q"}'),
        ('.access("counting")', '.access("exclusive")'),
        ('{"a": 2}', '{"a": 3}'),
        ("hours=1", "hours=2"),
        ('"a+", re.I', '"a+"'),
        ("limit=3)", "limit=4)"),
        ("withArgs(1)", "withArgs(2)"),
        ("(lambda: 3)", "(lambda: 4)"),
        ('return {"a", "b", "c"}', 'return {"a", "b"}'),
        ('frozenset({"x", "y", "z"})', 'frozenset({"x"})'),
        ("def size(self): return 2", "def size(self): return 3"),
        ("def help(): return 1", "def help(): return 2"),
        ("Odd(a=1)", "Odd(a=2)"),
        ('for each in "abc"', 'for each in "ab"'),
    ],
)
def test_a_change_of_content_changes_it(old: Any, new: Any, tmp_path: Any) -> None:
    assert CONTENT.count(old) == 1
    before, after = tmp_path / "before", tmp_path / "after"
    for directory, text in ((before, CONTENT), (after, CONTENT.replace(old, new))):
        directory.mkdir()
        (directory / "content.py").write_text(text)
    assert in_another_process(1, before) != in_another_process(1, after)


@pytest.mark.parametrize(
    ("old", "new"), [("class Base", "\n\nclass Base"), ('"""A step of the user\'s."""', '"""A step."""')]
)
def test_lines_and_docstrings_of_classes_are_no_content(old: Any, new: Any, tmp_path: Any) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for directory, text in ((before, CONTENT), (after, CONTENT.replace(old, new))):
        directory.mkdir()
        (directory / "content.py").write_text(text)
    assert in_another_process(1, before) == in_another_process(1, after)


def test_a_value_may_hold_itself() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    assert describe(loop) == "list(1,<itself>)"


def test_places_are_no_content() -> None:
    first = StepSpec(dict, (), {}, Where("a", 1))
    assert first.fingerprint() == StepSpec(dict, (), {}, Where("b", 2)).fingerprint()


def test_a_changed_argument_is_seen() -> None:
    spec = StepSpec(dict, (), {"a": 1})
    before = spec.fingerprint()
    spec.set_arg("a", 2)
    assert spec.fingerprint() != before


def test_subclasses_of_plain_types_have_their_value() -> None:
    class Name(str):
        __slots__ = ()

    assert digest(Name("a")) != digest(Name("b"))
    assert digest(Name("a")) == digest(Name("a"))


def test_nothing_of_a_process_is_in_a_description() -> Any:
    @renderer
    def some(props: Any) -> Any:
        return props

    class Plain:
        def __init__(self) -> None:
            self.inner = object()
            self.step = some

    for value in (
        some,
        Transform(some, Property("x")),
        Interpolate("%(kw:a)s", a=some),
        Plain(),
        MasterLock("a"),
    ):
        assert "0x" not in describe(value)
