"""`python -m tests.simulation`: many seeds on all cores, or one of them with its trace."""

from __future__ import annotations

import sys

from tests.simulation.cli import main

sys.exit(main())
