"""Loggers for modules that a configuration imports: structlog is loaded when the first line is logged.

Checking a configuration logs nothing, and loading structlog would take a tenth of the time that it has.
Modules that only a running master imports use structlog itself.
"""

from __future__ import annotations

from typing import Any


class _Lazy:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        import structlog

        return getattr(structlog.get_logger(self._name), attribute)


def get_logger(name: str) -> Any:
    """As ``structlog.get_logger``."""
    return _Lazy(name)
