"""What a working copy has that its repository hasn't: the difference that `buildwright try` sends.

The base is the newest commit that the repository is known to have: of Git where the branch has left its
upstream, of Mercurial the nearest public ancestor. The difference goes from there to the files as they are,
so it has commits that weren't pushed and changes that weren't committed. Files that nobody has added are
left out, and told.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from buildwright.cli.faults import Failure

SYSTEMS = ("git", "hg")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A working copy's difference, and what it is based on."""

    vc: str
    top: Path
    base: str
    branch: str
    repository: str
    diff: bytes
    level: int  # leading path elements that the difference has too many
    untracked: Sequence[str]
    author: str


def find(directory: Path, vc: str | None) -> str | None:
    """Which system's working copy the directory is in: the nearest, or ``vc`` if it is one of that."""
    for place in (directory, *directory.parents):
        for system in SYSTEMS:
            if vc in (None, system) and (place / f".{system}").exists():
                return system
    return None


def examine(directory: Path, vc: str, base: str | None, branch: str | None) -> Checkout:
    """Look at the working copy around a directory; raises Failure. ``base`` and ``branch`` replace what would
    be found.
    """
    return _git(directory, base, branch) if vc == "git" else _hg(directory, base, branch)


def _run(words: Sequence[str], directory: Path) -> bytes:
    """What a command prints; raises Failure with what it says."""
    try:
        done = subprocess.run(
            words,
            cwd=directory,
            env={**os.environ, "LC_ALL": "C.UTF-8", "HGPLAIN": "1", "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError as problem:
        raise Failure(f"{words[0]} can't be run: {problem.strerror}") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
        raise Failure(f"`{' '.join(words[:3])}` in {directory}: {said}")
    return done.stdout


def _line(words: Sequence[str], directory: Path) -> str:
    return _run(words, directory).decode("utf-8", "surrogateescape").strip()


def _maybe(words: Sequence[str], directory: Path) -> str:
    try:
        return _line(words, directory)
    except Failure:
        return ""


# -- Git -------------------------------------------------------------------------------------------------


def _git(directory: Path, base: str | None, branch: str | None) -> Checkout:
    top = Path(_line(["git", "rev-parse", "--show-toplevel"], directory))
    remote, upstream = _upstream(top)
    if base is None:
        if not remote:
            raise Failure(
                "this branch has no upstream, and the repository no origin/HEAD: say with --baserev which "
                "commit the repository has"
            )
        base = _line(["git", "merge-base", "HEAD", f"refs/remotes/{remote}/{upstream}"], top)
    else:
        base = _line(["git", "rev-parse", "--verify", "--end-of-options", f"{base}^{{commit}}"], top)
    diff = _run(
        [
            "git",
            "diff",
            "--binary",
            "--full-index",
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
            "--no-relative",
            "--submodule=short",
            "--src-prefix=a/",
            "--dst-prefix=b/",
            base,
            "--",
        ],
        top,
    )
    listed = _run(["git", "ls-files", "-z", "--others", "--exclude-standard"], top)
    name, email = _maybe(["git", "config", "user.name"], top), _maybe(["git", "config", "user.email"], top)
    return Checkout(
        vc="git",
        top=top,
        base=base,
        branch=branch or upstream,
        repository=_public(_maybe(["git", "remote", "get-url", remote], top)) if remote else "",
        diff=diff,
        level=1,
        untracked=[each.decode("utf-8", "replace") for each in listed.split(b"\0") if each],
        author=f"{name} <{email}>" if name and email else name or email,
    )


def _upstream(top: Path) -> tuple[str, str]:
    """The remote and its branch that this work goes to; empty if that can't be found."""
    current = _maybe(["git", "symbolic-ref", "--short", "HEAD"], top)
    if current:
        remote = _maybe(["git", "config", f"branch.{current}.remote"], top)
        merge = _maybe(["git", "config", f"branch.{current}.merge"], top)
        if remote not in ("", ".") and merge.startswith("refs/heads/"):
            return remote, merge.removeprefix("refs/heads/")
    head = _maybe(["git", "symbolic-ref", "refs/remotes/origin/HEAD"], top)
    prefix = "refs/remotes/origin/"
    return ("origin", head.removeprefix(prefix)) if head.startswith(prefix) else ("", "")


def _public(url: str) -> str:
    """The address without a password in it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


# -- Mercurial -------------------------------------------------------------------------------------------


def _hg(directory: Path, base: str | None, branch: str | None) -> Checkout:
    top = Path(_line(["hg", "root"], directory))
    revset = "last(::. and public())" if base is None else base
    found = _line(["hg", "log", "--limit=1", "--template={node}", f"--rev={revset}"], top)
    if not found:
        raise Failure("no ancestor is public: say with --baserev which commit the repository has")
    listed = _run(["hg", "status", "--unknown", "--no-status", "--print0"], top)
    return Checkout(
        vc="hg",
        top=top,
        base=found,
        branch=branch or _line(["hg", "branch"], top),
        repository=_public(_maybe(["hg", "paths", "default"], top)),
        diff=_run(["hg", "diff", "--git", f"--rev={found}"], top),
        level=1,
        untracked=[each.decode("utf-8", "replace") for each in listed.split(b"\0") if each],
        author=_maybe(["hg", "config", "ui.username"], top),
    )
