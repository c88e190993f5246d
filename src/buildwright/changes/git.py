"""Git as a subprocess: a bare repository of one's own, and commands that can't hang, ask or escape.

Every command runs in a session of its own and is killed with everything it started when its caller is
cancelled or its time is up. It gets no terminal and no password prompt, the C locale, and no GIT_DIR and
its kin of ours. Nothing that came from outside is ever an option: URLs stand behind `--`, references are
full names (`refs/…`) and travel on standard input.

References that are followed are kept under `refs/followed/<hash of the name>`, so that `a` and `a/b` can
follow each other without a conflict of directories, and no name can be special to a file system.

A repository that is broken (left behind by a kill, a full disk, a person) is moved aside and made anew;
it is a cache and holds nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
import shutil
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from buildwright.changes.base import PollError
from buildwright.model.gitaccess import PRIVATE, why_unreachable
from buildwright.model.logger import get_logger

log = get_logger(__name__)

HEADS = "refs/heads/"
TAGS = "refs/tags/"
FOLLOWED = "refs/followed/"
LONGEST_SECONDS = 3600.0
_OURS = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_NAMESPACE",
    "GIT_COMMON_DIR",
)
_SHA = re.compile(r"[0-9a-f]{40,64}\Z")
_BROKEN = re.compile(
    r"\.lock|not a git repository|corrupt|bad object|unable to read|unable to write|loose object",
    re.IGNORECASE,
)
_SETTINGS = {
    "gc.autoDetach": "false",  # nothing goes on behind our back
    "maintenance.autoDetach": "false",
    "core.quotePath": "false",
    "log.showSignature": "false",
    "log.follow": "false",
    "http.lowSpeedLimit": "100",  # bytes per second, for so long: the other end is gone
    "http.lowSpeedTime": "120",
}


class GitFailed(PollError):
    """A git command failed; `stderr` is what it said."""

    def __init__(self, message: str, stderr: str) -> None:
        self.stderr = stderr
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit of the log."""

    revision: str
    author: str
    committer: str
    time: int
    comments: str
    files: tuple[str, ...]
    parent: str | None  # the first one


@dataclass(frozen=True, slots=True)
class Remote:
    """Another repository: its address, and how messages call it (without a password)."""

    url: str
    shown: str
    options: Sequence[str] = ()  # of git itself: `-c` and settings
    environment: Mapping[str, str] = field(default_factory=dict)


class Repository:
    """A bare repository that follows references of a remote one."""

    def __init__(
        self, directory: Path, remote: Remote, *, gitbin: str = "git", encoding: str = "utf-8"
    ) -> None:
        self.directory = directory
        self.remote = remote
        self.gitbin = gitbin
        self.encoding = encoding

    async def prepare(self) -> None:
        """Make the repository unless it is there."""
        if not (self.directory / "HEAD").exists():
            if self.directory.exists():
                self.discard()
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            await self._git("init", "--bare", "--quiet", "--", str(self.directory), inside=False)

    def discard(self) -> None:
        """Throw the repository away; the next `prepare` makes a new one."""
        aside = self.directory.with_name(f"{self.directory.name}.broken-{secrets.token_hex(4)}")
        with contextlib.suppress(FileNotFoundError):
            self.directory.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    # -- the remote ------------------------------------------------------------

    async def remote_refs(self, patterns: Sequence[str]) -> dict[str, str]:
        """The remote's references that match, by full name, with what they point to."""
        out = await self._git("ls-remote", "--refs", "--", self.remote.url, *patterns, inside=False)
        return dict(self._refs(out))

    async def remote_head(self) -> tuple[str, str] | None:
        """The full name of the remote's own branch and what it points to; None: the repository is empty."""
        out = await self._git("ls-remote", "--symref", "--", self.remote.url, "HEAD", inside=False)
        match = re.search(rb"^ref: (refs/heads/\S+)\tHEAD$", out, re.MULTILINE)
        found = dict(self._refs(out))
        if match is None or "HEAD" not in found:
            return None
        return match[1].decode(), found["HEAD"]

    def _refs(self, out: bytes) -> Iterable[tuple[str, str]]:
        for line in out.splitlines():
            sha, _, name = line.partition(b"\t")
            try:
                text = name.decode()
            except UnicodeDecodeError:
                log.warning(
                    "a reference whose name is no UTF-8 is left out", repository=self.remote.shown, name=name
                )
                continue
            if _SHA.match(sha.decode("ascii", "replace")):
                yield text, sha.decode()

    async def fetch(self, names: Sequence[str]) -> None:
        """Make what these references of the remote point to available, as `local(name)`."""
        refspecs = "".join(f"+{name}:{local(name)}\n" for name in names)
        await self._git(
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--stdin", "--", self.remote.url),
            stdin=refspecs.encode(),
        )

    # -- ours ------------------------------------------------------------

    async def followed(self) -> dict[str, str]:
        """Our references by their local names, with what they point to."""
        out = await self._git("for-each-ref", "--format=%(refname) %(objectname)", FOLLOWED)
        return dict(line.split(" ") for line in out.decode().splitlines())

    async def forget(self, locals_: Sequence[str]) -> None:
        """Drop references that are no longer followed."""
        if locals_:
            commands = "".join(f"delete {name}\n" for name in locals_)
            await self._git("update-ref", "--stdin", stdin=commands.encode())

    async def commits_of(self, objects: Sequence[str]) -> list[str | None]:
        """The commit that each of these names or hashes leads to, or None."""
        if not objects:
            return []
        asked = "".join(f"{each}^{{commit}}\n" for each in objects)
        out = await self._git("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=asked.encode())
        found: list[str | None] = []
        for line in out.decode("utf-8", "replace").splitlines():
            sha, _, kind = line.rpartition(" ")
            found.append(sha if kind == "commit" and _SHA.match(sha) else None)
        return found

    async def log(self, new: Sequence[str], known: Sequence[str], *, walk: bool = True) -> list[Commit]:
        """The commits that lead to ``new`` and not to ``known``, oldest first. Without ``walk``: ``new``."""
        boundary = secrets.token_hex(16)  # nobody can have put it into a commit
        fields = ("%H", "%P", "%aN <%aE>", "%cN <%cE>", "%ct", "%B")
        layout = "%x00".join(["", boundary, *fields, ""])
        out = await self._git(
            *("-c", f"i18n.logOutputEncoding={self.encoding}", "log", "-z", "--no-color", "--no-ext-diff"),
            *("--reverse", "--topo-order" if walk else "--no-walk=unsorted"),
            *("--diff-merges=first-parent", "--root", "--no-renames", "--name-only"),
            *(f"--format={layout}", "--stdin"),
            stdin="".join([*(f"{each}\n" for each in new), *(f"^{each}\n" for each in known)]).encode(),
        )
        separator = f"\0{boundary}\0".encode()
        return [self._commit(record) for record in out.split(separator)[1:]]

    def _commit(self, record: bytes) -> Commit:
        revision, parents, author, committer, time, comments, rest = record.split(b"\0", 6)
        names = rest.removeprefix(b"\0\n").split(b"\0")
        return Commit(
            revision.decode(),
            self._text(author),
            self._text(committer),
            int(time),
            self._text(comments).strip("\n"),
            tuple(name.decode(self.encoding, "backslashreplace") for name in names if name),
            parents.decode().partition(" ")[0] or None,
        )

    def _text(self, raw: bytes) -> str:
        return raw.decode(self.encoding, "replace")

    # -- commands ------------------------------------------------------------

    async def _git(self, *arguments: str, stdin: bytes = b"", inside: bool = True) -> bytes:
        command = [self.gitbin]
        if inside:
            command.append(f"--git-dir={self.directory}")
        for key, value in _SETTINGS.items():
            command += ["-c", f"{key}={value}"]
        command += self.remote.options
        code, out, err = await run([*command, *arguments], stdin, self._environment())
        if code != 0:
            verb = next(each for each in arguments if not each.startswith("-") and "=" not in each)
            stderr = err.decode("utf-8", "replace").strip().replace(self.remote.url, self.remote.shown)
            advice = why_unreachable(stderr)
            said = (_said(stderr) or str(code)) + (f" ({advice})" if advice else "")
            raise GitFailed(f"git {verb} of {self.remote.shown} failed: {said}", stderr)
        return out

    def _environment(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if key not in _OURS}
        return {
            **inherited,
            "LC_ALL": "C",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "SSH_ASKPASS": "true",
            "GIT_OPTIONAL_LOCKS": "0",
            **self.remote.environment,
        }


@contextlib.contextmanager
def private_files(directory: Path, files: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """A directory with files that only we can read, and the variable that names it to git's helpers.

    What a killed master has left of it goes first.
    """
    shutil.rmtree(directory, ignore_errors=True)
    if not files:
        yield {}
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(mode=0o700)
    try:
        for name, content in files.items():
            fd = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(content)
        yield {PRIVATE: str(directory)}
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def local(name: str) -> str:
    """Our reference for one of the remote's."""
    return FOLLOWED + hashlib.sha256(name.encode()).hexdigest()


def is_broken(failure: GitFailed) -> bool:
    """Whether it may help to make the repository anew."""
    return _BROKEN.search(failure.stderr) is not None


def _said(stderr: str) -> str:
    """What of git's messages says why."""
    lines = stderr.splitlines()
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "ERROR:", "ssh:", "remote:"))]
    return "; ".join(line.strip() for line in (telling or lines)[:3])


async def run(
    command: Sequence[str],
    stdin: bytes,
    environment: Mapping[str, str],
    seconds: float = LONGEST_SECONDS,
    *,
    advice: str = "Install git or set gitbin.",
) -> tuple[int, bytes, bytes]:
    """Run a command; gives exit status, output and errors. Kills its whole session when it is cut short.

    ``advice`` is for a command that isn't there.
    """
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(environment),
            start_new_session=True,
        )
    )
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:  # it may run already, with children that nobody but us can end
        with contextlib.suppress(OSError):
            await _end(await starting)
        raise
    except OSError as problem:
        raise PollError(f"{command[0]} can't be run: {problem.strerror}. {advice}") from None
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate(stdin)
    except TimeoutError:
        raise PollError(f"{command[0]} took longer than {seconds:g} s and was ended.") from None
    finally:
        await _end(process)
    assert process.returncode is not None
    return process.returncode, out, err


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill a command and all it has started, if it still runs."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
