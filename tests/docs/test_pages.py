"""Every page but the tutorial: links lead somewhere, configurations load, commands print what they say.

A page that begins with ``<!-- run: master -->`` is followed beside a running master: the sample that
`buildwright init` makes in ``ci``, and a builder whose worker is far away.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from buildwright.config.loader import load
from tests.docs.blocks import DOCS, ROOT, Block, blocks
from tests.docs.session import session
from tests.support.processes import free_port

TUTORIAL = DOCS / "tutorial"
ELSEWHERE = {  # followed by test_howto and test_without_a_master
    DOCS / "howto" / "log-in-and-roles.md",
    DOCS / "howto" / "postgresql.md",
    DOCS / "howto" / "test-a-configuration.md",
    DOCS / "howto" / "try-without-a-master.md",
}
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "worker" / "README.md",
    *sorted(DOCS.rglob("*.md")),
]
FRAGMENTS = [
    block
    for page in PAGES
    if page != DOCS / "reference" / "plugins.md"  # its examples are test_examples'
    for block in blocks(page)
    if block.language == "python" and block.title is None
]
WITH_A_MASTER = "<!-- run: master -->"
FOLLOWED = [page for page in PAGES if page.read_text(encoding="utf-8").startswith(WITH_A_MASTER)]

# What a part of a configuration stands in.
HEAD = """\
from buildwright.plugins import changes, schedulers, secrets, steps, util, worker

c = BuildmasterConfig = {}
c["workers"] = [worker.Worker("linux", "a password")]
factory = util.BuildFactory([steps.ShellCommand(command="true")])
c["builders"] = [util.BuilderConfig(name="tests", workernames=["linux"], factory=factory)]
c["schedulers"] = []
c["change_source"] = []
c["www"] = {"port": 8010}
"""
FOOT = """
c["schedulers"].append(schedulers.ForceScheduler("foot", builderNames=[each.name for each in c["builders"]]))
"""
FAR_AWAY = """
c["workers"].append(worker.Worker("far-away", "a password"))
c["builders"].append(util.BuilderConfig(name="patient", workernames=["far-away"], factory=hello))
c["schedulers"].append(schedulers.ForceScheduler(name="force-patient", builderNames=["patient"]))
"""
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)#\s]*)(?:#([^)\s]*))?\)")


def _name(value: Path | Block) -> str:
    return value.place if isinstance(value, Block) else str(value.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in _anchors(path)):
            lost.append(f"{target}#{anchor}")
    assert not lost


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("block", FRAGMENTS, ids=_name)
def test_parts_of_configurations_load(block: Block, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    for name in ("upload-token", "linux-password", "db-password"):
        (tmp_path / "secrets" / name).write_text("a password that is long\n")
        (tmp_path / "secrets" / name).chmod(0o600)
    for name in ("cert.pem", "private_key.pem", "users.htpasswd"):
        (tmp_path / name).touch()
    for other in blocks(block.page):
        if other.title is not None and other.title.endswith(".py"):
            (tmp_path / Path(other.title).name).write_text(other.text)
    (tmp_path / "master.cfg").write_text(HEAD + block.text + FOOT)
    snapshot = load(tmp_path / "master.cfg", tmp_path)
    assert not snapshot.warnings


@pytest.mark.parametrize("page", FOLLOWED, ids=_name)
def test_pages_can_be_followed(page: Path, tmp_path: Path) -> None:
    port = str(free_port())
    with session(tmp_path, {"8010": port}) as reader:
        reader.do("buildwright init ci --port 8010")
        configuration = tmp_path / "ci" / "master.cfg"
        configuration.write_text(configuration.read_text() + FAR_AWAY)
        reader.do("buildwright start ci", stays="...the master is running...")
        reader.do("cd ci && buildwright force patient")
        for block in blocks(page):
            reader.follow(block)


def test_no_page_is_forgotten() -> None:
    """A page with commands is followed; those that are only shown are of another language."""
    for page in PAGES:
        if page not in FOLLOWED and page not in ELSEWHERE and page.parent != TUTORIAL:
            assert not [block.place for block in blocks(page) if block.language == "console"], page


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*/master.cfg")), ids=_name)
def test_examples_load(example: Path, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    secret = tmp_path / "secrets" / "demo-worker"
    secret.write_text("a password\n")
    secret.chmod(0o600)
    assert not load(example, tmp_path).warnings
