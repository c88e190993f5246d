"""Properties, given or found out."""

from buildwright.model.results import EXCEPTION, FAILURE, SUCCESS
from tests.steps.conftest import Start


async def test_given(start: Start) -> None:
    it = await start(
        """
builder("b",
    steps.SetProperty(property="one", value=util.Interpolate("%(prop:buildername)s!")),
    steps.SetProperty(util.Interpolate("%(prop:one)s"), [1, {"a": None}]),
    steps.SetProperties({"two": 2, "three": util.Property("one")}),
    steps.SetProperties(properties=util.Transform(lambda: {"four": 4})),
    steps.ShellCommand(command=["echo", util.Interpolate("%(prop:three)s")]))
"""
    )
    built = await it.build()
    assert built.results == SUCCESS, built
    names = ("one", "b!", "two", "three", "four")
    assert [built.properties[name] for name in names] == ["b!", [1, {"a": None}], 2, "b!", 4]
    assert built.sources["one"] == "SetProperty Step"
    assert built.sources["two"] == "SetProperties"
    assert built.log("shell").out == b"b!\n"


async def test_from_a_command(start: Start) -> None:
    it = await start(
        """
def extract(rc, out, err):
    return {"rc": rc, "lines": out.split(), "err": err}
async def later(rc, out, err):
    return {"later": out}
S = steps.SetPropertyFromCommand
builder("b",
    S(command="echo '  x  '; echo no >&2", property="stripped"),
    S(command="echo '  x  '", property="raw", strip=False, name="raw"),
    S(command="echo out; echo err >&2", property="oops", includeStdout=False, includeStderr=True, name="err"),
    S(command="echo 1; echo 2; echo e >&2; exit 3", extract_fn=extract, name="fn", flunkOnFailure=False),
    S(command="printf x", extract_fn=later, name="later"),
    S(command="echo left; false", property="none", name="failing"))
"""
    )
    built = await it.build()
    assert built.outline[-3:] == [("fn", FAILURE), ("later", SUCCESS), ("failing", FAILURE)], built
    found = built.properties
    assert (found["stripped"], found["raw"], found["oops"]) == ("x", "  x  \n", "err")
    assert (found["rc"], found["lines"], found["err"], found["later"]) == (3, ["1", "2"], "e\n", "x")
    assert "none" not in found
    assert built.log("fn", "property changes").out == b"err: 'e\\n'\nlines: ['1', '2']\nrc: 3\n"
    assert built.step("setproperty").state == "property 'stripped' set"
    assert built.step("fn").state == "3 properties set (failure)"


async def test_what_is_no_property(start: Start) -> None:
    it = await start(
        """
builder("b", steps.SetPropertyFromCommand(command="true", extract_fn=lambda rc, out, err: ["x"]))
builder("c", steps.SetProperty("x", util.Transform(lambda: {1, 2})))
"""
    )
    built = await it.build()
    assert built.outline == [("setproperty", EXCEPTION)]
    assert b"extract_fn must give a dict" in built.log("setproperty", "err.text").out
    built = await it.build("c")
    assert built.outline == [("SetProperty", EXCEPTION)]
    assert b"can't be stored" in built.log("SetProperty", "err.text").out
