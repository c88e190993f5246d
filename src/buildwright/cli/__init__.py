"""The command line: one module per subcommand, loaded only when it is used.

Each module has a click command named ``command``. Exit codes: 0 done, 1 it could not be done (the message
says why), 2 the command line was wrong.
"""

from __future__ import annotations

from buildwright.cli.main import main

__all__ = ["main"]
