"""Real repositories of version control systems: for builds to get their sources from, and to be polled."""

import os
import subprocess
from pathlib import Path
from typing import Any

ENV = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org", "GIT_CONFIG_GLOBAL": "/dev/null", "PATH": "/usr/bin:/bin",
    "GIT_CONFIG_SYSTEM": "/dev/null", "GIT_ALLOW_PROTOCOL": "file",
}  # fmt: skip


def git(directory: Path, *words: str) -> str:
    run = subprocess.run(["git", *words], cwd=directory, env=ENV, check=True, capture_output=True, text=True)
    return run.stdout.strip()


class GitRepository:
    """A repository that builds fetch from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def git(self, *words: str) -> str:
        return git(self.path, *words)

    def commit(self, **files: str) -> str:
        for name, content in files.items():
            (self.path / name).write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", "more")
        return self.git("rev-parse", "HEAD")


def git_builder(repo: GitRepository, *more: str, **arguments: Any) -> str:
    """A configuration's builder ``b`` that gets this repository, and then runs more steps."""
    words = "".join(f", {name}={value!r}" for name, value in arguments.items())
    steps = ", ".join([f"steps.Git({repo.url!r}{words})", *more])
    return (
        f'builder("b", {steps}, env={{"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}})'
    )


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


class HgRepository:
    """A repository that others poll, with its work tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = str(path)
        self.time = 1_700_000_000
        path.mkdir()
        self.hg("init")

    def hg(self, *words: str) -> str:
        environment = {**os.environ, "HGPLAIN": "1", "HGRCPATH": "/dev/null", "LC_ALL": "C.UTF-8"}
        command = ["hg", "--config", "extensions.strip=", *words]
        done = subprocess.run(command, cwd=self.path, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    def commit(self, message: str = "more", *files: str, branch: str | None = None) -> str:
        """Commit with these files changed; gives the revision."""
        if branch is not None:
            self.hg("branch", "--quiet", "--force", branch)
        self.time += 1
        for name in files or (f"file{self.time}",):
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{self.time}")
        self.hg(
            "commit", "-q", "-A", "-m", message, "-u", "Ann <ann@example.org>", "-d", f"{self.time} -3600"
        )
        return self.hg("log", "-r", ".", "-T", "{node}")


# Changes the file a of a repository that has it as "1", and adds another.
PATCH = "--- a\n+++ a\n@@ -1 +1 @@\n-1\n+patched\n--- /dev/null\n+++ added\n@@ -0,0 +1 @@\n+new\n"


class SvnRepository:
    """A repository that builds check out, with a working copy to commit from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = f"file://{path}"
        self.url = f"{self.root}/trunk"
        self.work = path.with_name(f"{path.name}-work")
        run("svnadmin", "create", str(path))
        run("svn", "mkdir", "-q", "-m", "layout", f"{self.root}/trunk", f"{self.root}/branches")
        run("svn", "checkout", "-q", self.root, str(self.work))

    def commit(self, **files: str) -> str:
        """Commit files below trunk; gives the revision."""
        for name, content in files.items():
            (self.work / "trunk" / name).write_text(content)
            run("svn", "add", "-q", "--force", name, cwd=self.work / "trunk")
        run("svn", "commit", "-q", "-m", "more", cwd=self.work)
        run("svn", "update", "-q", cwd=self.work)
        return self.newest()

    def newest(self) -> str:
        return run("svnlook", "youngest", str(self.path))


def run(*words: str, cwd: Path | None = None) -> str:
    done = subprocess.run(words, cwd=cwd, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
