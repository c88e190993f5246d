"""Steps that look at what the build knows: conditions, values, the worker's environment."""

import pytest

from buildwright.model.errors import Collector, collected, collecting
from buildwright.model.results import FAILURE, SUCCESS
from tests.steps.conftest import Start


async def test_conditions(start: Start) -> None:
    it = await start(
        """
builder("b",
    steps.SetProperty("level", 3),
    steps.Assert(util.Property("level") > 2),
    steps.Assert(check=util.Property("level") == "3", name="text", haltOnFailure=False),
    steps.Assert(util.Transform(lambda level: level - 3, util.Property("level")), name="zero"),
    steps.Assert(util.Property("nothing"), name="none", description="asking", descriptionDone="asked"))
"""
    )
    built = await it.build()
    assert built.outline[1:] == [("Assert", SUCCESS), ("text", FAILURE), ("zero", FAILURE), ("none", FAILURE)]
    assert built.step("Assert").state == "(Property('level') > 2) holds"
    assert built.step("text").state == "(Property('level') == '3') (failure)"
    assert built.step("none").state == "asked (failure)"


async def test_a_value_in_a_log(start: Start) -> None:
    it = await start(
        """
builder("b",
    steps.LogRenderable(content={"name": util.Property("buildername"), "list": [util.Property("none"), 2]}))
"""
    )
    built = await it.build()
    assert built.results == SUCCESS, built
    assert built.log("LogRenderable", "Output").out == b"{'list': [None, 2], 'name': 'b'}\n"
    assert built.step("LogRenderable").state == "Logged"


async def test_the_environment_of_the_worker(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPILER", "cc of this worker")
    monkeypatch.setenv("EMPTY", "")
    it = await start(
        """
builder("b",
    steps.SetPropertiesFromEnv(variables=["COMPILER", "EMPTY", "NOT_THERE", "compiler"]),
    steps.SetPropertiesFromEnv("COMPILER", source="elsewhere", name="again"))
"""
    )
    built = await it.build()
    assert built.results == SUCCESS, built
    assert (built.properties["COMPILER"], built.properties["EMPTY"]) == ("cc of this worker", "")
    assert not {"NOT_THERE", "compiler"} & set(built.properties)
    assert built.sources["COMPILER"] == "elsewhere"
    assert built.sources["EMPTY"] == "WorkerEnvironment"
    assert (
        built.log("SetPropertiesFromEnv", "properties").out == b"COMPILER = 'cc of this worker'\nEMPTY = ''\n"
    )


async def test_the_environment_of_a_windows_worker(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows its variables in any case."""
    monkeypatch.setenv("ComSpec", "cmd")
    monkeypatch.setattr("buildwright.builds.build.BuildWorker.worker_system", "nt")
    it = await start('builder("b", steps.SetPropertiesFromEnv(["COMSPEC", "comSpec"]))')
    built = await it.build()
    assert (built.properties["COMSPEC"], built.properties["comSpec"]) == ("cmd", "cmd")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("SetPropertiesFromEnv(variables=5)", "variables must be a list of names, not int 5"),
        ("SetPropertiesFromEnv(variables=[5])", "variables must be a list of names, not int 5"),
        ("SetPropertiesFromEnv([], source=5)", "source must be text, not int 5"),
    ],
)
def test_what_is_wrong_is_told(step: str, message: str) -> None:
    collector = Collector()
    token = collecting(collector)
    try:
        exec(f"from buildwright.plugins import steps\nsteps.{step}", {})
    finally:
        collected(token)
    (found,) = collector.errors
    assert message in str(found)
