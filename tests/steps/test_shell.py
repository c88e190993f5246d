"""Command lines."""

from buildwright.model.results import SUCCESS
from tests.steps.conftest import Start


async def test_a_command(start: Start) -> None:
    it = await start('builder("b", steps.ShellCommand(command="echo hello; echo oops >&2"))')
    built = await it.build()
    assert built.results == SUCCESS
    assert built.outline == [("shell", SUCCESS)]
    assert built.log("shell").out == b"hello\n"
    assert built.log("shell").err == b"oops\n"
    assert b"program finished with exit code 0" in built.log("shell").header
