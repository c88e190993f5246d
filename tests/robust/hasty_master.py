"""A master that waits for a worker's hello for a second only. Run like `python -m buildwright`."""

from __future__ import annotations

from buildwright.cli import main
from buildwright.workers import endpoint

endpoint.HELLO_SECONDS = 1.0

if __name__ == "__main__":
    main()
