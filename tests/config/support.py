"""Configurations written to a directory, loaded, and told about in one line per error."""

import textwrap
from pathlib import Path

import pytest

from buildwright.config.imports import ImportHook
from buildwright.config.loader import load
from buildwright.model.errors import ConfigErrors
from buildwright.model.snapshot import Snapshot

# A configuration that has nothing wrong, to which a test adds what it is about.
WHOLE = """\
from buildwright.plugins import changes, schedulers, secrets, steps, util, worker

c = BuildmasterConfig = {}
c['workers'] = [worker.Worker('w1', 'secret')]
c['builders'] = [util.BuilderConfig(name='b1', workernames=['w1'], factory=util.BuildFactory())]
c['schedulers'] = [schedulers.SingleBranchScheduler('s1', builderNames=['b1'], branch='main')]
c['www'] = {'port': 8010}
"""


class Site:
    """A configuration's directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def load(self, text: str | None = None, hooks: list[ImportHook] | None = None) -> Snapshot:
        """Load `master.cfg`, written anew if a text is given."""
        if text is not None:
            self.write("master.cfg", text)
        return load(self.directory / "master.cfg", self.directory, hooks or [])

    def refused(self, text: str | None = None) -> list[str]:
        """The errors of a load that must fail, as lines without the directory."""
        with pytest.raises(ConfigErrors) as caught:
            self.load(text)
        return [self.short(line) for line in str(caught.value).splitlines()]

    def warned(self, text: str) -> list[str]:
        """The warnings of a load that succeeds, as lines without the directory."""
        return [self.short(str(warning)) for warning in self.load(text).warnings]

    def short(self, line: str) -> str:
        return line.replace(f"{self.directory}/", "")
