"""The how-to on tools: its steps do what it says."""

from __future__ import annotations

from pathlib import Path

from buildwright.model.results import FAILURE, SUCCESS, WARNINGS
from tests.docs.blocks import DOCS, Block, blocks
from tests.support.rig import rig

PAGE = DOCS / "howto" / "run-tools.md"


def block_with(text: str) -> Block:
    return next(block for block in blocks(PAGE) if text in block.text)


async def test_warnings(tmp_path: Path, sqlite_store_url: str) -> None:
    text = block_with("steps.Compile(").text.replace('"linux"', '"w1"')
    file = [line for line in block_with("in the sources").text.splitlines() if " : " in line]
    more = 'builder("file", steps.Compile(suppressionFile="known", **GROUPS))\n'
    more += 'c["schedulers"].append(schedulers.Triggerable(name="more", builderNames=["compile"]))\n'
    groups = 'GROUPS = {"warningPattern": r"^(.*?):(\\d+):\\d+: warning: (.*)$",\n'
    groups += '    "warningExtractor": steps.Compile.warnExtractFromRegexpGroups}\n'
    async with rig(tmp_path, sqlite_store_url, text + groups + more) as it:
        for builder in ("compile", "file"):
            there = it.builddir(builder) / "build"
            there.mkdir(parents=True)
            (there / "known").write_text("\n".join(file))
            lines = ["third_party/a.c:1:1: warning: theirs", "parser.c:130:1: warning: unused variable x"]
            says = "".join(f"\t@echo {line}\n" for line in lines)
            (there / "Makefile").write_text("all:\n" + says)
        built = await it.build("compile")
        assert (built.results, built.properties["warnings-count"]) == (WARNINGS, 1), built
        built = await it.build("compile", properties={"warnings-allowed": 0})
        assert built.outline == [("compile", FAILURE)], built
        built = await it.build("file")
        assert (built.results, built.properties["warnings-count"]) == (SUCCESS, 0), built


async def test_a_tool_of_ones_own(tmp_path: Path, sqlite_store_url: str) -> None:
    (tmp_path / "master").mkdir()
    (tmp_path / "master" / "benchmark.py").write_text(block_with("class Benchmark").text)
    text = """
from benchmark import Benchmark, Total
first = Benchmark(command="echo 'sort: 1.5 s'; echo done")
builder("b", first, Benchmark(command="echo 'scan: 2 s'"), Total())
"""
    async with rig(tmp_path, sqlite_store_url, text) as it:
        built = await it.build()
        assert (built.results, built.properties["seconds"]) == (SUCCESS, 3.5), built
