"""Who holds the lock of a directory: a master's or a worker's process."""

from __future__ import annotations

import fcntl
from pathlib import Path


def holder(lock: Path) -> int | None:
    """The process that holds a lock, whose number is in its file; None if nobody does."""
    try:
        with lock.open("rb") as file:
            number = file.read(32).strip()
            if not number.isdigit():
                return None  # it has ended, and said so
            try:
                # Nobody holds it, so this keeps nobody from it but who starts in this very moment.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(number)
    except OSError:
        return None
    return None
