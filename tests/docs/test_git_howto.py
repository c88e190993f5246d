"""The how-to about Git, followed with a real ssh server in the place of git.example.org."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from buildwright.model.results import SUCCESS
from tests.docs.blocks import DOCS, blocks
from tests.support.gitservers import sshd
from tests.support.repositories import GitRepository
from tests.support.rig import rig

PAGE = DOCS / "howto" / "git.md"


def parts(*texts: str) -> list[str]:
    found = blocks(PAGE)
    return [next(block.text for block in found if text in block.text) for text in texts]


async def test_a_private_repository_and_what_is_pushed_back(tmp_path: Path, sqlite_store_url: str) -> None:
    repo = GitRepository(tmp_path / "one")
    repo.commit(Makefile="check:\n\techo fine\n")
    repo.git("config", "receive.denyCurrentBranch", "ignore")
    keygen, private, release = parts("ssh-keygen", "make", "GitCommit")
    secrets = tmp_path / "master/secrets"
    secrets.mkdir(parents=True)
    run(keygen, tmp_path / "master")
    with sshd(tmp_path / "sshd") as server:
        (server.directory / "authorized").write_text((secrets / "deploy-key.pub").read_text())
        (secrets / "deploy-key.pub").chmod(0o600)
        head = "from buildwright.plugins import changes\nc['change_source'] = []\n"
        text = (head + private + release).replace('workernames=["linux"]', 'workernames=["w1"]')
        text = text.replace("ssh://git@git.example.org/tools/one.git", server.url(repo.path))
        text = re.sub(r'"ssh-ed25519 [^"]*"', repr(server.host_key), text)
        async with rig(tmp_path, sqlite_store_url, text + FORCED) as it:
            built = await it.build("one")
            assert built.results == SUCCESS, built
            assert b"fine\n" in built.log("shell").out
            built = await it.build("release")
            assert built.results == SUCCESS, built
            assert (
                repo.git("rev-parse", "main")
                == repo.git("rev-parse", "built-1")
                == repo.git("rev-parse", "HEAD")
            )
            assert repo.git("log", "-1", "--format=%an %s", "main") == "CI Say when it was built"


def run(command: str, directory: Path) -> None:
    subprocess.run(command, shell=True, check=True, cwd=directory, stdin=subprocess.DEVNULL)


FORCED = """
for name in ("one", "release"):
    c["schedulers"].append(schedulers.Triggerable(name="run-" + name, builderNames=[name]))
"""
