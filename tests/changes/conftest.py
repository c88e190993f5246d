"""Stores, and real repositories."""

import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from buildwright.store.base import Store
from tests.support.stores import started


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str:
    """The URL of a database with tables; the test runs on each kind."""
    url: str = request.getfixturevalue(f"{request.param}_store_url")
    return url


@pytest.fixture
async def stores(database: str) -> AsyncIterator[list[Store]]:
    """Two stores on one database; one twice where there can be only one."""
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(started(database))
        second = (
            first if database.startswith("sqlite") else await stack.enter_async_context(started(database))
        )
        yield [first, second]


@pytest.fixture
def store(stores: list[Store]) -> Store:
    """A store; the test runs on each database."""
    return stores[0]


class Origin:
    """A repository that others poll, with a work tree to commit in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = str(path)
        self.path.mkdir()
        self.time = 1_700_000_000
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str, stdin: bytes | None = None) -> str:
        who = "Ann <ann@example.org>"
        name, _, mail = who.partition(" <")
        environment = {
            "PATH": "/usr/bin:/bin:/usr/local/bin",
            "HOME": str(self.path.parent),
            "GIT_AUTHOR_NAME": name,
            "GIT_AUTHOR_EMAIL": mail.rstrip(">"),
            "GIT_COMMITTER_NAME": name,
            "GIT_COMMITTER_EMAIL": mail.rstrip(">"),
            "GIT_AUTHOR_DATE": f"{self.time} +0000",
            "GIT_COMMITTER_DATE": f"{self.time} +0000",
        }
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=environment, input=stdin, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def commit(self, message: str = "change", *files: str, branch: str | None = None) -> str:
        """Commit with these files changed; gives the revision."""
        if branch is not None:
            self.git("checkout", "-q", "-B", branch)
        self.time += 1
        for file in files or (f"file{self.time}",):
            path = self.path / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{self.time}")
        self.git("add", "--all")
        self.git("commit", "-q", "-F", "-", stdin=message.encode("utf-8", "surrogateescape"))
        return self.git("rev-parse", "HEAD")

    def checkout(self, branch: str) -> None:
        self.git("checkout", "-q", branch)


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path / "origin")
