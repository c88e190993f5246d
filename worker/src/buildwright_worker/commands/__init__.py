"""What a worker can be told to do, by the name that a master's `Start` carries.

base      arguments, and a command's way to its spool
shell     run a process; remove and copy trees, which are processes too
files     make, look at, list and remove files
transfer  move files between master and worker
trees     a directory as an archive
"""

from .base import ArgumentError, Command, Context
from .files import Glob, ListDirectory, MakeDirectories, RemoveFile, Stat
from .shell import CopyDirectory, PrivateShellCommand, RemoveDirectories, ShellCommand
from .transfer import Download, Upload

KINDS: "dict[str, type[Command]]" = {
    "shell": ShellCommand,
    "shell-private": PrivateShellCommand,
    "mkdir": MakeDirectories,
    "rmdir": RemoveDirectories,
    "cpdir": CopyDirectory,
    "rmfile": RemoveFile,
    "stat": Stat,
    "listdir": ListDirectory,
    "glob": Glob,
    "upload": Upload,
    "download": Download,
}

__all__ = ["KINDS", "ArgumentError", "Command", "Context"]
