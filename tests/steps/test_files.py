"""Directories and files at the worker."""

from buildwright.model.results import FAILURE, SUCCESS
from tests.steps.conftest import Start


async def test_directories(start: Start) -> None:
    it = await start(
        """
builder("b",
    steps.MakeDirectory(dir="one/two"),
    steps.ShellCommand(command="echo 1 > one/two/f", workdir="."),
    steps.CopyDirectory(src="one", dest=util.Interpolate("copy-%(prop:buildnumber)s")),
    steps.FileExists(file="copy-1/two/f"),
    steps.RemoveDirectory(dir="one"),
    steps.RemoveDirectory(dir="not there"),
    steps.FileExists(file="copy-1/two", name="no file", haltOnFailure=False),
    steps.FileExists(file="one/two/f", name="gone"),
    steps.ShellCommand(command="true", name="never"))
"""
    )
    built = await it.build()
    assert built.outline == [
        ("MakeDirectory", SUCCESS),
        ("shell", SUCCESS),
        ("CopyDirectory", SUCCESS),
        ("FileExists", SUCCESS),
        ("RemoveDirectory", SUCCESS),
        ("RemoveDirectory_1", SUCCESS),
        ("no file", FAILURE),
        ("gone", FAILURE),
    ], built
    assert (it.builddir() / "copy-1/two/f").read_text() == "1\n"
    assert not (it.builddir() / "one").exists()
    states = {step.name: step.state for step in built.steps}
    assert states["MakeDirectory"] == "Created"
    assert states["CopyDirectory"] == "Copied one to copy-1"
    assert states["no file"] == "Not a file. (failure)"
    assert states["gone"] == "File not found. (failure)"


async def test_what_can_not_be_done(start: Start) -> None:
    it = await start(
        """
builder("b", steps.MakeDirectory(dir="file/below"))
builder("c", steps.CopyDirectory(src="nowhere", dest="x"))
builder("d", steps.RemoveDirectory(dir=".."))
"""
    )
    it.builddir().mkdir(parents=True)
    (it.builddir() / "file").write_text("")
    for builder in "bcd":
        assert (await it.build(builder)).results == FAILURE
    assert (it.builddir() / "file").exists()
