"""Renderables: Interpolate against a table and against another way to evaluate it, and all the others."""

import asyncio
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildwright.model.errors import ConfigErrors
from buildwright.model.properties import Properties
from buildwright.model.render import (
    FlattenList,
    Interpolate,
    Property,
    Secret,
    SecretMissing,
    Transform,
    WithProperties,
    is_plain,
    renderer,
)
from buildwright.model.sources import SourceStamp

ZERO = Property("zero", defaultWhenFalse=False)
SECRETS = {"key": "s3cr3t"}


async def known_secret(name: Any) -> Any:
    return SECRETS.get(name)


class BuildWorker:
    """What a renderable asks of a build's worker."""

    info: ClassVar[dict[str, str]] = {"system": "posix"}
    properties = Properties(os="linux", system="overridden by what the worker says")


class Build:
    """What a renderable asks of a build."""

    worker = BuildWorker()

    def __init__(self, stamps: list[SourceStamp]) -> None:
        self.stamps = stamps

    def getSourceStamp(self, codebase: str = "") -> SourceStamp | None:
        return next((stamp for stamp in self.stamps if stamp.codebase == codebase), None)


def props(**values: Any) -> Any:
    made = Properties(**{"name": "x", "empty": "", "zero": 0, "no": False, "nothing": None, **values})
    made.secret_source = known_secret
    stamps = [
        SourceStamp(branch="main", revision="abc"),
        SourceStamp(codebase="lib", branch=None, revision="def"),
    ]
    made.build = Build(stamps)
    return made


def rendered(value: Any, properties: Any = None) -> Any:
    return asyncio.run((props() if properties is None else properties).render(value))


@pytest.mark.parametrize(
    ("fmtstring", "expected"),
    [
        ("plain 100%%", "plain 100%"),
        ("%(prop:name)s", "x"),
        ("%(prop:missing)s", ""),
        ("%(prop:nothing)s", ""),
        ("%(prop:zero)s", "0"),
        ("%(prop:zero)05d%%", "00000%"),
        ("%(prop:name)-3s|", "x  |"),
        ("%(prop:name)r", "'x'"),
        # present or not
        ("%(prop:missing:-other)s", "other"),
        ("%(prop:empty:-other)s", ""),
        ("%(prop:nothing:-other)s", ""),
        ("%(prop:missing:-)s|", "|"),
        ("%(prop:missing:-a:b)s", "a:b"),
        ("%(prop:missing:-(a) b)s", "(a) b"),
        # true or not
        ("%(prop:missing:~other)s", "other"),
        ("%(prop:empty:~other)s", "other"),
        ("%(prop:zero:~other)s", "other"),
        ("%(prop:name:~other)s", "x"),
        # instead of the value
        ("%(prop:name:+there)s", "there"),
        ("%(prop:empty:+there)s", "there"),
        ("%(prop:missing:+there)s", ""),
        # one of two
        ("%(prop:name:?|yes|no)s", "yes"),
        ("%(prop:empty:?|yes|no)s", "yes"),
        ("%(prop:missing:?|yes|no)s", "no"),
        ("%(prop:missing:?:yes:no)s", "no"),
        ("%(prop:name:#?|yes|no)s", "yes"),
        ("%(prop:empty:#?|yes|no)s", "no"),
        ("%(prop:missing:#?|yes|)s", ""),
        # places within places
        ("%(prop:missing:-%(prop:name)s)s", "x"),
        ("%(prop:missing:-%(prop:empty:~%(kw:two)s)s)s", "2"),
        ("%(prop:name:?|%(kw:two)s|no)s", "2"),
        # the other selectors
        ("%(kw:two)s", "2"),
        ("%(kw:prop)s", "x"),
        ("%(kw:missing:-d)s", "d"),
        ("%(src::branch)s@%(src::revision)s", "main@abc"),
        ("%(src:lib:revision)s", "def"),
        ("%(src:lib:branch)s", ""),
        ("%(src:lib:branch:-trunk)s", ""),
        ("%(src:lib:branch:~trunk)s", "trunk"),
        ("%(src:absent:branch:-none)s", "none"),
        ("%(worker:system)s %(worker:os)s %(worker:cpu:-?)s", "posix linux ?"),
        ("%(secret:key)s", "s3cr3t"),
        ("%(prop:empty:~%(secret:key)s)s", "s3cr3t"),
    ],
)
def test_interpolate(fmtstring: Any, expected: Any) -> None:
    assert rendered(Interpolate(fmtstring, two=2, prop=Property("name"))) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("%s-%s", "a", Property("name")), "a-x"),
        (("%d%%", Property("zero", 5)), "5%"),
        (("%s", None), "None"),
    ],
)
def test_interpolate_by_position(arguments: Any, expected: Any) -> None:
    assert rendered(Interpolate(*arguments)) == expected


@pytest.mark.parametrize(
    ("fmtstring", "said"),
    [
        ("%(name)s", "names no selector (write %(prop:name)s for a property)"),
        ("%(porp:name)s", "unknown selector 'porp' (did you mean 'prop'?)"),
        ("%(prop:a b)s", "a name that isn't one: 'a b'"),
        ("%(src:branch)s", "needs a codebase and an attribute"),
        ("%(prop:a:zz)s", "unknown operator"),
        ("%(prop:a:?)s", "a choice needs a delimiter"),
        ("%(prop:a:?|yes)s", "the delimiter '|' must part exactly two texts"),
        ("%(prop:a:-%(prop:b)s", "a '%(' without its ')'"),
        ("%(prop:a)", "lacks the conversion"),
        ("100%", "a '%' that begins nothing (write '%%' for the sign itself)"),
        ("%Y", "a '%' that begins nothing"),
        ("%(prop:a:-%(b)s)s", "names no selector"),
    ],
)
def test_a_mistake_is_found_where_it_is_written(fmtstring: Any, said: Any) -> None:
    with pytest.raises(ConfigErrors) as caught:
        Interpolate(fmtstring)
    (error,) = caught.value.errors
    assert said in str(error)
    assert error.file == __file__


# Another way to evaluate: expressions are generated as a tree, written as text, and evaluated from the tree.

VALUES = {"t": "true", "e": "", "z": 0, "f": False, "n": None, "l": [1]}
names = st.sampled_from([*VALUES, "m", "w-x", "a.b"])
literals = st.text(st.sampled_from("ab :-~+?#%,"), max_size=6)


def places(inner: Any) -> Any:
    return st.tuples(
        st.sampled_from(["prop", "kw"]),
        names,
        st.sampled_from(["", ":-", ":~", ":+", ":?", ":#?"]),
        inner,
        inner,
    )


trees = st.recursive(
    literals.map(lambda text: [text]),
    lambda inner: st.lists(literals | places(inner), max_size=3),
    max_leaves=8,
)


def written(tree: Any) -> Any:
    return "".join(node.replace("%", "%%") if isinstance(node, str) else written_place(node) for node in tree)


def written_place(node: Any) -> Any:
    selector, name, operator, yes, no = node
    if operator == "":
        return f"%({selector}:{name})s"
    if operator in (":?", ":#?"):
        texts = [written(yes), written(no)]
        delimiter = next(sign for sign in "|!/;&=@^_0123456789" if not any(sign in text for text in texts))
        return f"%({selector}:{name}{operator}{delimiter}{texts[0]}{delimiter}{texts[1]})s"
    return f"%({selector}:{name}{operator}{written(yes)})s"


def value_of(tree: Any) -> Any:
    return "".join(node if isinstance(node, str) else value_of_place(node) for node in tree)


def value_of_place(node: Any) -> Any:
    _, name, operator, yes, no = node
    there, value = name in VALUES, VALUES.get(name)
    if operator == ":-":
        result = value if there else value_of(yes)
    elif operator == ":~":
        result = value or value_of(yes)
    elif operator == ":+":
        result = value_of(yes) if there else ""
    elif operator == ":?":
        result = value_of(yes if there else no)
    elif operator == ":#?":
        result = value_of(yes if value else no)
    else:
        result = value
    return "" if result is None else str(result)


@given(trees)
def test_interpolate_is_what_its_tree_is(tree: Any) -> None:
    assert rendered(Interpolate(written(tree), **VALUES), Properties(**VALUES)) == value_of(tree)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (WithProperties("%(name)s %(missing)s|"), "x |"),
        (WithProperties("%(missing:-d)s%(empty:-d)s%(nothing:-d)s"), "d"),
        (WithProperties("%(empty:~d)s%(name:~d)s"), "dx"),
        (WithProperties("%(empty:+d)s%(missing:+d)s"), "d"),
        (WithProperties("%s and %s", "name", "missing"), "x and "),
        (WithProperties("%(made)s", made=lambda properties: properties.getProperty("name") * 2), "xx"),
        (Property("name"), "x"),
        (Property("missing"), None),
        (Property("missing", "d"), "d"),
        (Property("empty", "d"), "d"),
        (Property("empty", "d", defaultWhenFalse=False), ""),
        (Property("missing", default=Interpolate("%(prop:name)s!")), "x!"),
        (Secret("key"), "s3cr3t"),
        (Transform(len, [Property("name"), 1]), 2),
        (Transform(renderer(lambda properties: str.upper), Property("name")), "X"),
        (FlattenList([[1, [Property("name")]], (2,)]), [1, "x", 2]),
        (FlattenList([[1], (2, [3])], types=list), [1, (2, [3])]),
        (FlattenList([1]) + FlattenList([2, [3]]), [1, 2, 3]),
        (ZERO == 0, True),
        (ZERO != 0, False),
        (ZERO < 1, True),
        (ZERO >= 1, False),
        (Property("name") + "y", "xy"),
        (Interpolate("%(prop:name)s") == "x", True),
        ((ZERO + 7) % 4, 3),
        ((ZERO + 7) // 2 * 2 - 1, 5),
        ((ZERO + 7) / 2, 3.5),
        (Property("name").in_(["x", Property("zero")]), True),
        (renderer(lambda properties: [Property("name")]), ["x"]),
        ({"a": [Property("name"), ("b", Secret("key"))]}, {"a": ["x", ("b", "s3cr3t")]}),
    ],
)
def test_renderables(made: Any, expected: Any) -> None:
    assert rendered(made) == expected


def test_renderer_takes_coroutines_and_arguments() -> Any:
    @renderer
    async def joined(properties: Any, *parts: Any, sep: Any) -> Any:
        return sep.join(parts)

    bound = joined.withArgs("a", Property("name"), sep=Interpolate("%(prop:zero)s"))
    assert rendered(bound) == "a0x"
    assert rendered(bound.withArgs("b")) == "a0x0b"


def test_what_is_plain_comes_back_as_it_is() -> None:
    value = {"a": [1, ("b", None)], "c": object()}
    assert is_plain(value)
    assert rendered(value) is value
    assert not is_plain({"a": [Property("x")]})


def test_a_secret_that_was_rendered_is_known_for_masking_and_never_stored() -> None:
    properties = props()
    assert rendered(Interpolate("a%(secret:key)sb"), properties) == "as3cr3tb"
    assert properties.secrets == {"key": "s3cr3t"}
    assert "s3cr3t" not in properties.to_json() + repr(properties)


@pytest.mark.parametrize("source", [known_secret, None])
def test_a_secret_that_nobody_knows(source: Any) -> None:
    properties = props()
    properties.secret_source = source
    with pytest.raises(SecretMissing, match="no secrets provider knows the secret 'other'"):
        rendered(Secret("other"), properties)


def test_before_there_is_a_build_source_stamps_are_those_of_the_scheduler() -> None:
    properties = Properties()
    properties.sourcestamps = [{"codebase": "lib", "branch": "main"}]
    assert rendered(Interpolate("%(src:lib:branch)s%(src::branch:-?)s"), properties) == "main?"
    assert rendered(Interpolate("%(worker:os:-?)s"), properties) == "?"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Interpolate("%(kw:a)s", 1, a=2),
        lambda: Interpolate(3),
        lambda: WithProperties("%s", "a", b=len),
        lambda: WithProperties("%(b)s", b="no function"),
        lambda: Property(3),
        lambda: Secret(None),
        lambda: renderer("no function"),
        lambda: Transform("no function"),
    ],
)
def test_wrong_arguments_are_errors_of_the_configuration(make: Any) -> None:
    with pytest.raises(ConfigErrors):
        make()
