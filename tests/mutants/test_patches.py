"""The mutants fit the code: a patch that no longer applies guards nothing."""

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.mark.parametrize("patch", sorted(HERE.glob("*.patch")), ids=lambda path: path.stem)
def test_a_mutant_applies(patch: Path) -> None:
    done = subprocess.run(
        ["git", "apply", "--check", str(patch)],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}Write it anew for the code as it is."
