"""The fixture of the test kit."""

from buildwright.testing.plugin import rehearse

__all__ = ["rehearse"]
