"""Buildwright: a CI framework whose configuration is Python."""

__version__ = "0.1.0.dev0"
