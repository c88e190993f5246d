"""Everything that is POSIX: starting processes, learning of their end, killing leftovers, locks.

*Starting.* `subprocess.Popen` with a session of the child's own; without a `preexec_fn` it uses vfork,
whose cost does not grow with this process. The parent's ends of the pipes do not block.

*Ends.* A child that has exited stays unreaped (`has_exited` looks with WNOWAIT) until its process group has
been killed: as long as it is a zombie, its number names nobody else's group. Where pidfd exists the loop
waits for the exit; elsewhere it looks in growing intervals of 1 to 50 ms.

*Leftovers.* Processes are found by group, and on Linux also by the marker that each command carries in its
environment, which survives a session of their own. Zombies do not count: they run nothing. Elsewhere than
on Linux, `ps` is asked, and the environment of other processes is not looked at.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import signal
import subprocess
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Mapping, Sequence

MARKER = "BUILDWRIGHT_COMMAND"
PIPE_CAPACITY = 1 << 18
NO_SPACE = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EFBIG])

_PROC = Path("/proc")
_HAS_PROC = (_PROC / "self" / "stat").exists()
_HAS_WAITID = hasattr(os, "waitid")


class Exit(NamedTuple):
    """How a process ended: its exit code, or -1 and the signal's number."""

    code: int
    signal: int | None


class Child:
    """A process that was started here, the leader of its own session and group.

    `stdout` and `stderr` are descriptors to read, or None; with a terminal, `stdout` is the terminal and
    takes the input as well. Whoever reads them closes them. `stdin` is a descriptor to write, or None.
    """

    def __init__(
        self, popen: subprocess.Popen[bytes], stdin: int | None, stdout: int, stderr: int | None
    ) -> None:
        self.pid = popen.pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self._popen = popen
        self._status: int | None = None

    def has_exited(self) -> bool:
        """Whether the process has ended; it is not reaped where that can be avoided."""
        if self._status is not None:
            return True
        if _HAS_WAITID:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return self._wait(os.WNOHANG)

    def reap(self) -> Exit:
        """How the process ended. Call it after `has_exited`."""
        if self._status is None:
            self._wait(0)
        status = self._status or 0
        if os.WIFSIGNALED(status):
            return Exit(-1, os.WTERMSIG(status))
        return Exit(os.WEXITSTATUS(status), None)

    def kill(self, number: int) -> None:
        """Send a signal to the process group."""
        kill_group(self.pid, number)

    def _wait(self, options: int) -> bool:
        pid, status = os.waitpid(self.pid, options)
        if pid == 0:
            return False
        self._status = status
        self._popen.returncode = status  # it is reaped: Popen must not wait for the number again
        return True


def spawn(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: str, wants_stdin: bool, terminal: bool
) -> Child:
    """Start a process. OSError tells why it could not be: `filename` is `cwd` if that was the reason."""
    if terminal:
        return _spawn_on_terminal(argv, env, cwd)
    fds: list[int] = []
    try:
        out_r, out_w = _pipe(fds)
        err_r, err_w = _pipe(fds)
        in_r, in_w = _pipe(fds) if wants_stdin else (subprocess.DEVNULL, None)
        popen = subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=in_r,
            stdout=out_w,
            stderr=err_w,
            start_new_session=True,
            close_fds=True,
        )
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    os.close(out_w)
    os.close(err_w)
    if in_w is not None:
        os.close(in_r)
        os.set_blocking(in_w, False)
    os.set_blocking(out_r, False)
    os.set_blocking(err_r, False)
    return Child(popen, in_w, out_r, err_r)


def _pipe(fds: list[int]) -> tuple[int, int]:
    pair = os.pipe()
    fds.extend(pair)
    return pair


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _spawn_on_terminal(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> Child:
    master, slave = pty.openpty()
    try:
        popen = subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            close_fds=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509  # one system call, no locks
        )
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    os.set_blocking(master, False)
    return Child(popen, os.dup(master), master, None)


def read(fd: int, size: int) -> bytes | None:
    """What can be read now; None if nothing can, b"" at the end (a terminal reports its end as an error)."""
    try:
        return os.read(fd, size)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno == errno.EIO:
            return b""
        raise


def grow_pipe(fd: int) -> None:
    """Give a pipe that is read in large pieces more room, if the system lets us."""
    set_size = getattr(fcntl, "F_SETPIPE_SZ", 1031 if _HAS_PROC else None)
    if set_size is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, set_size, PIPE_CAPACITY)


def watch_exit(loop: asyncio.AbstractEventLoop, child: Child, callback: Callable[[], None]) -> None:
    """Call back from the loop once the child has exited."""
    try:
        fd = os.pidfd_open(child.pid)
    except (AttributeError, OSError):
        _look_for_exit(loop, child, callback, 0.001)
        return

    def ready() -> None:
        loop.remove_reader(fd)
        os.close(fd)
        callback()

    loop.add_reader(fd, ready)


def _look_for_exit(
    loop: asyncio.AbstractEventLoop, child: Child, callback: Callable[[], None], pause: float
) -> None:
    if child.has_exited():
        callback()
    else:
        loop.call_later(pause, _look_for_exit, loop, child, callback, min(pause * 2, 0.05))


# Killing and finding


def signal_number(name: str) -> int:
    """The number of a signal by its name, with or without SIG. Raises ValueError."""
    try:
        return signal.Signals[name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"]
    except KeyError:
        raise ValueError(f"there is no signal {name!r}") from None


def kill_group(group: int, number: int) -> bool:
    """Send a signal to a process group; whether there is one. 0 only asks."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # a member that changed its user
    return True


def kill_process(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def group_members(group: int) -> list[int]:
    """The live processes of a group."""
    return [pid for pid, state, pgid, _ in _processes() if pgid == group and state not in "ZX"]


def marked_processes(markers: Iterable[str]) -> list[int]:
    """On Linux, the live processes whose environment carries one of these markers; elsewhere none."""
    wanted = [f"\0{MARKER}={marker}\0".encode() for marker in markers]
    if not _HAS_PROC or not wanted:
        return []
    found = []
    for pid, state, _, _ in _processes():
        if state in "ZX":
            continue
        try:
            environ = b"\0" + (_PROC / str(pid) / "environ").read_bytes() + b"\0"
        except OSError:
            continue  # ended meanwhile, or another user's
        if any(marker in environ for marker in wanted):
            found.append(pid)
    return found


def process_start(pid: int) -> str | None:
    """Something that tells this process from an earlier or later one of the same number; None if there is
    none."""
    if _HAS_PROC:
        fields = _stat(str(pid))
        return fields[19] if fields else None
    for one, _, _, start in _processes(["-p", str(pid)]):
        if one == pid:
            return start
    return None


def machine_boot() -> str:
    """Something that changes when the machine starts: no process is older."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        answer = subprocess.run(["sysctl", "-n", "kern.boottime"], capture_output=True, check=False)
        return answer.stdout.decode(errors="replace").strip()


def _stat(pid: str) -> list[str]:
    """The fields of /proc/PID/stat from the state on, so that 2 is the group and 19 the start; [] if it is
    gone."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return []
    try:
        return os.read(fd, 4096).decode("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return []
    finally:
        os.close(fd)


def _processes(only: Sequence[str] = ("-ax",)) -> Iterable[tuple[int, str, int, str]]:
    """(pid, state, group, start) of all processes."""
    if _HAS_PROC:
        for name in os.listdir(_PROC):
            if name.isdecimal() and (fields := _stat(name)):
                yield int(name), fields[0], int(fields[2]), fields[19]
        return
    answer = subprocess.run(
        ["ps", *only, "-o", "pid=,pgid=,stat=,lstart="], capture_output=True, check=False, env={"LC_ALL": "C"}
    )
    for line in answer.stdout.decode(errors="replace").splitlines():
        pid, pgid, state, start = line.split(None, 3)
        yield int(pid), state[:1], int(pgid), start


# Locks


class LockHeld(Exception):
    """Another process holds the lock; `pid` is what it wrote into the file, if that could be read."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(f"held by process {pid}")
        self.pid = pid


def lock_file(path: Path) -> int:
    """Lock a file until the returned descriptor is closed or this process ends, and write our number into it.

    Raises LockHeld. The lock is the kernel's: it cannot be left behind by a process that died.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(fd, 32).decode(errors="replace").strip()
        os.close(fd)
        raise LockHeld(int(text) if text.isdecimal() else None) from None
    os.ftruncate(fd, 0)
    with contextlib.suppress(OSError):  # a full disk must not keep a worker from starting
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    return fd


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Write at an offset. Raises OSError, also if only a part could be written."""
    if os.pwrite(fd, data, offset) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def user_directory(path: str) -> str:
    """`~` and `~user` at the beginning of a path, expanded."""
    return os.path.expanduser(path)


def os_release() -> dict[str, Any]:
    """The system's own description of itself, as os_id, os_version and so on."""
    found: dict[str, Any] = {}
    for place in ("/etc/os-release", "/usr/lib/os-release"):
        with contextlib.suppress(OSError):
            for line in Path(place).read_text(encoding="utf-8", errors="replace").splitlines():
                key, equals, value = line.strip().partition("=")
                if equals and key in ("ID", "ID_LIKE", "NAME", "VERSION", "VERSION_ID", "PRETTY_NAME"):
                    found[f"os_{key.lower()}"] = value.strip("\"'")
            break
    return found
