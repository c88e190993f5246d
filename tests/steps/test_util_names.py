"""Names of ``util`` in a running build, as configurations use them."""

from buildwright.model.results import SUCCESS
from tests.steps.conftest import Start


async def test_renderables_of_every_kind(start: Start) -> None:
    it = await start(
        """
c["buildbotURL"] = "http://ci.example/"

@util.renderer
def plain(props, word="none"):
    return props.getProperty("n") * word

@util.renderer
async def waiting(props, *words):
    return "/".join(words)

class Duck:
    def getRenderingFor(self, props):
        return props.getProperty("buildername") + "!"

n = util.Property("n")
shown = {
    "url": util.URLForBuild,
    "plain": plain.withArgs(word="ab"),
    "waiting": waiting.withArgs(util.Property("buildername"), "x"),
    "duck": Duck(),
    "sum": (n + 1) * 2 - n // 2,
    "compared": [n == 2, n != 2, n < 3, n >= 3, n.in_([1, 2])],
    "flat": util.FlattenList([["a", ["b", n]], "c"]),
    "transformed": util.Transform(str.upper, util.Interpolate("%(prop:buildername)s-%(kw:k)s", k=n)),
    "old": util.WithProperties("%(n)s %(missing:-none)s %(twice)s", twice=lambda props: props["n"] * 2),
    "choice": util.Interpolate("%(prop:n:#?|yes %(prop:buildername)s|no)s %(prop:missing:-%(prop:n)s)s"),
}
names = [util.statusToString(result) for result in util.ALL_RESULTS] + [util.statusToString(None)]
builder("b", steps.SetProperties(properties=shown),
    properties=util.Properties(n=2, names=names))
"""
    )
    built = await it.build()
    assert built.results == SUCCESS
    found = {
        name: value for name, value in built.properties.items() if built.sources[name] == "SetProperties"
    }
    builderid = built.properties["builderid"]
    assert found == {
        "url": f"http://ci.example/#/builders/{builderid}/builds/1",
        "plain": "abab",
        "waiting": "b/x",
        "duck": "b!",
        "sum": 5,
        "compared": [True, False, True, False, True],
        "flat": ["a", "b", 2, "c"],
        "transformed": "B-2",
        "old": "2 none 4",
        "choice": "yes b 2",
    }
    assert built.properties["names"] == [
        "success",
        "warnings",
        "failure",
        "skipped",
        "exception",
        "retry",
        "cancelled",
        "not finished",
    ]
