"""The code blocks of a page: what the documentation shows, as the tests take it.

The info string of a fence says what a block is::

    ```python title=ci/master.cfg        a file, written where the reader would write it
    ```console                           commands after "$ ", each with what it prints
    ```console until                     the commands are repeated until they print that
    ```console stays                     the last command goes on running
    ```console exit=1                    the last command fails
    ```console terminal=2                another terminal than the first
    ```python                            a part of a configuration, to be loaded with its page's others

In expected output ``...`` stands for anything: on a line of its own for any lines, else for the rest of what
is there. Runs of spaces count as one, so columns need not be as wide as they happen to be. No expected output
says nothing about it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    attributes: dict[str, str]
    text: str

    @property
    def title(self) -> str | None:
        return self.attributes.get("title")

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(slots=True)
class Command:
    """A command line of a console block, and what it is to print."""

    line: str
    expected: list[str] = field(default_factory=list)


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    content = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(content):
        language, *rest = match["info"].split() or [""]
        attributes = dict(word.partition("=")[::2] for word in rest)
        line = content.count("\n", 0, match.start()) + 1
        indent = match["indent"]
        text = re.sub(rf"^{indent}", "", match["text"], flags=re.MULTILINE) if indent else match["text"]
        found.append(Block(page, line, language, attributes, text))
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a console block."""
    found: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:]))
        elif line.startswith("> ") and found and not found[-1].expected:
            found[-1].line += "\n" + line[2:]
        elif found:
            found[-1].expected.append(line)
        else:
            raise AssertionError(f"{block.place}: a console block begins with a command after '$ '")
    return found


def as_expected(expected: list[str], output: str) -> bool:
    """Whether a command printed what the page says."""
    if not expected:
        return True
    pattern = []
    for line in expected:
        if line.strip() == "...":
            pattern.append(r"(?:[^\n]*\n)*?")
        else:
            pieces = (re.escape(piece) for piece in _plain(line).split("..."))
            pattern.append("[^\n]*?".join(pieces) + r"\n")
    text = "".join(_plain(line) + "\n" for line in output.splitlines())
    return re.fullmatch("".join(pattern), text) is not None


def _plain(line: str) -> str:
    return re.sub(r" +", " ", line).strip()
