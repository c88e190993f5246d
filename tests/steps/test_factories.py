"""Factories for common kinds of projects."""

import pytest

from buildwright.model.builders import BuildFactory
from buildwright.model.errors import ConfigErrors
from buildwright.model.results import SUCCESS
from buildwright.plugins import steps, util
from tests.steps.conftest import Start

SOURCE = """
def source(**files):
    parts = []
    for name, text in files.items():
        name = name.replace("_", ".").replace("..", "/")
        parts.append(f"mkdir -p $(dirname {name}); cat > {name} <<'END'\\n{text}\\nEND\\nchmod +x {name}")
    return steps.ShellCommand(name="source", command="\\n".join(parts))
"""


async def test_a_project_with_configure(start: Start) -> None:
    it = await start(
        SOURCE
        + """
script = "#!/bin/sh\\necho $0 $* $WHO; printf 'all check distcheck:\\\\n\\\\t@echo makes $@\\\\n' > Makefile"
def add(name, **arguments):
    factory = util.GNUAutoconf(source(configure=script), **arguments)
    c["builders"].append(util.BuilderConfig(name, workernames=["w1"], factory=factory))
    c["schedulers"].append(schedulers.Triggerable(name="run-" + name, builderNames=[name]))
add("all", configureFlags=["--with-x", "--without-y"], configureEnv={"WHO": "me"}, reconf="echo again")
add("less", configure="./configure -q", compile="make distcheck", test=None, distcheck=None)
add("none", configure=None, compile=None, test="true", distcheck=None)
"""
    )
    built = await it.build("all")
    assert [name for name, _ in built.outline] == [
        "source", "autoreconf", "configure", "compile", "test", "test_1",
    ], built  # fmt: skip
    assert built.results == SUCCESS
    assert built.log("autoreconf").out == b"again\n"
    assert built.log("configure").out == b"./configure --with-x --without-y me\n"
    for step, target in (("compile", b"all"), ("test", b"check"), ("test_1", b"distcheck")):
        assert built.log(step).out == b"makes " + target + b"\n"
    built = await it.build("less")
    assert [name for name, _ in built.outline] == ["source", "configure", "compile"], built
    assert built.log("configure").out == b"./configure -q\n"
    assert built.log("compile").out == b"makes distcheck\n"
    assert [name for name, _ in (await it.build("none")).outline] == ["source", "test"]


async def test_projects_in_perl_and_python(start: Start) -> None:
    it = await start(
        SOURCE
        + """
def add(name, factory):
    c["builders"].append(util.BuilderConfig(name, workernames=["w1"], factory=factory))
    c["schedulers"].append(schedulers.Triggerable(name="run-" + name, builderNames=[name]))
makefile = "use ExtUtils::MakeMaker; WriteMakefile(NAME => 'M', VERSION => '1');"
add("perl", util.CPAN(source(Makefile_PL=makefile, t__a_t="use Test::More tests => 2; ok 1; ok 1;")))
setup = "import sys; print('setup', *sys.argv[1:])"
add("python", util.Distutils(source(setup_py=setup), python="python3", test="echo tested"))
add("untested", util.Distutils(source(setup_py=setup), python="python3"))
cases = ("from twisted.trial.unittest import TestCase\\nclass Case(TestCase):\\n"
         "    def test_it(self):\\n        pass")
add("trial", util.Trial(source(setup_py=setup, cases_py=cases), buildpython=["python3"], trial="trial3",
    tests="cases", env={"LC_ALL": "C"}))
"""
    )
    built = await it.build("perl")
    assert built.outline == [
        ("source", SUCCESS),
        ("configure", SUCCESS),
        ("compile", SUCCESS),
        ("test", SUCCESS),
    ]
    assert built.step("test").state == "test 2 tests 2 passed"
    built = await it.build("python")
    assert built.log("compile").out == b"setup build\n", built
    assert built.log("test").out == b"tested\n"
    assert [name for name, _ in (await it.build("untested")).outline] == ["source", "compile"]
    built = await it.build("trial")
    assert built.outline == [("source", SUCCESS), ("compile", SUCCESS), ("trial", SUCCESS)], built
    assert built.step("trial").state == "trial 1 test"


def test_factories_are_factories() -> None:
    source = steps.ShellCommand(command="true")
    assert isinstance(util.CPAN(source), BuildFactory)
    factory = util.Trial(source, useTestCaseNames=True, testpath=None)
    assert [spec.cls.__name__ for spec in factory.steps] == ["ShellCommand", "Compile", "Trial"]
    with pytest.raises(ConfigErrors, match="Trial has nothing to test"):
        util.Trial(source)


def test_older_names_of_steps() -> None:
    for name in ("Compile", "Configure", "PerlModuleTest", "ShellCommand", "SetPropertyFromCommand", "Test"):
        assert getattr(steps, f"{name}NewStyle") is getattr(steps, name)
    assert steps.WarningCountingShellCommandNewStyle is steps.WarningCountingShellCommand
