"""Steps that run a tool and read what it says, with the real tools."""

import pytest
import sqlalchemy as sa

from buildwright.model.errors import ConfigErrors
from buildwright.model.results import FAILURE, SUCCESS, WARNINGS
from buildwright.plugins import steps
from buildwright.store import schema
from tests.steps.conftest import Start


async def test_cmake(start: Start) -> None:
    it = await start(
        """
builder("b", steps.CMake(path="..", workdir="build/out", generator="Unix Makefiles", options=["-Wno-dev"],
        definitions={"NAME": util.Property("buildername"), "FLAG": True}),
    steps.CMake(cmake="/usr/bin/cmake", path="gone", name="gone"))
"""
    )
    there = it.builddir() / "build"
    there.mkdir(parents=True)
    text = 'cmake_minimum_required(VERSION 3.10)\nproject(x NONE)\nmessage(STATUS "is ${NAME} ${FLAG}")\n'
    (there / "CMakeLists.txt").write_text(text)
    built = await it.build()
    assert built.outline == [("cmake", SUCCESS), ("gone", FAILURE)], built
    assert b"-- is b True\n" in built.log("cmake").out
    assert (there / "out/Makefile").exists()
    assert b"cmake -G 'Unix Makefiles' -DNAME=b -DFLAG=True -Wno-dev ..\n" in built.log("cmake").header


async def test_cppcheck(start: Start) -> None:
    it = await start(
        """
C = steps.Cppcheck
old = ["--template={file}:{line}: {severity}: {message}"]
builder("b", C(enable=["style", "performance"], inconclusive=True, source=["bad.c"]),
    C(name="unused", enable="style", source="unused.c"), C(name="old", source="bad.c", extra_args=old),
    C(name="clean", source=["clean.c"]), C(name="wrong", extra_args=["--no-such-option"]))
"""
    )
    there = it.builddir() / "build"
    there.mkdir(parents=True)
    (there / "bad.c").write_text("int f(void) { int *p = 0; int unused; return *p; }\n")
    (there / "unused.c").write_text("void f(void) { int unused; }\n")
    (there / "clean.c").write_text("int f(void) { return 0; }\n")
    built = await it.build()
    assert built.outline == [
        ("cppcheck", FAILURE), ("unused", WARNINGS), ("old", FAILURE), ("clean", SUCCESS), ("wrong", FAILURE),
    ], built  # fmt: skip
    assert b"nullPointer" in built.log("cppcheck", "error").out
    assert b"unusedVariable" in built.log("unused", "style").out
    assert built.step("cppcheck").state.startswith("cppcheck error=1 style=")
    assert built.properties["cppcheck-error"] == 0  # of the last one
    assert built.properties["cppcheck-total"] == 0


async def test_sizes_and_leavings(start: Start) -> None:
    it = await start(
        """
builder("b", steps.TreeSize(), steps.RemovePYCs(), steps.TreeSize(name="gone", env={"PATH": "/"}))
"""
    )
    there = it.builddir() / "build"
    (there / "a/__pycache__").mkdir(parents=True)
    (there / "a/__pycache__/x.pyc").write_bytes(bytes(300 * 1024))
    (there / "a/x.py").write_text("")
    built = await it.build()
    assert built.outline == [("treesize", SUCCESS), ("remove_pyc", SUCCESS), ("gone", FAILURE)], built
    assert built.properties["tree-size-KiB"] >= 300
    assert built.step("treesize").state == f"tree size {built.properties['tree-size-KiB']} KiB"
    assert [path.name for path in there.rglob("*") if path.is_file()] == ["x.py"]


async def test_pyflakes(start: Start) -> None:
    it = await start(
        """
P = steps.PyFlakes
builder("b", P(command=["pyflakes3", "bad.py"]), P(command="pyflakes3 unused.py", name="unused"),
    P(command="pyflakes3 broken.py", name="broken"), P(command="pyflakes3 clean.py", name="clean"),
    P(command="no-such-pyflakes", name="gone"))
"""
    )
    there = it.builddir() / "build"
    there.mkdir(parents=True)
    (there / "bad.py").write_text(
        "import os\nfrom x import *\ndef f(): return missing\ndef f(): pass\nprint('%s' % (1, 2))\n"
        "def g():\n    return undefined_name\n"
    )
    (there / "unused.py").write_text("import os\nimport sys\n")
    (there / "broken.py").write_text("def f(:\n")
    (there / "clean.py").write_text("")
    built = await it.build()
    assert built.outline == [
        ("pyflakes", WARNINGS), ("unused", WARNINGS), ("broken", FAILURE), ("clean", SUCCESS),
        ("gone", FAILURE),
    ], built  # fmt: skip
    assert built.results == SUCCESS
    first = built.step("pyflakes")
    assert {name: log.out.count(b"\n") for name, log in first.logs.items() if name != "stdio"} == {
        "unused": 1, "redefs": 1, "import*": 3, "misc": 1,
    }, built  # fmt: skip
    assert built.step("unused").state == "pyflakes unused=2 (warnings)"


async def test_undefined_names(start: Start) -> None:
    it = await start('builder("b", steps.PyFlakes(command=["pyflakes3", "."]))')
    (it.builddir() / "build").mkdir(parents=True)
    (it.builddir() / "build/a.py").write_text("missing\n")
    built = await it.build()
    assert built.outline == [("pyflakes", FAILURE)], built
    assert built.properties["pyflakes-undefined"] == built.properties["pyflakes-total"] == 1
    assert built.properties["pyflakes-import*"] == 0


async def test_pylint(start: Start) -> None:
    it = await start(
        """
L = steps.PyLint
off = ["pylint", "--disable=all"]
old = "printf 'C:  1, 0: Missing (missing)\\\\nW0611:  1: Unused (unused)\\\\n'; exit 20"
builder("b", L(command=[*off, "--enable=E,C0114,W0611", "bad.py"]),
    L(command=[*off, "--enable=W0611,C0114", "--output-format=parseable", "bad.py"], name="parseable"),
    L(command=old, name="old"),
    L(command=[*off, "--enable=W0611", "clean.py"], name="clean"),
    L(command=[*off, "--no-such-option", "clean.py"], name="wrong"))
"""
    )
    there = it.builddir() / "build"
    there.mkdir(parents=True)
    (there / "bad.py").write_text("import os\nprint(missing)\n")
    (there / "clean.py").write_text("")
    built = await it.build()
    assert built.outline == [
        ("pylint", FAILURE), ("parseable", WARNINGS), ("old", WARNINGS), ("clean", SUCCESS),
        ("wrong", FAILURE),
    ], built  # fmt: skip
    assert built.step("pylint").state == "pylint convention=1 warning=1 error=1 (failure)"
    assert b"undefined-variable" in built.log("pylint", "error").out
    assert built.step("parseable").state == "pylint convention=1 warning=1 (warnings)"
    sets, results, paths = schema.test_result_sets.c, schema.test_results, schema.test_code_paths
    found = await it.store.fetch(
        sa.select(results.c.value, paths.c.path, results.c.line)
        .select_from(results.join(paths, paths.c.id == results.c.test_code_pathid))
        .join(schema.test_result_sets, sets.id == results.c.test_result_setid)
        .where(sets.stepid == built.step("pylint").id, sets.category == "code_issue")
    )
    assert ("E0602: Undefined variable 'missing' (undefined-variable)", "bad.py", 2) in [
        tuple(row) for row in found
    ]
    assert len(found) == 3
    assert built.step("old").state == "pylint convention=1 warning=1 (warnings)"
    assert (built.properties["pylint-error"], built.properties["pylint-total"]) == (0, 0)  # of the last one


async def test_sphinx(start: Start) -> None:
    it = await start(
        """
S = steps.Sphinx
defines = {"project": "P", "nitpicky": True}
builder("b", S(sphinx_builddir="out", sphinx_builder="text", tags=["wide"], defines=defines),
    S(sphinx_builddir="out", sphinx_builder="text", mode="full", strict_warnings=True, name="strict"),
    S(sphinx_sourcedir="gone", sphinx_builddir="out", name="gone"))
"""
    )
    there = it.builddir() / "build"
    there.mkdir(parents=True)
    (there / "conf.py").write_text("project = 'x'\nlanguage = 'en'\n")
    (there / "index.rst").write_text("Title\n=====\n\n|project| :doc:`gone`\n\n.. only:: wide\n\n   Wide.\n")
    built = await it.build()
    assert built.outline == [("sphinx", WARNINGS), ("strict", FAILURE)], built
    assert b"unknown document" in built.log("sphinx", "warnings").out
    assert b" -b text -t wide -D nitpicky=1 -D project=P . out\n" in built.log("sphinx").header
    assert b" -E -W . out\n" in built.log("strict").header
    assert "Wide." in (there / "out/index.txt").read_text() or built.step("strict").results == FAILURE


def test_wrong_arguments() -> None:
    with pytest.raises(ConfigErrors, match="step Sphinx has no sphinx_builddir"):
        steps.Sphinx()
    with pytest.raises(ConfigErrors, match="mode must be 'incremental' or 'full', not str 'fast'"):
        steps.Sphinx(sphinx_builddir="out", mode="fast")
    with pytest.raises(ConfigErrors, match="tags must be a list"):
        steps.Sphinx(sphinx_builddir="out", tags="wide")
    with pytest.raises(ConfigErrors, match="defines must be a dict"):
        steps.Sphinx(sphinx_builddir="out", defines=["a"])
    with pytest.raises(ConfigErrors, match="definitions must be a dict"):
        steps.CMake(definitions=["-DX=1"])
    with pytest.raises(ConfigErrors, match="options must be a list"):
        steps.CMake(options="-Wno-dev")
    with pytest.raises(ConfigErrors, match="enable must be text or a list"):
        steps.Cppcheck(enable=3)
    with pytest.raises(ConfigErrors, match="step PyLint has no command"):
        steps.PyLint()
    with pytest.raises(ConfigErrors, match="step CMake takes no argument 'command'"):
        steps.CMake(command="cmake")
    with pytest.raises(ConfigErrors, match="step Trial has no testpath"):
        steps.Trial(tests="x")
    with pytest.raises(ConfigErrors, match="step Trial has nothing to test"):
        steps.Trial(testpath=None)
    with pytest.raises(ConfigErrors, match="step CMake: path must be text, not list"):
        steps.CMake(path=["a"])
    with pytest.raises(ConfigErrors, match="strict_warnings must be True or False, not str 'no'"):
        steps.Sphinx(sphinx_builddir="out", strict_warnings="no")
    with pytest.raises(
        ConfigErrors, match="step Trial: trialMode must be text or a list of texts, not int 3"
    ):
        steps.Trial(testpath=None, tests="x", trialMode=3)
    with pytest.raises(ConfigErrors, match="jobs must be a number of 1 or more, not int 0"):
        steps.Trial(testpath=None, tests="x", jobs=0)
