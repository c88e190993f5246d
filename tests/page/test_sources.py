"""The page's own unit tests, which Vitest runs."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_what_thinks_without_a_browser() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "tools" / "web.py", "test"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
