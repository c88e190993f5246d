"""The reference is what the program is."""

import re
import subprocess
import sys
import tomllib

from tests.docs.blocks import ROOT


def test_the_reference_is_current() -> None:
    program = [sys.executable, str(ROOT / "tools" / "make_reference.py"), "--check"]
    checked = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, check=False)
    assert checked.returncode == 0, f"run tools/make_reference.py:\n{checked.stdout}{checked.stderr}"


def test_each_dependency_has_its_reason() -> None:
    page = (ROOT / "docs" / "decisions" / "dependencies.md").read_text(encoding="utf-8").lower()
    named: set[str] = set()
    for path in (ROOT / "pyproject.toml", ROOT / "worker" / "pyproject.toml"):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        for more in [project.get("dependencies", ()), *project.get("optional-dependencies", {}).values()]:
            named.update(more)
    for path in (ROOT / "requirements").glob("*.in"):
        lines = path.read_text(encoding="utf-8").splitlines()
        named |= {line for line in lines if line and not line.startswith("#")}
    names = {re.split(r"[^A-Za-z0-9._-]", each)[0].lower() for each in named}
    assert not {name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", page)}
