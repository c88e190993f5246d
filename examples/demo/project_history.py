"""The sample project: a local Git repository, and somebody who commits to it.

Commits are made with a name and a configuration of their own, whatever the user's Git is set up to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).parent / "project"
TABLE = "squares.txt"
FIRST = 4


class Project:
    """The repository in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def make(self) -> None:
        """Begin the repository with a few commits, if it isn't there yet."""
        if (self.directory / ".git").exists():
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        fresh = self.directory.with_name("project.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        beginning = Project(fresh)
        beginning._git("init", "--quiet", "--initial-branch=main")
        beginning._write(1, 1)
        shutil.copy(SOURCE / "README.md", fresh)
        beginning._commit("Begin a table of squares")
        shutil.copy(SOURCE / "test_squares.py", fresh)
        beginning._commit("Test the squares")
        for _ in range(2, FIRST + 1):
            beginning.add_right()
        fresh.rename(self.directory)

    def add_right(self) -> str:
        """Commit one more square, and mend what is wrong; the commit's id."""
        number = self._numbers()[-1] + 1
        lines = [f"{each} {each * each}" for each in range(1, number + 1)]
        mended = lines[:-1] != self._lines()
        (self.directory / TABLE).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return self._commit(f"Add the square of {number}" + (", and mend the table" if mended else ""))

    def add_wrong(self) -> str:
        """Commit a square that isn't one; the commit's id."""
        number = self._numbers()[-1] + 1
        self._write(number, number * number + 1)
        return self._commit(f"Add the square of {number}, in a hurry")

    def _lines(self) -> list[str]:
        return (self.directory / TABLE).read_text(encoding="utf-8").splitlines()

    def _numbers(self) -> list[int]:
        return [int(line.split()[0]) for line in self._lines()]

    def _write(self, number: int, square: int) -> None:
        with (self.directory / TABLE).open("a", encoding="utf-8") as table:
            table.write(f"{number} {square}\n")

    def _commit(self, message: str) -> str:
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        identity = {
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "Demo Developer"), ("EMAIL", "developer@example.org"))
        }
        own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        return subprocess.run(
            ["git", *arguments],
            cwd=self.directory,
            env={**own, **identity, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
