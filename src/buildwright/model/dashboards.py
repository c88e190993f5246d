"""Dashboards of one's own: WSGI applications that the page shows in its menu."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One of ``c['www']['plugins']['wsgi_dashboards']``."""

    name: str
    caption: str
    app: Callable[..., Any]
    order: int = 5
    icon: str = ""
