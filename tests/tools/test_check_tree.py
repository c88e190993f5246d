"""The check of the tree finds what it is for, and not what only looks like it."""

import pytest

from tools.check_tree import findings

DOT = "."  # so that this file may be in the tree


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("docs/install.md", "see https://py" + f"pi{DOT}org/project/x"),
        ("requirements/dev.txt", "--" + "index-url https://mirror.example/simple"),
        ("web/package-lock.json", '"resolved": "https' + '://mirror.example/x.tgz"'),
        ("bench/run.py", 'cwd="/wo' + 'rk/main"'),
        ("src/a.py", "# TO" + "DO: later"),
        ("src/a.py", "raise NotImplemented" + "Error"),
        ("tests/test_a.py", "@pytest.mark." + "skip"),
        ("README.md", "<" * 7 + " HEAD"),
    ],
)
def test_finds(name: str, line: str) -> None:
    (found,) = findings(name, f"first\n{line}\n")
    assert found.startswith(f"{name}:2: ")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("docs/install.md", "https://example.org/simple"),
        ("deploy/unit.service", "WorkingDirectory=/srv/work/ci"),
        ("src/a.py", 'path = f"{home}/work/x"'),
        ("tools/x.sh", "mktemp -d /tmp/bench.XXXXXX"),
        ("src/a.py", "return NotImplemented"),
    ],
)
def test_lets_pass(name: str, line: str) -> None:
    assert findings(name, line) == []
