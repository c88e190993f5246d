"""Reading reports: what real runners write, and whatever else a file may hold."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildwright.model.results import FAILURE, SUCCESS, WARNINGS
from buildwright.steps.reports.case import FAILED, PASSED, SKIPPED, Case
from buildwright.steps.reports.formats import READERS
from buildwright.steps.testresults import read_all
from tests.config.support import WHOLE, Site
from tests.steps.conftest import Start
from tests.steps.test_builddata import results_of, sets_of

TESTS = """
import unittest
class Some(unittest.TestCase):
    def test_good(self):
        print("talks")
    def test_bad(self):
        self.assertEqual(1, 2, "one is two")
    def test_broken(self):
        raise KeyError("x")
    @unittest.skip("not here")
    def test_skipped(self):
        pass
"""
OUTCOMES = {"bad": FAILED, "broken": FAILED, "good": PASSED, "skipped": SKIPPED}
TO_MEND = "todo".upper()


def run(directory: Path, *command: str, **env: str) -> bytes:
    """What a program prints; it may fail."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **env}
    return subprocess.run(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    ).stdout


def by_pytest(directory: Path) -> bytes:
    (directory / "test_some.py").write_text(TESTS)
    arguments = ["-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "--junitxml=report.xml", "test_some.py"]
    said = run(directory, sys.executable, "-m", "pytest", *arguments)
    assert (directory / "report.xml").exists(), said
    return (directory / "report.xml").read_bytes()


def by_trial(directory: Path) -> bytes:
    tests = TESTS.replace("import unittest", "from twisted.trial import unittest", 1)
    tests = tests.replace('@unittest.skip("not here")', "")
    tests = tests.replace("        pass", '        raise unittest.SkipTest("not here")')
    (directory / "test_some.py").write_text(tests)
    return run(directory, "trial3", "test_some", PYTHONPATH=str(directory))


def by_subunit(directory: Path) -> bytes:
    (directory / "test_some.py").write_text(TESTS)
    return run(directory, "/usr/bin/python3", "-m", "subunit.run", "test_some")


def by_subunit_1(directory: Path) -> bytes:
    (directory / "stream").write_bytes(by_subunit(directory))
    (directory / "convert.py").write_text(
        "import sys, subunit, testtools\n"
        "to = testtools.StreamToExtendedDecorator(subunit.TestProtocolClient(sys.stdout.buffer))\n"
        "to.startTestRun()\n"
        "subunit.ByteStreamToStreamResult(open('stream', 'rb'), 'stdout').run(to)\n"
        "to.stopTestRun()\n"
    )
    return run(directory, "/usr/bin/python3", "convert.py")


@pytest.mark.parametrize(
    ("format", "write", "has"),
    [
        ("junit", by_pytest, {"bad": "AssertionError: 1 != 2 : one is two", "skipped": "not here"}),
        ("trial", by_trial, {"broken": "builtins.KeyError: 'x'", "skipped": "not here"}),
        ("subunit", by_subunit, {"bad": "AssertionError: 1 != 2 : one is two", "skipped": "not here"}),
        ("subunit", by_subunit_1, {"broken": "KeyError: 'x'", "skipped": "not here"}),
    ],
)
def test_what_runners_of_python_tests_write(
    format: str, write: Callable[[Path], bytes], has: dict[str, str], tmp_path: Path
) -> None:
    data = write(tmp_path)
    cases, problem = read_all(data, format)
    assert problem is None
    assert {case.name: case.outcome for case in cases} == {
        f"test_some.Some.test_{name}": outcome for name, outcome in OUTCOMES.items()
    }
    messages = {case.name.rpartition("_")[2]: case.message or "" for case in cases}
    for name, text in has.items():
        assert text in messages[name], messages
    assert messages["good"] == ""
    if format != "trial":
        assert all(case.duration_ns is not None for case in cases)
    assert read_all(data, None) == (cases, None)  # it tells its format itself
    half, problem = read_all(data[: len(data) // 2], format)
    assert problem is not None
    assert [case[:2] for case in half] == [case[:2] for case in cases[: len(half)]]


PERL = f"""
use Test::More;
ok(1, 'good'); is(1, 2, 'bad # hash');
SKIP: {{ skip "not here", 1; ok(1); }}
{TO_MEND}: {{ local ${TO_MEND} = "known"; ok(0, 'expected'); }}
subtest 'group' => sub {{ plan tests => 2; ok(1, 'inner good'); ok(0, 'inner bad'); }};
done_testing;
"""


def test_tap_of_perl(tmp_path: Path) -> None:
    (tmp_path / "t.pl").write_text(PERL)
    data = run(tmp_path, "perl", "t.pl")
    cases, problem = read_all(data, None)
    assert problem is None
    assert [(case.name, case.outcome) for case in cases] == [
        ("good", PASSED),
        ("bad # hash", FAILED),
        ("3", SKIPPED),
        ("expected", SKIPPED),
        ("group - inner good", PASSED),
        ("group - inner bad", FAILED),
    ]
    assert "expected: '2'" in (cases[1].message or "")
    assert cases[2].message == "SKIP not here"
    assert (cases[5].message or "").startswith("Failed test 'inner bad'")


NODE = """TAP version 13
# Subtest: outer
    # Subtest: in one
    ok 1 - in one
      ---
      duration_ms: 0.5
      ...
    # Subtest: in two
    not ok 2 - in two
      ---
      duration_ms: 1.25
      error: 'ok 7'
      stack: |-
        not ok 8
      ...
    1..2
not ok 1 - outer
  ---
  duration_ms: 3
  ...
not ok 2 - alone
  ---
  error: 'ok'
ok 3
1..3
# pass 2
"""


def test_tap_with_diagnostics() -> None:
    """As Node's test runner writes it; the last block never ends."""
    assert read_all(NODE.encode(), "tap") == (
        [
            Case("outer - in one", PASSED, 500_000),
            Case("outer - in two", FAILED, 1_250_000, "error: 'ok 7'\nstack: |-\nnot ok 8"),
            Case("alone", FAILED, None, "error: 'ok'"),
            Case("3", PASSED),
        ],
        None,
    )


CMAKE = """
cmake_minimum_required(VERSION 3.10)
project(x NONE)
enable_testing()
add_test(NAME good COMMAND sh -c "exit 0")
add_test(NAME dots... COMMAND sh -c "exit 0")
add_test(NAME bad COMMAND sh -c "echo some output; exit 3")
add_test(NAME skipped COMMAND sh -c "exit 77")
set_tests_properties(skipped PROPERTIES SKIP_RETURN_CODE 77)
add_test(NAME off COMMAND sh -c "exit 0")
set_tests_properties(off PROPERTIES DISABLED TRUE)
add_test(NAME missing COMMAND nothing-like-that)
"""


def test_ctest_in_all_its_ways(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(CMAKE)
    run(tmp_path, "cmake", "-S", ".", "-B", "b")
    (tmp_path / "b" / "DartConfiguration.tcl").write_text("BuildName: x\n")
    printed = run(tmp_path / "b", "ctest")
    run(tmp_path / "b", "ctest", "-T", "Test", "--output-junit", "junit.xml")
    [written] = (tmp_path / "b" / "Testing").glob("*/Test.xml")
    expected = {"good": PASSED, "bad": FAILED, "skipped": SKIPPED, "off": SKIPPED, "missing": FAILED}
    cases: list[Case] = []
    for data, dots in ((printed, "dots"), (written.read_bytes(), "dots...")):
        cases, problem = read_all(data, None)
        assert problem is None
        assert {case.name: case.outcome for case in cases} == {**expected, dots: PASSED}
        assert cases == read_all(data, "ctest")[0]
    bad = next(case for case in cases if case.name == "bad")
    assert "some output" in (bad.message or "")
    assert bad.duration_ns is not None
    cases, problem = read_all((tmp_path / "b" / "junit.xml").read_bytes(), None)
    assert problem is None
    # ctest itself says in this format that a program that is missing was skipped.
    junit = {**expected, "dots...": PASSED, "missing": SKIPPED}
    assert {case.name: case.outcome for case in cases} == junit
    cut, problem = read_all(printed[: printed.index(b"Start 4")], "ctest")
    assert (len(cut), problem) == (3, "it ends after 3 of 6 tests")


JUNIT = b"""<?xml version="1.0"?>
<!DOCTYPE testsuites>
<testsuites xmlns:x="urn:x">
 <testsuite name="suite"><properties><property name="a" value="b"/></properties>
  <testcase name="plain" time="1,234.5" file="src/a.c" line="12"><system-out>talk</system-out></testcase>
  <testcase name="again" classname="C"><flakyFailure message="once"/></testcase>
  <testcase name="C.whole" classname="C" time="NaN"><error type="E"><![CDATA[a < b]]></error></testcase>
  <testcase name="both" classname="C" line="x"><failure message="one">two</failure><skipped/></testcase>
  <testcase classname="C" time="-1"/>
 </testsuite>
</testsuites>
"""


def test_odd_junit() -> None:
    assert read_all(JUNIT, None) == (
        [
            Case("suite.plain", PASSED, 1_234_500_000_000, None, "src/a.c", 12),
            Case("C.again", PASSED),
            Case("C.whole", FAILED, None, "a < b"),
            Case("C.both", FAILED, None, "one\ntwo"),
            Case("C.", PASSED),
        ],
        None,
    )


LAUGHS = b"""<!DOCTYPE testsuite [<!ENTITY a "haha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<testsuite><testcase name="&b;"/></testsuite>"""
OUTSIDE = b"""<!DOCTYPE testsuite [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<testsuite><testcase name="x"><failure>&a;</failure></testcase></testsuite>"""


@pytest.mark.parametrize(
    ("data", "format", "said"),
    [
        (b"", None, "it is empty"),
        (b"\0\0", None, "it looks like no format that is known: ctest, junit, pytest, subunit, tap, trial"),
        (b"", "junit", "line 1: no XML from here on: no element found"),
        (b"<html></html>", "junit", "no JUnit report: its outermost element is <html>"),
        (b"<testsuite><testcase name='a'>", "junit", "line 1: no XML from here on: no element found"),
        (b"<testsuite>\n&nbsp;</testsuite>", "junit", "line 2: no XML from here on: undefined entity"),
        (LAUGHS, "junit", "line 1: it declares XML entities, which are not read"),
        (OUTSIDE, "junit", "line 1: it declares XML entities, which are not read"),
        (
            b"<?xml version='1.0' encoding='nonsense'?><testsuite/>",
            "junit",
            "no XML that can be read: unknown",
        ),
        (b"<testsuite>" * 200, "junit", "line 1: more than 100 elements within each other"),
        (b"<html/>", "ctest", "no report of ctest: its outermost element is <html>"),
        (b"nothing", "ctest", "no report of ctest: it names no test"),
        pytest.param(b"\n" * 2_000_001, "tap", "it has more than 2000000 lines", id="many lines"),
        (b"words\n", "tap", "no TAP"),
        (b"ok 1\nok 2\n", "tap", "it has no plan: nobody knows whether its 2 tests are all"),
        (b"1..3\nok 1\n", "tap", "its plan says 3 tests, but it has 1"),
        (b"1..3\nok 1\nBail out! No disk\n", "tap", "line 3: bailed out: No disk"),
        (b"words\n", "subunit", "no subunit stream: it names no test"),
        (b"test: a\n", "subunit", "it ends while 'a' runs"),
        (b"failure: a [\nwhy", "subunit", "it ends within what it says of 'a'"),
        (b"failure: a [ multipart\nx\ny\nFFFF\n", "subunit", "a part of what it says of 'a' is cut off"),
        (b"\xb3\x11\x03\x08\0\0\0\0", "subunit", "a subunit packet of the unknown version 1"),
        (b"\xb3\x20\x03\x3f\0\0\0\0", "subunit", "its last subunit packet is cut off"),
        (b"\xb3\x20\x03\x08\0\0\0\0", "subunit", "the checksum of a subunit packet is wrong"),
        (b"words\n", "trial", "no report of trial"),
        (b"a\n  B\n    c ...  [OK]\n", "trial", "it ends after 1 tests"),
        (b"a\n  B\n    c ...  [OK]\nRan 2 tests in 1s\n", "trial", "it says that 2 tests ran, but names 1"),
    ],
)
def test_what_is_malformed_is_said_in_a_line(data: bytes, format: str | None, said: str) -> None:
    cases, problem = read_all(data, format)
    assert problem is not None
    assert problem.startswith(said), problem
    assert "\n" not in problem
    assert len(cases) <= 2


SEEDS = [
    JUNIT,
    LAUGHS,
    NODE.encode(),
    b"\xb3\x29\x03\x0c\x01a\x00\x00\x00\x00",
    b"test: a\nfailure: a [\nx\n]\n",
]


@given(
    st.sampled_from(sorted(READERS)),
    st.one_of(
        st.binary(max_size=200),
        st.text(alphabet="ok not.1# -[]:\n<>=*&;x", max_size=200).map(str.encode),
        st.tuples(st.sampled_from(SEEDS), st.integers(0, 300), st.binary(max_size=4)).map(
            lambda made: made[0][: made[1]] + made[2] + made[0][made[1] + 1 :]
        ),
    ),
)
def test_nothing_but_cases_and_a_problem_comes_out(format: str, data: bytes) -> None:
    for asked in (format, None):
        cases, problem = read_all(data, asked)
        assert all(case.name and case.outcome in (PASSED, FAILED, SKIPPED) for case in cases)
        assert problem is None or len(problem) < 600


# -- the step ------------------------------------------------------------------------------------------------


async def test_a_build_keeps_the_results_of_its_reports(start: Start) -> None:
    """Two files of a pattern, one of them without an end, and what a test printed in a third."""
    it = await start(
        """
good = '<testsuite><testcase classname="a" name="one" time="0.5"/><testcase classname="a" name="two">' \\
    '<skipped message="later"/></testcase></testsuite>'
bad = '<testsuite><testcase classname="b" name="three" file="b.py" line="7"><failure message="no"/>' \\
    '</testcase><testcase classname="b" name="lost"'
builder("b",
    steps.StringDownload(good, workerdest="reports/1.xml"),
    steps.StringDownload(bad, workerdest="reports/2.xml"),
    steps.StringDownload("ok 1 - tap\\n1..1\\n", workerdest="out.tap"),
    steps.TestResults(["reports/*.xml", util.Interpolate("%(kw:name)s.tap", name="out")]))
builder("clean", steps.StringDownload(good, workerdest="r.xml"), steps.TestResults("r.xml", format="junit"))
builder("missing", steps.TestResults("none.xml"), steps.TestResults("*.none", name="pattern"))
"""
    )
    built = await it.build()
    assert built.results == FAILURE
    step = built.step("test results")
    assert step.state == "4 tests, 1 failed, 1 skipped, 1 report not read to the end (failure)"
    log = step.logs["stdio"]
    assert b"FAILED b.three: no\n" in log.out
    assert b"2.xml: line 1: no XML from here on: unclosed token\n" in log.err, built
    ran, skipped = await sets_of(it, built.id)
    assert (ran["category"], ran["value_unit"], ran["tests_passed"], ran["tests_failed"]) == (
        "pass_fail", "boolean", 2, 1,
    )  # fmt: skip
    assert await results_of(it, ran["id"]) == [
        ("a.one", None, None, 500_000_000, "1", None, 1),
        ("b.three", "b.py", 7, None, "0", "no", 0),
        ("tap", None, None, None, "1", None, 1),
    ]
    assert (skipped["category"], skipped["value_unit"], skipped["tests_passed"]) == (
        "skip_only",
        "message",
        None,
    )
    assert await results_of(it, skipped["id"]) == [("a.two", None, None, None, "later", None, None)]
    clean = await it.build("clean")
    assert (clean.results, clean.step("test results").state) == (SUCCESS, "2 tests, 1 skipped")
    missing = await it.build("missing")
    assert missing.results == WARNINGS
    assert missing.outline == [("test results", WARNINGS), ("pattern", WARNINGS)]
    assert b"none.xml can't be read\n" in missing.log("test results").err
    assert b"no file matches *.none\n" in missing.log("pattern").err


async def test_p4_a_report_is_read_again_under_another_master(start: Start) -> None:
    """P4: the master dies between two reports; each test has one result."""
    it = await start('builder("b", steps.TestResults(["first.tap", "second.tap"]))')
    directory = it.builddir() / "build"
    directory.mkdir(parents=True)
    lines = "".join(f"ok {i} - test {i}\n" for i in range(1, 3001))
    (directory / "first.tap").write_text(f"{lines}1..3000\n")
    os.mkfifo(directory / "second.tap")
    request = await it.submit()

    async def stored() -> bool:
        builds = await it.builds(request)
        return bool(builds and (sets := await sets_of(it, builds[0].id)) and sets[0]["num_results"] >= 1000)

    await it.until("builds", stored)
    writer = os.open(directory / "second.tap", os.O_RDWR)
    await it.restart()
    (directory / "second.tap").unlink()
    (directory / "second.tap").write_text("not ok 1 - last\n1..1\n")
    os.close(writer)
    built = await it.finished(request)
    assert (built.results, built.attempt, built.step("test results").tries) == (FAILURE, 1, 1), built
    [ran] = await sets_of(it, built.id)
    assert (ran["tests_passed"], ran["tests_failed"], ran["num_results"]) == (3000, 1, 3001)
    names = [name for name, *_ in await results_of(it, ran["id"])]
    assert names == [*(f"test {i}" for i in range(1, 3001)), "last"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("()", "step TestResults has no path (give it the report's path at the worker)"),
        ("(3)", "step TestResults: path must be a path or a list of paths, not int 3"),
        ("('x', format='junt')", "step TestResults: there is no format str 'junt' (did you mean 'junit'?)"),
        ("('x', format=3)", "step TestResults: there is no format int 3 (there are ctest, junit,"),
        ("('x', maxsize='1')", "step TestResults: maxsize must be a number of bytes, not str '1'"),
        ("('x', pth=1)", "step TestResults has no argument 'pth' (did you mean 'path'?)"),
    ],
)
def test_wrong_arguments_are_told(call: str, said: str, tmp_path: Path) -> None:
    errors = Site(tmp_path).refused(f"{WHOLE}steps.TestResults{call}\n")
    assert [error for error in errors if error.startswith(f"master.cfg:8: {said}")], errors
