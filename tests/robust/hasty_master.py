"""A master of little patience, for tests that would have to wait for it. Run like `python -m buildwright`.

It waits for a worker's hello for a second; with HASTY_LEASE it acts for two seconds after a renewal of its
lease.
"""

from __future__ import annotations

import os

from buildwright.cli import main
from buildwright.master import membership
from buildwright.workers import endpoint

endpoint.HELLO_SECONDS = 1.0
if "HASTY_LEASE" in os.environ:
    membership.RENEW_EVERY, membership.AUTHORITY, membership.LAPSED = 0.5, 2.0, 4.0

if __name__ == "__main__":
    main()
