"""Steps that run test suites and count their tests, with the real runners."""

from pathlib import Path

import sqlalchemy as sa

from buildwright.model.results import FAILURE, SUCCESS, WARNINGS
from buildwright.store import schema
from tests.steps.conftest import Start
from tests.support.rig import Rig

# A test that is expected to fail, and doesn't.
EXPECTED = "use Test::More tests; XX: { local $XX = 'x'; ok 1 }\n".replace("XX", "TO" + "DO")


async def test_make_test(start: Start) -> None:
    it = await start(
        """
class Counted(steps.Test):
    def evaluateCommand(self, cmd):
        self.setTestResults(total=3, failed=1, passed=2, warnings=1)
        self.setTestResults(total=1, passed=1)
        names = ("total", "failed", "passed", "warnings")
        self.setProperty("counts", [self.getStatistic("tests-" + name) for name in names])
        return super().evaluateCommand(cmd)
builder("b", steps.Test(), Counted(name="counted", command="exit 1"))
"""
    )
    (it.builddir() / "build").mkdir(parents=True)
    (it.builddir() / "build/Makefile").write_text("test:\n\t@echo 'warning: odd'\n")
    built = await it.build()
    assert built.outline == [("test", WARNINGS), ("counted", FAILURE)], built
    assert built.step("test").state == "test 1 warning (warnings)"
    assert built.step("counted").state == "test 4 tests 3 passed 1 failed 1 warning (failure)"
    assert built.properties["counts"] == [4, 1, 3, 1]


async def test_perl_modules(start: Start) -> None:
    it = await start('P = steps.PerlModuleTest\nbuilder("b", P())\nbuilder("c", P(workdir="."))')
    tests = it.builddir() / "build/t"
    tests.mkdir(parents=True)
    (it.builddir() / "build/lib").mkdir()
    (tests / "good.t").write_text("use Test::More tests => 2; ok 1; ok 1;\n")
    (tests / "bad.t").write_text("use Test::More tests => 3; ok 1; ok 0; ok 0;\n")
    (tests / "todo.t").write_text(EXPECTED.replace("tests", "tests => 3").replace("ok 1", "ok 1; ok 1; ok 1"))
    built = await it.build()
    assert built.outline == [("test", FAILURE)], built
    assert built.step("test").state == "test 8 tests 6 passed 2 failed 3 warnings (failure)"
    tests = it.builddir("c") / "t"
    tests.mkdir(parents=True)
    (it.builddir("c") / "lib").mkdir()
    (tests / "todo.t").write_text(EXPECTED.replace("tests", "tests => 1"))
    assert (await it.build("c")).outline == [("test", WARNINGS)]
    (tests / "todo.t").write_text("use Test::More tests => 1; ok 1;\n")
    built = await it.build("c")
    assert built.outline == [("test", SUCCESS)], built
    assert built.step("test").state == "test 1 test 1 passed"


SUITE = """
from twisted.trial import unittest
class Case(unittest.TestCase):
    def test_good(self):
        pass
    def test_bad(self):
        self.assertEqual(1, 2)
    def test_error(self):
        raise RuntimeError("broken")
    def test_skipped(self):
        pass
    test_skipped.skip = "not today"
    def test_todo(self):
        self.fail()
    test_todo.todo = "some day"
"""


def suite(directory: Path) -> None:
    package = directory / "build/lib/pack"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "test_all.py").write_text(SUITE)


async def test_trial(start: Start) -> None:
    it = await start(
        """
T = steps.Trial
good = "pack.test_all.Case.test_good"
builder("b", T(trial="trial3", testpath="lib", tests="pack", env={"PYTHONPATH": "other"}),
    T(trial="trial3", testpath="lib", tests=[good], jobs=2, name="jobs"),
    T(trial="trial3", testpath=None, testChanges=True, randomly=True, recurse=True, reactor="poll",
        trialMode=["--reporter=text"], trialArgs=["--rterrors"], python=["python3"], name="changes",
        doStepIf=False),
    env={"PYTHONPATH": "unused"})
"""
    )
    suite(it.builddir())
    built = await it.build()
    assert built.outline[:2] == [("trial", FAILURE), ("jobs", SUCCESS)], built
    assert built.step("trial").state == "trial 5 tests 1 failure 1 error 1 skip 1 todo (failure)"
    assert built.step("jobs").state == "trial 1 test"
    assert b"RuntimeError: broken" in built.log("trial", "problems").out
    assert b"Log opened" in built.log("trial", "test.log").out
    assert {"test.0.log", "test.1.log"} & set(built.step("jobs").logs)
    assert b"PYTHONPATH=lib:other\n" in built.log("trial").header
    assert b"PYTHONPATH=lib:unused\n" in built.log("jobs").header


CASES = """
import unittest
class Case(unittest.TestCase):
    def test_good(self):
        pass
    @unittest.skip("not today")
    def test_skipped(self):
        pass
class Bad(unittest.TestCase):
    def test_bad(self):
        self.assertEqual(1, 2, "so it is")
"""


async def results_of(it: Rig, stepid: int) -> dict[str, dict[str, str]]:
    """A step's test results: {category: {test: value}}."""
    sets, results, names = schema.test_result_sets, schema.test_results, schema.test_names
    found = await it.store.fetch(
        sa.select(sets.c.category, names.c.name, results.c.value)
        .select_from(sets.join(results, results.c.test_result_setid == sets.c.id))
        .outerjoin(names, names.c.id == results.c.test_nameid)
        .where(sets.c.stepid == stepid)
    )
    kept: dict[str, dict[str, str]] = {}
    for category, name, value in found:
        kept.setdefault(category, {})[name] = value
    return kept


async def test_subunit(start: Start) -> None:
    it = await start(
        """
S = steps.SubunitShellCommand
run = ["/usr/bin/python3", "-m", "subunit.run"]  # Debian's, which has the package
text = "printf 'output\\\\ntest: a\\\\nsuccess: a\\\\ntest: b\\\\nfailure: b [\\\\nwhy\\\\n]\\\\n'"
builder("b", S(command=[*run, "cases"], name="bad"), S(command=[*run, "cases.Case"], name="good"),
    S(command=text, name="text"), S(command="true", name="none"),
    S(command="true", name="too-few", failureOnNoTests=True), S(command="exit 3", name="broken"),
    S(command="printf 'test: a\\\\n'", name="cut"))
"""
    )
    (it.builddir() / "build").mkdir(parents=True)
    (it.builddir() / "build/cases.py").write_text(CASES)
    built = await it.build()
    assert built.outline == [
        ("bad", FAILURE), ("good", SUCCESS), ("text", FAILURE), ("none", SUCCESS), ("too-few", FAILURE),
        ("broken", FAILURE), ("cut", WARNINGS),
    ], built  # fmt: skip
    assert built.step("bad").state == "test 3 tests 1 passed 1 failed (failure)"
    assert b"FAILED cases.Bad.test_bad\n" in built.log("bad", "problems").out
    assert b"so it is" in built.log("bad", "problems").out
    assert await results_of(it, built.step("bad").id) == {
        "pass_fail": {"cases.Bad.test_bad": "0", "cases.Case.test_good": "1"},
        "skip_only": {"cases.Case.test_skipped": "not today"},
    }
    assert await results_of(it, built.step("text").id) == {"pass_fail": {"a": "1", "b": "0"}}
    assert b"can't be read to its end" in built.log("cut", "problems").out
