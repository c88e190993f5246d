"""`python -m buildwright_worker` is the command `buildwright-worker`."""

import sys

from .cli import main

sys.exit(main())
