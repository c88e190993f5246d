"""The reference is what the program is."""

import subprocess
import sys

from tests.docs.blocks import ROOT


def test_the_reference_is_current() -> None:
    program = [sys.executable, str(ROOT / "tools" / "make_reference.py"), "--check"]
    checked = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, check=False)
    assert checked.returncode == 0, f"run tools/make_reference.py:\n{checked.stdout}{checked.stderr}"
