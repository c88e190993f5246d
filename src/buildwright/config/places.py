"""Where in the files something was written: found in the syntax tree, and only when an error asks for it.

``c["www"] = {"port": 8010}`` and ``c["www"]["port"] = 8010`` put the path ``("www", "port")`` on their lines.
Dicts and lists that are written out are looked into (``dict(port=8010)`` too), ``c.update(...)`` and ``c =
BuildmasterConfig = {...}`` as well. What is computed has the line of the nearest thing above it that was
written.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

from buildwright.model.errors import Where

KeyPath = tuple[str | int, ...]


class Places:
    """Lines of the configuration's keys, in the file itself and then in the modules beside it."""

    def __init__(self, main: Path, files: Sequence[Path]) -> None:
        self.main = main
        self._files = files
        self._lines: dict[KeyPath, Where] | None = None

    def at(self, *path: str | int) -> Where:
        """The place of a key, or of what holds it; the file's first line if nothing is known."""
        if self._lines is None:
            self._lines = {}
            for file in reversed([self.main, *(each for each in self._files if each != self.main)]):
                self._lines.update(_lines_of(file, any_name=file != self.main))
        for length in range(len(path), 0, -1):
            if (where := self._lines.get(path[:length])) is not None:
                return where
        return Where(str(self.main), 1)


def _lines_of(file: Path, *, any_name: bool) -> dict[KeyPath, Where]:
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    visitor = _Visitor(str(file), any_name=any_name)
    visitor.visit(tree)
    return visitor.lines


class _Visitor(ast.NodeVisitor):
    """Collects assignments to the configuration's names in the order of the file: a later one replaces an
    earlier one.
    """

    def __init__(self, file: str, *, any_name: bool) -> None:
        self.file = file
        self.lines: dict[KeyPath, Where] = {}
        self._any_name = any_name  # a module beside the file knows the dict by a name that we can't know
        self._names = {"BuildmasterConfig", "c"}

    def visit_Assign(self, node: ast.Assign) -> None:
        names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        value = node.value
        if "BuildmasterConfig" in names or (
            isinstance(value, ast.Name) and value.id in self._names and names
        ):
            self._names |= names | ({value.id} if isinstance(value, ast.Name) else set())
            self._record((), value)
        elif names & self._names:
            self._record((), value)
        for target in node.targets:
            path = self._path(target)
            if path:
                self._put(path, target)
                self._record(path, value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if isinstance(node.target, ast.Name) and node.target.id in self._names and node.value is not None:
            self._record((), node.value)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        path = self._path(node.target)
        if path and path not in self.lines:
            self._put(path, node.target)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Attribute) and function.attr == "update":
            path = self._path(function.value)
            if path is not None:
                for argument in node.args:
                    self._record(path, argument)
                self._record_keywords(path, node.keywords)
        self.generic_visit(node)

    def _path(self, node: ast.AST) -> KeyPath | None:
        """``c["a"]["b"]`` as ("a", "b"); the configuration itself as (); None for anything else."""
        if isinstance(node, ast.Name):
            return () if self._any_name or node.id in self._names else None
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            key = node.slice.value
            above = self._path(node.value)
            if above is not None and isinstance(key, (str, int)):
                return (*above, key)
        return None

    def _put(self, path: KeyPath, node: ast.expr | ast.keyword) -> None:
        self.lines[path] = Where(self.file, node.lineno)

    def _record(self, path: KeyPath, value: ast.expr) -> None:
        if isinstance(value, ast.Dict):
            for key, item in zip(value.keys, value.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, (str, int)):
                    self._put((*path, key.value), key)
                    self._record((*path, key.value), item)
        elif isinstance(value, (ast.List, ast.Tuple)) and path:
            for index, item in enumerate(value.elts):
                self._put((*path, index), item)
                self._record((*path, index), item)
        elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "dict":
            for argument in value.args:
                self._record(path, argument)
            self._record_keywords(path, value.keywords)

    def _record_keywords(self, path: KeyPath, keywords: Sequence[ast.keyword]) -> None:
        for keyword in keywords:
            if keyword.arg is not None:
                self._put((*path, keyword.arg), keyword)
                self._record((*path, keyword.arg), keyword.value)
