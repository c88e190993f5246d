"""The worker of Buildwright: runs a master's commands and keeps their records until they are stored."""

__version__ = "0.1.0.dev0"
