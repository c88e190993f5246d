"""GerritChangeSource: listens to what Gerrit tells over ssh, ``gerrit stream-events``.

The connection is a subprocess of its own session, which ends with whoever listens. When it ends by itself, it
is made anew after a pause. What Gerrit tells meanwhile is lost to a stream; with ``http_url`` it is looked up
in the log of events (see :mod:`~buildwright.changes.gerritlog`) whenever a connection is made and every
``http_poll_interval``, from where it was looked up last, so nothing is lost then. An event that comes both
ways counts once. What is remembered is up to when the log is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Self

from buildwright.changes.base import Found, ListeningChangeSource, Poll, PollError
from buildwright.changes.gerrit import PATCHSET_CREATED, REF_UPDATED, Event, GerritEvents, created, parsed
from buildwright.changes.gerritlog import (
    LAST,
    changes_of,
    check_auth,
    events_since,
    gerrit_api,
    newest,
    rendered_auth,
)
from buildwright.changes.git import run
from buildwright.model.errors import error, expect
from buildwright.model.gitaccess import why_unreachable
from buildwright.model.logger import get_logger

log = get_logger(__name__)

LONGEST_LINE = 16 * 1024 * 1024
TAIL_BYTES = 2000
ASKING_SECONDS = 60.0
LAST_WORDS_SECONDS = 1.0


class GerritChangeSource(ListeningChangeSource):
    """Takes Gerrit's events as they come. The master's ssh must know the server's host key already.

    Example::

        c["change_source"].append(
            changes.GerritChangeSource(
                "gerrit.example.org",
                "ci",
                identity_file="/srv/ci/id_ed25519",
                gitBaseURL="https://gerrit.example.org",
            )
        )
    """

    def __init__(
        self,
        gerritserver: str,
        username: str,
        gerritport: int = 29418,
        identity_file: str | None = None,
        ssh_server_alive_interval_s: int | None = 15,
        ssh_server_alive_count_max: int | None = 3,
        http_url: str | None = None,
        http_auth: Any = None,
        http_poll_interval: float = 30,
        name: str | None = None,
        gitBaseURL: str | None = None,
        handled_events: Sequence[str] = (PATCHSET_CREATED, REF_UPDATED),
        debug: bool = False,
        get_files: bool = False,
    ) -> None:
        own = f"GerritChangeSource:{username}@{gerritserver}:{gerritport}"
        super().__init__(name or own)
        for key, text in {"gerritserver": gerritserver, "username": username}.items():
            if expect(text, str, f"{self.what}: {key}", "text") and (not text or text.startswith("-")):
                error(f"{self.what}: {key} can't be {text!r}", "text that doesn't begin with -")
        expect(gerritport, int, f"{self.what}: gerritport", "a number")
        for key, optional in {"identity_file": identity_file, "http_url": http_url}.items():
            if optional is not None:
                expect(optional, str, f"{self.what}: {key}", "text")
        for key, number in {
            "ssh_server_alive_interval_s": ssh_server_alive_interval_s,
            "ssh_server_alive_count_max": ssh_server_alive_count_max,
        }.items():
            if number is not None:
                expect(number, int, f"{self.what}: {key}", "a number")
        if expect(
            http_poll_interval, (int, float), f"{self.what}: http_poll_interval", "a number of seconds"
        ):
            http_poll_interval = max(0.1, float(http_poll_interval))
        check_auth(f"{self.what}: http_auth", http_auth)
        self.gerritserver = gerritserver
        self.username = username
        self.gerritport = gerritport
        self.identity_file = identity_file
        self.ssh_server_alive_interval_s = ssh_server_alive_interval_s
        self.ssh_server_alive_count_max = ssh_server_alive_count_max
        self.http_url = http_url.rstrip("/") if isinstance(http_url, str) else None
        self.http_auth = http_auth
        self.http_poll_interval = http_poll_interval
        self.debug = bool(debug)
        self.events = GerritEvents(self.what, self.name, gitBaseURL, handled_events, get_files)

    def command(self, *words: str) -> list[str]:
        """A command of Gerrit's, by ssh."""
        ssh = ["ssh", "-o", "BatchMode=yes"]
        if self.ssh_server_alive_interval_s is not None:
            ssh += ["-o", f"ServerAliveInterval={self.ssh_server_alive_interval_s}"]
        if self.ssh_server_alive_count_max is not None:
            ssh += ["-o", f"ServerAliveCountMax={self.ssh_server_alive_count_max}"]
        if self.identity_file is not None:
            ssh += ["-i", self.identity_file]
        return [*ssh, "-p", str(self.gerritport), "-l", self.username, self.gerritserver, "gerrit", *words]

    # -- listening ------------------------------------------------------------

    async def listen(self, poll: Poll) -> AsyncGenerator[Found, None]:
        last = int((poll.state or {}).get(LAST, 0))
        due = time.monotonic()
        async with _Stream(self.command("stream-events")) as stream:
            while True:
                if self.http_url is not None and time.monotonic() >= due:
                    found = await self._missed(poll, last)
                    last = found.state[LAST]
                    due = time.monotonic() + self.http_poll_interval
                    yield found
                wait = max(0.0, due - time.monotonic()) if self.http_url is not None else None
                line = await stream.line(wait)
                if line is None:
                    continue
                event = parsed(line)
                if event is None:
                    log.warning("Gerrit told something that is no event", source=self.name, line=line[:200])
                    continue
                if self.debug:
                    log.info("an event of Gerrit's", source=self.name, event=event)
                last = last or created(event)
                yield await self._found(event, last)

    async def _found(self, event: Event, last: int) -> Found:
        state = {LAST: last}
        if not self.events.wants(event):
            return Found(state)
        try:
            files = await self._files(event) if self.events.get_files else ()
            change = self.events.change(event, files)
        except PollError as problem:
            return Found(state, (), str(problem))
        return Found(state, [change] if change is not None else [])

    async def _missed(self, poll: Poll, last: int) -> Found:
        """What the log has since the last event; nothing before the first one."""
        assert self.http_url is not None
        try:
            auth = await rendered_auth(self.what, self.http_auth, poll)
            async with gerrit_api(self.http_url, auth) as session:
                events = await events_since(session, last) if last else []
                return Found({LAST: newest(last, events)}, await changes_of(session, self.events, events))
        except PollError as problem:
            return Found({LAST: last}, (), str(problem))

    async def _files(self, event: Event) -> Sequence[str]:
        """The files of an event's patch set, as far as Gerrit tells."""
        try:
            number, patchset = int(event["change"]["number"]), int(event["patchSet"]["number"])
        except (KeyError, TypeError, ValueError):
            return ()
        words = ["query", f"change:{number}", "--format", "json", "--files", "--patch-sets"]
        code, out, _ = await run(self.command(*words), b"", os.environ, ASKING_SECONDS)
        try:
            sets: list[dict[str, Any]] = json.loads(out.splitlines()[0])["patchSets"] if code == 0 else []
            files = [file for each in sets if int(each["number"]) == patchset for file in each["files"]]
            return [str(each["file"]) for each in files if each["file"] != "/COMMIT_MSG"]
        except (ValueError, KeyError, TypeError, IndexError):
            return ()


class _Stream:
    """A running command whose lines are read. A context: at its end all that was started is killed."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process
        self._errors: asyncio.Task[None]
        self._said = b""
        self._line: asyncio.Future[bytes] | None = None

    async def __aenter__(self) -> Self:
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                limit=LONGEST_LINE,
            )
        except OSError as problem:
            raise PollError(f"{self._command[0]} can't be run: {problem.strerror}. Install ssh.") from None
        self._errors = asyncio.create_task(self._read_errors(), name="errors of a stream")
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (self._line, self._errors):
            if task is not None:
                task.cancel()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    async def line(self, seconds: float | None) -> bytes | None:
        """The next line; None if none came within this time. Raises PollError at the end."""
        assert self._process.stdout is not None
        if self._line is None:
            self._line = asyncio.ensure_future(self._process.stdout.readline())
        done, _ = await asyncio.wait({self._line}, timeout=seconds)
        if not done:
            return None
        reading, self._line = self._line, None
        try:
            line = reading.result()
        except ValueError:
            raise PollError(f"Gerrit told a line of more than {LONGEST_LINE} bytes") from None
        if line:
            return line
        # What ssh leaves behind on purpose, a shared connection, may hold its standard error open.
        await asyncio.wait({self._errors}, timeout=LAST_WORDS_SECONDS)
        code = await self._process.wait()
        said = self._said.decode("utf-8", "replace").strip()
        why = why_unreachable(said) or (said.splitlines() or [f"ssh ended with {code}"])[-1].strip()
        raise PollError(f"the connection of {' '.join(self._command[-4:])} has ended: {why}")

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(TAIL_BYTES):
            self._said = (self._said + data)[-TAIL_BYTES:]
