"""The pages about trying a configuration out: on the demo, and with the test kit."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import DOCS, ROOT, blocks
from tests.docs.session import session

DEMO = ROOT / "examples" / "demo"


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The demo's directory, as `make run` leaves it."""
    master = tmp_path / "demo-run" / "master"
    (master / "secrets").mkdir(parents=True)
    password = master / "secrets" / "demo-worker"
    password.write_text("a password\n")
    password.chmod(0o600)
    (master / "master.cfg").symlink_to(DEMO / "master.cfg")
    spec = importlib.util.spec_from_file_location("project_history", DEMO / "project_history.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.Project(tmp_path / "demo-run" / "project").make()
    return tmp_path


def test_trying_without_a_master(demo: Path) -> None:
    with session(demo) as reader:
        for block in blocks(DOCS / "howto" / "try-without-a-master.md"):
            reader.follow(block)


def test_testing_a_configuration(tmp_path: Path) -> None:
    with session(tmp_path, {"python -m pytest": f"{sys.executable} -m pytest -p no:cacheprovider"}) as reader:
        for block in blocks(DOCS / "howto" / "test-a-configuration.md"):
            reader.follow(block)
