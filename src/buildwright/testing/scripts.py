"""Scripts: what a command does when a configuration is tried out, and the record of the commands that ran.

A command that no script is meant for takes a second and exits with 0, or fails its test if the rehearsal is
strict. Of several scripts that fit, the one that was made last counts.

Git is known without a script: it succeeds, and ``rev-parse`` of a commit answers with the revision that was
checked out last, or with one that is made of the repository's address.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

Pattern = str | Sequence[str] | re.Pattern[str] | Callable[["Ran"], Any]

MASTER = "(master)"
"""The worker's name of commands that run on the master."""
SECOND = 1.0
_HASH = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")


@dataclass
class Ran:
    """A command as it was run. ``command`` is text for a shell, or a list; ``line`` is either as one line."""

    command: str | list[str]
    worker: str
    workdir: str
    env: Mapping[str, Any]
    at: datetime
    builder: str = ""
    build: int = 0  # its number
    step: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)  # all that the worker was sent
    code: int | None = None  # None: it has not ended
    failure: str | None = None  # "timeout", "interrupted", ...
    took: float = 0.0  # seconds

    @property
    def line(self) -> str:
        return self.command if isinstance(self.command, str) else shlex.join(self.command)

    def __str__(self) -> str:
        return f"{self.at:%a %H:%M:%S} {self.builder or self.worker} {self.step}: {self.line}"


class Script:
    """What a command does. Its methods give the script back, so that they can be written in a row."""

    def __init__(self, pattern: Pattern, builder: str | None, step: str | None, worker: str | None) -> None:
        self._pattern = pattern
        self._builder = builder
        self._step = step
        self._worker = worker
        self._left: int | None = None  # how often it may still be used
        self.acts: list[tuple[float, str, bytes]] = []  # (seconds after the one before, stream, bytes)
        self.rest = SECOND  # from the last act to the end
        self.code = 0
        self.signal: int | None = None
        self.endless = False
        self.status = 200
        self.headers: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.deed: Callable[[Ran], object] | None = None
        self.ran: list[Ran] = []

    def prints(self, text: str | bytes, *, stream: str = "stdout", after: float = 0.0) -> Script:
        """Print this, ``after`` seconds. ``stream`` is stdout or stderr."""
        if stream not in ("stdout", "stderr"):
            raise ValueError(f"stream must be 'stdout' or 'stderr', not {stream!r}")
        data = text.encode() if isinstance(text, str) else text
        self.acts.append((after, "o" if stream == "stdout" else "e", data))
        return self

    def takes(self, seconds: float | timedelta) -> Script:
        """Go on for so long after what it has printed."""
        self.rest = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        return self

    def exits(self, code: int) -> Script:
        """End with this exit code."""
        self.code = code
        return self

    def dies(self, signal: int) -> Script:
        """End by this signal."""
        self.code, self.signal = -1, signal
        return self

    def answers(
        self, status: int, body: str | bytes = "", headers: Mapping[str, str] | None = None
    ) -> Script:
        """As a server: answer a step's request, whose line is as "POST https://host/path"."""
        self.status, self.headers = status, dict(headers or {})
        return self.prints(body) if body else self

    def hangs(self) -> Script:
        """Never end by itself: until its time limit, or until its build is stopped."""
        self.endless = True
        return self

    def writes(self, path: str, content: str | bytes) -> Script:
        """Leave a file behind, relative to the command's directory."""
        self.files[path] = content.encode() if isinstance(content, str) else content
        return self

    def does(self, function: Callable[[Ran], object]) -> Script:
        """Call a function when the command starts."""
        self.deed = function
        return self

    def once(self) -> Script:
        """Count for one command only."""
        return self.times(1)

    def times(self, count: int) -> Script:
        """Count for so many commands only."""
        self._left = count
        return self

    # -- for the machines ---------------------------------------------------------------------------------

    def fits(self, ran: Ran) -> bool:
        """Whether it is meant for this command."""
        wanted = ((self._builder, ran.builder), (self._step, ran.step), (self._worker, ran.worker))
        if self._left == 0 or any(name not in (None, found) for name, found in wanted):
            return False
        pattern = self._pattern
        if isinstance(pattern, str):
            return ran.line == pattern or fnmatch.fnmatchcase(ran.line, pattern)
        if isinstance(pattern, re.Pattern):
            return pattern.search(ran.line) is not None
        if callable(pattern):
            return bool(pattern(ran))
        return ran.command == list(pattern)

    def begins(self, ran: Ran) -> None:
        """It is used for this command."""
        if self._left is not None:
            self._left -= 1
        self.ran.append(ran)
        if self.deed is not None:
            self.deed(ran)


class Scripts:
    """The scripts of a rehearsal, and all commands that were run."""

    def __init__(self, *, strict: bool) -> None:
        self._scripts: list[Script] = []
        self._strict = strict
        self._heads: dict[tuple[str, str], str] = {}  # (worker, directory) -> what git has checked out
        self.ran: list[Ran] = []
        self.unexpected: list[Ran] = []

    def add(self, script: Script) -> Script:
        self._scripts.insert(0, script)
        return script

    def begin(self, ran: Ran) -> Script:
        """What a command that starts now does."""
        self.ran.append(ran)
        script = next((each for each in self._scripts if each.fits(ran)), None)
        if script is None:
            script = self._git(ran)
        if script is None:
            script = Script("*", None, None, None)
            if self._strict:
                self.unexpected.append(ran)
                text = f"no script is meant for this command: {ran.line}\n"
                script.prints(text, stream="stderr").exits(127)
        script.begins(ran)
        return script

    def _git(self, ran: Ran) -> Script | None:
        """What git does, as far as its step looks at it."""
        words = ran.command
        if isinstance(words, str) or not words or words[0] != "git":
            return None
        made = Script("git", None, None, None).takes(0.1)
        place = (ran.worker, ran.workdir)
        if "fetch" in words and "--" in words:
            after = words[words.index("--") + 1 :]
            self._heads[place] = hashlib.sha1("\0".join(after).encode(), usedforsecurity=False).hexdigest()
        elif "checkout" in words and _HASH.match(words[-1]):
            self._heads[place] = words[-1]
        elif "rev-parse" in words and words[-1] == "HEAD":
            made.prints(self._heads.get(place, "0" * 40) + "\n")
        return made
