"""Trying a configuration out: the shipped master and engine on virtual time, with workers that play scripts.

loop       a loop on virtual time, with processes that can be killed and frozen
views      builds, steps and logs as they stand in a store
scripts    what commands do, and which of them were run
machines   workers whose commands are scripts and whose files are in memory
mastering  what steps do on the master, as scripts
idling     time that costs nothing while nothing happens
rehearsal  a configuration at work on all of that
plugin     the fixture for pytest

``from buildwright.testing import Rehearsal`` is all that most tests need; docs/howto/test-a-configuration.md
shows how.
"""

from __future__ import annotations

from buildwright.testing.rehearsal import Rehearsal
from buildwright.testing.scripts import Ran, Script
from buildwright.testing.views import Build, Log, Step

__all__ = ["Build", "Log", "Ran", "Rehearsal", "Script", "Step"]
