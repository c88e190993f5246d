"""What is found in logs: plain texts, expressions, lines that look like errors, and how a search goes on."""

import sys
from pathlib import Path

import pytest

from buildwright.logs import search, signs
from buildwright.logs.append import Piece
from buildwright.logs.blobs import FileBlobs
from buildwright.logs.patterns import BadPattern, Pattern, visible
from buildwright.logs.reader import LogReader
from buildwright.logs.search import Searcher, any_line, errors, of_pattern
from buildwright.store.base import Store
from tests.logs.model import write

TEXT = "one\nTwo (2)\n\nthree\x00\nÜber ünï\nfour four\n".encode() + b"\xff\xfe raw\n"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (Pattern("o"), [0, 1, 5]),
        (Pattern("two (2)", case=False), [1]),
        (Pattern("two (2)"), []),
        (Pattern("(2"), [1]),
        (Pattern("^t", regex=True, case=False), [1, 3]),
        (Pattern("^$", regex=True), [2]),
        (Pattern("e$", regex=True), [0]),
        (Pattern("^[^x]+$", regex=True), [0, 1, 3, 4, 5]),
        (Pattern(r"one\s*Two", regex=True), []),
        (Pattern("über ÜNÏ", case=False), [4]),
        (Pattern("ü.ï", regex=True), [4]),
        (Pattern(" raw"), [6]),
        (Pattern("a|(?:u)r", regex=True), [5, 6]),
        (Pattern("\0"), [3]),
    ],
)
def test_a_pattern_finds_lines(pattern: Pattern, expected: list[int]) -> None:
    assert [number for number, _ in pattern.lines(TEXT)] == expected
    assert [TEXT[:begin].count(b"\n") for _, begin in pattern.lines(TEXT)] == expected


@pytest.mark.parametrize(
    ("text", "regex", "says"),
    [
        ("", False, "nothing to look for"),
        ("a\nb", False, "line break"),
        ("(a", True, "missing )"),
        (r"(a)\1", True, "invalid escape sequence"),
        ("a(?=b)", True, "invalid perl operator"),
        ("((a{100}){100}){100}", True, "repetition"),
    ],
)
def test_what_cannot_be_looked_for_is_said(text: str, regex: bool, says: str) -> None:
    with pytest.raises(BadPattern, match="(?i)" + says.replace(")", r"\)")):
        Pattern(text, regex=regex)


def test_an_expression_that_others_choke_on_is_linear() -> None:
    """With a backtracking matcher this test never ends."""
    text = b"a" * 100_000 + b"b\n"
    assert list(Pattern("(a+)+$", regex=True).lines(text)) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"\x1b[01;31m\x1b[Kerror: \x1b[m\x1b[Kno", b"error: no"),
        (b"\x1b]8;;http://x\x07link\x1b]8;;\x1b\\ \x1b(Bx", b"link x"),
        (b"\x1b]0;never ended\nnext", b"\nnext"),
        (b"50%\r100%", b"50%\r100%"),
        (b"lone \x1b", b"lone \x1b"),
    ],
)
def test_a_log_is_searched_as_it_is_shown(text: bytes, shown: bytes) -> None:
    assert visible(text) == shown


ERRORS = {
    "compiler": [
        "src/x.c:3:5: error: expected ';' before '}' token",
        "x.c:1:10: fatal error: nothing.h: No such file or directory",
        "error[E0382]: borrow of moved value: `s`",
        "error: aborting due to 1 previous error",
        "Foo.java:7: error: cannot find symbol",
        "main.ts(3,7): error TS2322: Type 'string' is not assignable to type 'number'.",
        "file.cpp(12): fatal error C1083: Cannot open include file",
        "collect2: error: ld returned 1 exit status",
        "x.kt:3: Error: no",
    ],
    "linker": ["main.c:(.text+0x5): undefined reference to `f'", "/usr/bin/ld: cannot find -lfoo"],
    "make": ["make: *** [Makefile:3: all] Error 1", "make[2]: *** No rule to make target 'x'.  Stop."],
    "ninja": ["FAILED: src/x.o ", "ninja: build stopped: subcommand failed."],
    "cmake": ["CMake Error at CMakeLists.txt:3 (find_package):"],
    "python": [
        "Traceback (most recent call last):",
        "ValueError: invalid literal",
        "subprocess.CalledProcessError: Command 'x' returned non-zero exit status 1.",
        "KeyboardInterrupt",
    ],
    "pytest": [
        "E   assert 1 == 2",
        "FAILED tests/test_x.py::test_y - assert 1 == 2",
        "ERROR tests/test_x.py - ImportError",
        "======= 1 failed, 3 passed in 0.12s =======",
    ],
    "unittest": ["FAIL: test_x (tests.X.test_x)", "FAILED (failures=1)"],
    "go": [
        "--- FAIL: TestX (0.00s)",
        "FAIL\texample.org/x\t0.01s",
        "panic: runtime error: index out of range",
    ],
    "rust": ["thread 'main' panicked at src/main.rs:2:5:", "test tests::it_works ... FAILED"],
    "gtest": ["[  FAILED  ] Suite.Test (0 ms)", "x_test.cc:5: Failure"],
    "ctest": ["1/2 Test #1: unit ...........***Failed    0.01 sec"],
    "tap": ["not ok 3 - adds"],
    "javascript": ["npm ERR! code ELIFECYCLE", "FAIL src/sum.test.js", "  ● adds › wrong"],
    "java": [
        "[ERROR] Failed to execute goal",
        "FAILURE: Build failed with an exception.",
        'Exception in thread "main" java.lang.Error',
        "Caused by: java.io.IOException: no",
    ],
    "shell": [
        "sh: 1: foo: not found",
        "./x.sh: line 2: foo: command not found",
        "bash: ./x: Permission denied",
    ],
    "git": ["fatal: not a git repository"],
    "crash": ["Segmentation fault", "Aborted (core dumped)", "x: x.c:3: main: Assertion `0' failed."],
    "sanitizer": [
        "==12==ERROR: AddressSanitizer: heap-use-after-free",
        "x.c:3:4: runtime error: signed overflow",
    ],
    "resources": ["write: No space left on device", "Killed"],
    "annotation": ["::error file=x.c::no", "##[error]Process completed with exit code 1."],
    "log level": ["ERROR it broke", "<CRITICAL> no", "2026-11-27 10:00:00,123 ERROR it broke", "[FATAL] no"],
}

NO_ERRORS = [
    "cc -Wall -Werror -Werror=format -c error.c -o error.o",
    "0 errors, 0 warnings",
    "[ 12%] Building CXX object src/error_handler.cpp.o",
    "checking for error.h... yes",
    "x.c:3:5: warning: unused variable 'error' [-Wunused]",
    "test tests::it_fails ... ok",
    "ok 3 - FAILED is a word",
    "tests/test_errors.py ....... [100%]",
    "======= 3 passed in 0.12s =======",
    "Errors and failures are described in errors.md",
    "Installing libgpg-error0:amd64 ...",
    "make: Nothing to be done for 'all'.",
    "-- Performing Test HAVE_ERROR - Failed",
    "log_level=ERROR",
    "",
]


@pytest.mark.parametrize(("name", "line"), [(name, line) for name, each in ERRORS.items() for line in each])
def test_lines_that_look_like_errors(name: str, line: str) -> None:
    text = f"fine\n{line}\nfine\n".encode()
    assert list(signs.lines(text)) == [(1, name)]


def test_every_sign_has_an_example() -> None:
    assert {sign.name for sign in signs.SIGNS} == set(ERRORS)


@pytest.mark.parametrize("line", NO_ERRORS)
def test_lines_that_only_speak_of_errors(line: str) -> None:
    assert list(signs.lines(f"{line}\n".encode())) == []


def test_without_re2_plain_texts_and_signs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)  # as where its extra isn't installed
    signs._patterns.cache_clear()
    try:
        assert [number for number, _ in Pattern("TWO (2)", case=False).lines(TEXT)] == [1]
        assert [number for number, _ in Pattern("o").lines(TEXT)] == [0, 1, 5]
        with pytest.raises(BadPattern, match=r"install buildwright\[search\]"):
            Pattern("^t", regex=True)
        for name, line in [(name, line) for name, each in ERRORS.items() for line in each]:
            assert list(signs.lines(f"\n{line}\nmore\n".encode())) == [(1, name)]
        assert list(signs.lines("".join(f"{line}\n" for line in NO_ERRORS).encode())) == []
    finally:
        signs._patterns.cache_clear()


async def test_first_error_and_first_stderr(store: Store, tmp_path: Path) -> None:
    reader = LogReader(store, FileBlobs(tmp_path))
    pieces = [
        Piece("h", 1, "", b"sh: x: error: of the header\n"),
        Piece("o", 2, "", b"one\n\x1b[31mx.c:1: err"),
        Piece("e", 3, "", b"a warning\n"),
        Piece("o", 4, "", b"or: no\x1b[0m\nFAILED: x\n"),
    ]
    await write(store, 1, [[piece] for piece in pieces])
    searcher = Searcher(reader)
    found = await searcher.find(1, errors, streams="oe", limit=9)
    assert [(m.number, m.stream, m.sign) for m in found.matches] == [(3, "o", "compiler"), (4, "o", "ninja")]
    assert (found.first, found.end, found.next) == (0, 5, None)
    found = await searcher.find(1, any_line, streams="e")
    assert [match.number for match in found.matches] == [2]
    assert found.next == 3


async def test_a_search_that_takes_long_says_where_to_go_on(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "ROOM", 1)
    monkeypatch.setattr(search, "ROOM_BACKWARD", 1)
    await write(store, 1, [[Piece("o", i * 2_000_000, "", b"line %d\n" % i)] for i in range(6)])
    searcher = Searcher(LogReader(store, FileBlobs(tmp_path)))
    monkeypatch.setattr(search, "SECONDS", 0.0)
    finder = of_pattern(Pattern("line 4"))
    assert (await searcher.find(1, finder)).next == 0  # no time at all: nothing is searched
    monkeypatch.setattr(search, "SECONDS", 60.0)
    forward = await searcher.find(1, finder, 2)
    assert ([match.number for match in forward.matches], forward.first, forward.end, forward.next) == (
        [4], 2, 5, 5,
    )  # fmt: skip
    backward = await searcher.find(1, finder, backward=True)
    assert ([match.number for match in backward.matches], backward.first, backward.end, backward.next) == (
        [4], 4, 6, 4,
    )  # fmt: skip
    rest = await searcher.find(1, finder, 4, backward=True)
    assert (rest.matches, rest.first, rest.end, rest.next) == ([], 0, 4, None)
