"""Small commands about files: "mkdir", "rmfile", "stat", "listdir", "glob".

Each runs in a thread and ends with 0, or with the number of the system's error and its text on standard
error. An interrupted one ends when the call that it waits for returns.
"""

from __future__ import annotations

import glob
import os
import time
from typing import TYPE_CHECKING, Any

from buildwright_worker.protocol import Result

from .base import ArgumentError, Command, Context, text, texts

if TYPE_CHECKING:
    from collections.abc import Iterable


class FileCommand(Command):
    """The base: `work` runs in a thread and returns the updates to send."""

    def __init__(self, context: Context, args: dict[str, Any]) -> None:
        super().__init__(context, args)
        self._failure: str | None = None
        self._began = time.monotonic()

    def work(self) -> dict[str, Any]:
        raise AssertionError("every file command has its work")

    def start(self) -> None:
        self.context.in_thread(self._run)

    def interrupt(self, failure: str, why: str, *, at_once: bool = False) -> None:
        self._failure = self._failure or failure

    def _run(self) -> None:
        code, message, updates = 0, "", {}
        try:
            updates = self.work()
        except OSError as error:
            code, message = error.errno or 1, f"{error.filename}: {error.strerror}\n"
        except Exception as error:  # the command must end, whatever it was
            code, message = 1, f"{type(error).__name__}: {error}\n"
        self.context.loop.call_soon_threadsafe(self._done, code, message, updates)

    def _done(self, code: int, message: str, updates: dict[str, Any]) -> None:
        if message:
            self.context.error(message)
        for key, value in updates.items():
            if key == "files":
                self.context.update_list(key, value)
            else:
                self.context.update(key, value)
        elapsed = int((time.monotonic() - self._began) * 1_000_000)
        self.context.finish(Result(code, self._failure, elapsed))


class MakeDirectories(FileCommand):
    def __init__(self, context: Context, args: dict[str, Any]) -> None:
        super().__init__(context, args)
        self.paths = [context.path(path) for path in texts(args, "paths")]

    def work(self) -> dict[str, Any]:
        for path in self.paths:
            os.makedirs(path, exist_ok=True)
        return {}


class RemoveFile(FileCommand):
    def __init__(self, context: Context, args: dict[str, Any]) -> None:
        super().__init__(context, args)
        self.path = context.path(text(args, "path"))

    def work(self) -> dict[str, Any]:
        os.unlink(self.path)
        return {}


class Stat(RemoveFile):
    """The first ten numbers of stat(2), as Python has them."""

    def work(self) -> dict[str, Any]:
        return {"stat": [int(number) for number in tuple(os.stat(self.path))[:10]]}


class ListDirectory(RemoveFile):
    """The names in a directory."""

    def work(self) -> dict[str, Any]:
        return {"files": sorted(os.listdir(self.path))}


class Glob(FileCommand):
    """The paths that match a pattern, absolute; `**` matches directories of any depth."""

    def __init__(self, context: Context, args: dict[str, Any]) -> None:
        super().__init__(context, args)
        pattern = text(args, "path")
        if not pattern:
            raise ArgumentError("path must not be empty")
        self.pattern = pattern
        self.root = glob.escape(context.basedir)

    def work(self) -> dict[str, Any]:
        pattern = os.path.join(self.root, os.path.expanduser(self.pattern))
        return {"files": sorted(self._matches(pattern))}

    @staticmethod
    def _matches(pattern: str) -> Iterable[str]:
        return glob.iglob(pattern, recursive=True)
