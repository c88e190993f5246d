"""Steps that count warnings."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildwright.builds.observers import HEADER, LogLineObserver
from buildwright.model.errors import ConfigErrors
from buildwright.model.results import CANCELLED, FAILURE, SUCCESS, WARNINGS
from buildwright.plugins import steps, util
from buildwright.steps.patterns import plain_text_in
from buildwright.steps.warnings import Suppression, WarningObserver, parse_suppressions
from tests.steps.conftest import Start

C_FILE = """
int main(void) { int unused; return 0; }
"""
MAKEFILE = """
all:
\t$(MAKE) -C inner
"""
INNER = """
all:
\tgcc -Wall -c main.c
"""


async def test_a_real_compiler(start: Start) -> None:
    it = await start(
        """
groups = steps.Compile.warnExtractFromRegexpGroups
pattern = "^(.*?):([0-9]+):.*[Ww]arning: (.*)$"
S = steps.Compile
builder("b", S(), S(warningPattern=pattern, warningExtractor=groups, name="groups",
        suppressionList=[("^/.*/inner/main.c$", "unused", 2, None)]),
    S(name="others", warningPattern=pattern, warningExtractor=groups,
        suppressionList=[("main.c", None, 3, 9)]),
    S(name="file", warningPattern=pattern, warningExtractor=groups, suppressionFile="suppress"),
    S(name="none", warningPattern=None, flunkOnWarnings=True), env={"LC_ALL": "C"})
"""
    )
    there = it.builddir() / "build"
    (there / "inner").mkdir(parents=True)
    (there / "Makefile").write_text(MAKEFILE)
    (there / "inner/Makefile").write_text(INNER)
    (there / "inner/main.c").write_text(C_FILE)
    (there / "suppress").write_text("# known\n\nmain.c : .*unused variable.* : 1-4\n")
    built = await it.build()
    assert built.outline == [
        ("compile", WARNINGS), ("groups", SUCCESS), ("others", WARNINGS), ("file", SUCCESS),
        ("none", SUCCESS),
    ], built  # fmt: skip
    assert built.results == SUCCESS
    assert b"unused variable" in built.log("compile", "warnings (1)").out
    assert built.step("compile").state == "compile 1 warning (warnings)"
    assert built.step("groups").state == "compile"
    assert built.properties["warnings-count"] == 2
    assert built.sources["warnings-count"] == "WarningCountingShellCommand"


async def test_results(start: Start) -> None:
    it = await start(
        """
says = "echo 'a warning: one' >&2; echo nothing; printf 'WARNING two'; exit "
W = steps.WarningCountingShellCommand
builder("b", W(name="warned", command=says + "0"), W(name="failed", command=says + "1"),
    W(name="most", command=says + "0", maxWarnCount=2),
    W(name="more", command=says + "0", maxWarnCount=util.Property("most", default=1)),
    W(name="other", command=says + "0", warningPattern=util.Property("pattern", default="nothing$")),
    W(name="gone", command="true", suppressionFile="gone"),
    W(name="bad", command="true", suppressionFile="bad"))
"""
    )
    (it.builddir() / "build").mkdir(parents=True)
    (it.builddir() / "build/bad").write_text("# none\nonly a file\n")
    built = await it.build()
    assert built.outline == [
        ("warned", WARNINGS), ("failed", FAILURE), ("most", WARNINGS), ("more", FAILURE), ("other", WARNINGS),
        ("gone", FAILURE), ("bad", FAILURE),
    ], built  # fmt: skip
    assert sorted(built.log("warned", "warnings (2)").out.splitlines()) == [b"WARNING two", b"a warning: one"]
    assert built.log("other", "warnings (1)").out == b"nothing\n"
    assert built.properties["warnings-count"] == 9
    assert b"suppression file gone: it can't be read" in built.log("gone").err
    assert b"suppression file bad: line 2 is not 'file : text'" in built.log("bad").err


async def test_a_stop(start: Start) -> None:
    it = await start('builder("b", steps.Compile(command="echo warning: x; exec sleep 1000"))')
    request = await it.submit()
    await it.until_output(request, b"warning")
    await it.stop_build(request)
    built = await it.finished(request)
    assert built.outline == [("compile", CANCELLED)]
    assert built.log("compile", "warnings (1)").out == b"warning: x\n"


async def test_a_subclass(start: Start) -> None:
    """Class attributes, and an extractor of one's own."""
    it = await start(
        """
class Mine(steps.WarningCountingShellCommand):
    name = "mine"
    warningPattern = "^W "
    suppressionList = [("known", None, None, None)]
    def __init__(self, **kwargs):
        super().__init__(warningExtractor=Mine.extract, **kwargs)
    def extract(self, line, match):
        return line.split()[1], None, line
    def evaluateCommand(self, cmd):
        return util.SUCCESS if self.warnCount == 1 else util.FAILURE
builder("b", Mine(command="echo W known a; echo W new b"))
"""
    )
    built = await it.build()
    assert built.outline == [("mine", SUCCESS)], built
    assert built.log("mine", "warnings (1)").out == b"W new b\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"warningPattern": "("}, "warningPattern is no regular expression"),
        ({"warningPattern": 3}, "warningPattern must be a regular expression, not int 3"),
        ({"directoryEnterPattern": []}, "directoryEnterPattern must be a regular expression"),
        ({"warningExtractor": "groups"}, "warningExtractor must be a function"),
        ({"maxWarnCount": "3"}, "maxWarnCount must be a number or None"),
        ({"suppressionFile": 3}, "suppressionFile must be a path"),
        ({"suppressionList": "file"}, "suppressionList must be a list"),
        ({"suppressionList": [("a", "b")]}, "an entry must be"),
        ({"suppressionList": [("a", "b", "1", 2)]}, "a line must be a number"),
        ({"suppressionList": [(1, "b", 1, 2)]}, "a pattern must be text"),
        ({"suppressionList": [("(", "b", 1, 2)]}, "is no regular expression"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        steps.Compile(**arguments)


def test_suppression_files() -> None:
    found = parse_suppressions("a.c : ^x : 3\n b.c : y:z\nc : d : 5-7")
    assert [(each.file and each.file.pattern, each.text and each.text.pattern) for each in found] == [
        ("a.c", "^x"),
        ("b.c", "y:z"),
        ("c", "d"),
    ]
    assert [(each.first, each.last) for each in found] == [(3, 3), (None, None), (5, 7)]
    assert found[2].covers("c", 6, "d")
    assert not found[2].covers("c", 8, "d")
    assert not found[2].covers("c", None, "d")
    assert not found[0].covers(None, 3, "x")
    with pytest.raises(ValueError, match="line 1 has a pattern that is none"):
        parse_suppressions("( : x")


PATTERNS = [
    "(?i).*warning[: ].*",
    r"^(.*?):(\d+):\s*[Ww]arning: (.*)$",
    r"^\s*W\d+:",
    "a+b?c{2}d*e",
    "(x)?y[]z]|q",
    r"\.c:\[x\]",
    "(?x) a b # c",
    "[^:]*: +note",
    ".*",
    r"\x41bc",
    "é+rror",
    "(?#a)warning",
    ".*warnings?: y",
]


@given(
    st.sampled_from(PATTERNS),
    st.lists(
        st.text("aAbBcdeé:. 1[]xyzqW\r", max_size=12)
        | st.sampled_from(
            [
                "x Warning: y",
                "warning: y",
                "a.c:3: warning: z",
                " W12:",
                "abccde",
                ".c:[x]",
                "a: note",
                "Abc",
                "érror",
            ]
        ),
        max_size=8,
    ),
    st.integers(1, 30),
)
def test_looking_for_plain_text_first_misses_nothing(pattern: str, lines: list[str], size: int) -> None:
    compiled = re.compile(pattern)
    expected = [line.rstrip("\r") for line in lines if compiled.match(line.rstrip("\r"))]
    found: list[str] = []

    def extract(line: str, match: re.Match[str]) -> tuple[None, None, str]:
        found.append(line)
        return None, None, line

    observer = WarningObserver(
        compiled, None, None, extract, [Suppression(re.compile("x"), None, None, None)]
    )
    data = "\n".join(lines).encode()
    for start in range(0, len(data), size):
        observer.feed("o", data[start : start + size])
        observer.feed(HEADER, b"warning: of no interest\n")
    observer.flush()
    if lines and not lines[-1]:  # nothing after the last newline is no line
        expected = [line.rstrip("\r") for line in lines[:-1] if compiled.match(line.rstrip("\r"))]
    assert found == expected
    assert observer.warnings.count == len(expected)


def test_plain_texts() -> None:
    texts = [plain_text_in(re.compile(pattern)) for pattern in PATTERNS]
    assert texts == [
        b"warning", b"arning: ", b"w", b"a", None, b".c:[x]", None, b"note", None, None, b"rror", None,
        b"warning",
    ]  # fmt: skip
    assert plain_text_in(re.compile(steps.Compile.directoryEnterPattern)) == b": entering directory "


def test_only_suspects_are_looked_at() -> None:
    pattern = re.compile(steps.Compile.warningPattern)
    observer = WarningObserver(pattern, None, None, lambda line, _: (None, None, line), [])
    block = b"gcc -c a.c\nThe Warning\n" * 3 + b"make: Entering directory 'x'\n"
    assert list(observer._suspects(block)) == [b"The Warning"] * 3


def test_a_line_without_end_is_given_in_pieces() -> None:
    """Nobody keeps all of it, and nobody joins it again with each piece that comes."""

    class Sizes(LogLineObserver):
        def __init__(self) -> None:
            super().__init__()
            self.sizes: list[int] = []

        def outLineReceived(self, line: str) -> None:
            self.sizes.append(len(line))

    observer = Sizes()
    for _ in range(40):
        observer.feed("o", b"x" * 65536)
    observer.feed("o", b"end\nnext\nrest")
    observer.finished()
    assert observer.sizes == [17 * 65536, 17 * 65536, 6 * 65536 + 3, 4, 4]


async def test_consuming_lines(start: Start) -> None:
    it = await start(
        """
class Lines(steps.ShellCommand):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = []
        self.addLogObserver("stdio", util.LineConsumerLogObserver(self.consume))
    def consume(self):
        while len(self.seen) < 3:
            stream, line = yield
            if stream != "h":
                self.seen.append(stream + line)
    async def evaluateCommand(self, cmd):
        self.setProperty("seen", sorted(self.seen))
        return cmd.results()
builder("b", Lines(command="echo one; echo two >&2; echo three; sleep 0; echo four"))
"""
    )
    built = await it.build()
    assert built.results == SUCCESS, built
    assert len(built.properties["seen"]) == 3
    assert set(built.properties["seen"]) <= {"oone", "etwo", "othree", "ofour"}
    assert util.LineConsumerLogObserver.__mro__[1] is util.LogLineObserver
