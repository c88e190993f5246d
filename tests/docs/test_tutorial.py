"""The tutorial, done as a reader does it: installed from the tree, on a repository of a real project.

Three things are other here than for a reader: a free port; the package's source is downloaded once and
kept under ``build/``; and the two distributions are built and installed without their dependencies, which
come from the environment that the tests run in.
"""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

from tests.docs.blocks import DOCS, ROOT, blocks
from tests.docs.session import session
from tests.support.processes import free_port

PAGE = DOCS / "tutorial" / "first-project.md"
KEPT = ROOT / "build" / "docs"


def test_the_tutorial_works(tmp_path: Path) -> None:
    replaced = {
        "8010": str(free_port()),
        "pip install": "pip install --no-deps --no-build-isolation",
        "~/buildwright": str(ROOT),
    }
    kept = KEPT / "pyflakes-4.1.0.tar.gz"
    if kept.exists():
        replaced["pip download --quiet --no-deps --no-binary :all: pyflakes==4.1.0"] = f"cp {kept} ."
    environment = {
        "PIP_CACHE_DIR": str(KEPT / "pip"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        **{
            f"GIT_{who}_{what}": "me@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }
    with session(tmp_path, replaced, **environment) as reader:
        for block in blocks(PAGE):
            reader.follow(block)
            _lend_dependencies(tmp_path / "venv")
            if not kept.exists():
                _keep(tmp_path / kept.name, kept)


def _lend_dependencies(venv: Path) -> None:
    """Let the reader's environment see the packages of the one that the tests run in."""
    for packages in venv.glob("lib/python3*/site-packages"):
        (packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")


def _keep(downloaded: Path, kept: Path) -> None:
    if downloaded.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".part")
        shutil.copy(downloaded, partial)
        partial.replace(kept)
