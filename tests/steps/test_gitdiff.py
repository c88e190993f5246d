"""What a build's sources change."""

import json
from pathlib import Path

import sqlalchemy as sa

from buildwright.model.results import FAILURE, SUCCESS
from buildwright.steps.gitdiff import changed_files
from buildwright.store import schema
from tests.steps.conftest import Start
from tests.support.repositories import GitRepository


def test_changed_files() -> None:
    text = """\
diff --git a/two b/two
index 1..2 100644
--- a/two
+++ b/two
@@ -1 +1,2 @@ def
--- a/looks like a name
+++ b/looks like a name
@@ -7,0 +9 @@
+diff --git
diff --git "a/t\\303\\204b\\t\\"q\\"" "b/t\\303\\204b\\t\\"q\\""
deleted file mode 100644
"""
    first, second = changed_files(text.split("\n"))
    assert first["hunks"] == [{"ss": 1, "sl": 1, "ts": 1, "tl": 2}, {"ss": 7, "sl": 0, "ts": 9, "tl": 1}]
    assert (first["source_file"], first["target_file"]) == ("a/two", "b/two")
    assert (second["source_file"], second["target_file"]) == ('a/tÄb\t"q"', "/dev/null")


async def test_a_branch(start: Start, tmp_path: Path) -> None:
    repo = GitRepository(tmp_path / "repo")
    repo.commit(a="1\n2\n3\n", gone="x\n", moved="some text\nthat is known again\n")
    repo.git("branch", "-M", "main")
    repo.git("checkout", "-q", "-b", "topic")
    repo.git("rm", "-q", "gone")
    repo.git("mv", "moved", "moved to")
    (repo.path / "binary").write_bytes(bytes(range(256)))
    repo.git("add", "binary")
    repo.commit(a="1\n2b\n3\n4\n", empty="")
    repo.git("checkout", "-q", "main")
    repo.commit(a="0\n1\n2\n3\n")
    it = await start(
        f"""
builder("b", steps.Git({repo.url!r}, branch="topic", alwaysUseLatest=True, mode="full"),
    steps.ShellCommand(command="git fetch origin main:main", name="fetch"),
    steps.GitDiffInfo(compareToRef="main", dataName="diffinfo-main"))
builder("c", steps.GitDiffInfo(compareToRef="nowhere"))
"""
    )
    built = await it.build()
    assert built.results == SUCCESS, built
    ((value,),) = await it.store.fetch(
        sa.select(schema.build_data.c.value).where(
            schema.build_data.c.buildid == built.id, schema.build_data.c.name == "diffinfo-main"
        )
    )
    files = {file["target_file"]: file for file in json.loads(value)}
    assert files["b/a"]["hunks"] == [
        {"ss": 2, "sl": 1, "ts": 2, "tl": 1}, {"ss": 3, "sl": 0, "ts": 4, "tl": 1},
    ]  # fmt: skip
    assert files["b/moved to"] == {
        "source_file": "a/moved", "target_file": "b/moved to", "is_binary": False, "is_rename": True,
        "hunks": [],
    }  # fmt: skip
    assert files["b/binary"]["is_binary"]
    assert files["b/empty"]["source_file"] == "/dev/null"
    assert files["/dev/null"]["source_file"] == "a/gone"
    assert len(files) == 5
    assert (await it.build("c")).outline == [("GitDiffInfo", FAILURE)]
