"""Older names of steps, from the time when some had two forms."""

from __future__ import annotations

from buildwright.steps.setproperty import SetPropertyFromCommand
from buildwright.steps.shell import Configure, ShellCommand
from buildwright.steps.tests import PerlModuleTest, Test
from buildwright.steps.warnings import Compile, WarningCountingShellCommand

CompileNewStyle = Compile
ConfigureNewStyle = Configure
PerlModuleTestNewStyle = PerlModuleTest
SetPropertyFromCommandNewStyle = SetPropertyFromCommand
ShellCommandNewStyle = ShellCommand
TestNewStyle = Test
WarningCountingShellCommandNewStyle = WarningCountingShellCommand
