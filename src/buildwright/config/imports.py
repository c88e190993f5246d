"""Modules of a configuration, imported afresh at each load.

Each load is a :class:`Generation` with modules of its own. Code of a generation is run with built-ins of its
own, whose ``__import__`` looks for the configuration's modules in the generation and leaves everything else
to Python. So two generations never meet: while a load is under way, and after it, functions of the running
configuration that import when they are called still get the modules that they were made with.

A module belongs to the configuration if Python would find it under the configuration's directory (or the base
directory): ``sys.path`` comes first, so installed packages are not hidden by a file beside the configuration.
What was imported before any load is left alone, and so is whatever is part of a Python environment that
happens to lie in that directory. Sources are always compiled anew: Python's cache of compiled files looks at
whole seconds, and so would miss an edit.

``sys.modules`` holds the newest generation's modules, for those who look there (`dataclasses`, `pickle`,
`importlib.import_module`); a finder at the front of ``sys.meta_path`` answers from the generation that is
being loaded in this context, or else from the one that runs. (What others find there by name while a load is
under way is that load's, so only import statements are apart at any time.) When a load fails,
``sys.modules``, ``sys.path`` and the environment are put back as they were.

Hooks give names of other worlds to our own classes: a hook that knows a name is asked before anything else.
"""

from __future__ import annotations

import builtins
import contextvars
import importlib
import importlib.util
import os
import site
import sys
import threading
import weakref
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

MAIN = "master_cfg"  # the module's name of the configuration file itself


class ImportHook(Protocol):
    """Gives modules to names of another world while a configuration loads."""

    def module(self, name: str) -> ModuleType | None:
        """The module of this absolute name, or None if it is not this hook's."""
        ...


# Every module that a generation made, so that a later one knows them from Python's own.
_made: weakref.WeakSet[ModuleType] = weakref.WeakSet()


def _is_made(module: object) -> bool:
    return isinstance(module, ModuleType) and module in _made


_loading: contextvars.ContextVar[Generation | None] = contextvars.ContextVar("generation", default=None)
_import: Callable[..., Any] = builtins.__import__


def _prefixes(directories: Sequence[Path]) -> tuple[str, ...]:
    names = dict.fromkeys(
        [str(each.absolute()) for each in directories] + [os.path.realpath(each) for each in directories]
    )
    return tuple(name.rstrip(os.sep) + os.sep for name in names)


def _environments() -> tuple[str, ...]:
    found = [Path(sys.prefix), Path(sys.base_prefix), *(Path(each) for each in site.getsitepackages())]
    return _prefixes([each for each in found if str(each) != os.sep])


class Generation:
    """The modules of one load. Used by the load's thread, later by whoever runs its functions."""

    def __init__(self, directories: Sequence[Path], hooks: Sequence[ImportHook] = ()) -> None:
        self.roots = _prefixes(directories)
        self.hooks = tuple(hooks)
        self.modules: dict[str, ModuleType] = {}
        self.files: list[Path] = []
        self.builtins: dict[str, Any] = {**vars(builtins), "__import__": self._import}
        self._search = list(dict.fromkeys(str(each.absolute()) for each in directories))
        self._environments = tuple(
            each for each in _environments() if each.startswith(self.roots) and each not in self.roots
        )
        self._lock = threading.RLock()

    # -- running: the file itself and its modules

    def run_main(self, path: Path, source: bytes, names: Mapping[str, Any]) -> ModuleType:
        """Run the configuration file; its module holds what it defined, also when it raises."""
        module = ModuleType(MAIN)
        vars(module).update(names, __file__=str(path), __builtins__=self.builtins)
        self._enter(MAIN, module)
        self.files.append(path)
        exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))  # noqa: S102 - it is what we are for
        return module

    def get(self, name: str) -> ModuleType:
        """The module of an absolute name that this generation owns, imported if it wasn't yet."""
        with self._lock:
            module = self.modules.get(name) or self._hooked(name)
            if module is not None:
                return module
            parent, _, child = name.rpartition(".")
            if not parent:
                return self._execute(name, self._find(name))
            holder = self.get(parent)
            path = getattr(holder, "__path__", None)
            if path is None:
                missing = f"No module named {name!r}; {parent!r} is not a package"
                raise ModuleNotFoundError(missing, name=name)
            if name not in self.modules:  # else the parent has imported it by now
                setattr(holder, child, self._execute(name, PathFinder.find_spec(name, path)))
            return self.modules[name]

    def _execute(self, name: str, spec: ModuleSpec | None) -> ModuleType:
        if spec is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        module = importlib.util.module_from_spec(spec)
        vars(module)["__builtins__"] = self.builtins
        self._enter(name, module)
        try:
            if isinstance(spec.loader, SourceFileLoader) and spec.origin is not None:
                path = Path(spec.origin)
                self.files.append(path)
                exec(compile(path.read_bytes(), spec.origin, "exec", dont_inherit=True), vars(module))  # noqa: S102
            elif spec.loader is not None:
                spec.loader.exec_module(module)
        except BaseException:
            self.modules.pop(name, None)
            if sys.modules.get(name) is module:
                del sys.modules[name]
            raise
        replaced = sys.modules.get(name, module)  # a module may put another object in its place
        if replaced is not module and not _is_made(replaced):
            self.modules[name] = replaced
            return replaced
        return module

    def _enter(self, name: str, module: ModuleType) -> None:
        _made.add(module)
        self.modules[name] = module
        if _loading.get() is self or _runs.generation is self:
            sys.modules[name] = module

    # -- finding: what is the configuration's and what is not

    def owns(self, name: str) -> bool:
        """Whether an absolute name is answered here: by a hook, or because its top is a module of the
        configuration.
        """
        top = name.partition(".")[0]
        if top in self.modules or self._hooked(name) is not None:
            return True
        existing = sys.modules.get(top)
        if existing is not None and not _is_made(existing):
            return False
        return self._find(top) is not None

    def _hooked(self, name: str) -> ModuleType | None:
        for hook in self.hooks:
            if (module := hook.module(name)) is not None:
                return module
        return None

    def _find(self, top: str) -> ModuleSpec | None:
        """The specification of a top-level module, if it is one of the configuration's."""
        if top in sys.builtin_module_names:
            return None
        spec = PathFinder.find_spec(top, [*sys.path, *self._search])
        if spec is None:
            return None
        places = [spec.origin] if spec.origin is not None else list(spec.submodule_search_locations or ())
        return spec if places and all(self._is_under(place) for place in places) else None

    def _is_under(self, place: str) -> bool:
        if f"{os.sep}site-packages{os.sep}" in place or f"{os.sep}dist-packages{os.sep}" in place:
            return False
        place = str(Path(place).absolute())
        return place.startswith(self.roots) and not place.startswith(self._environments)

    # -- what an import statement of the generation's code calls

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        full = name
        if level:
            package = (globals or {}).get("__package__") or ""
            if not package:
                raise ImportError("attempted relative import with no known parent package")
            full = importlib.util.resolve_name("." * level + name, package)
        if not self.owns(full):
            return _import(name, globals, locals, fromlist, level)
        module = self.get(full)
        if not fromlist:
            return self.get(full.partition(".")[0])
        if hasattr(module, "__path__"):
            wanted = list(fromlist)
            if "*" in wanted:
                wanted += getattr(module, "__all__", ())
            for each in wanted:
                if each != "*" and not hasattr(module, each):
                    self._import_part(f"{full}.{each}")
        return module

    def _import_part(self, name: str) -> None:
        """Import a module that may be what ``from package import name`` means; if there is none, that says so
        itself.
        """
        try:
            self.get(name)
        except ModuleNotFoundError as missing:
            if missing.name != name:
                raise


class _Runs:
    """Which generation runs: the one of the last load that succeeded in this process."""

    generation: Generation | None = None


_runs = _Runs()


class _Ready(Loader):
    """Hands a module that is already there to Python's import system."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002 - the loader's interface
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec


class _Finder(MetaPathFinder):
    """Answers those who import by name (`importlib.import_module`, code outside the configuration)."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the finder's interface
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        generation = _loading.get() or _runs.generation
        if generation is None or not generation.owns(fullname):
            return None
        try:
            module = generation.get(fullname)
        except ModuleNotFoundError as missing:
            if missing.name == fullname:
                return None
            raise
        # Python would take a module that turned up meanwhile as a hint of how to load it, and load it again.
        sys.modules.pop(fullname, None)
        return ModuleSpec(fullname, _Ready(module), origin=getattr(module, "__file__", None))


_finder = _Finder()
_one_at_a_time = threading.Lock()


@contextmanager
def loading(generation: Generation) -> Iterator[None]:
    """While the block runs, imports of this context are the generation's; if it raises, all is put back."""
    with _one_at_a_time:
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
        importlib.invalidate_caches()
        before = _take_out_of_sys_modules(except_for=())
        path, environment = list(sys.path), dict(os.environ)
        token = _loading.set(generation)
        try:
            yield
        except BaseException:
            _take_out_of_sys_modules(except_for=())
            sys.modules.update(before)
            sys.path[:] = path
            _restore_environment(environment)
            raise
        else:
            # Older modules may have come back meanwhile, asked for by name by the running configuration.
            _take_out_of_sys_modules(except_for=generation.modules)
            # A file that extends the path does so at each load.
            sys.path[:] = [
                each for at, each in enumerate(sys.path) if each not in path or each not in sys.path[:at]
            ]
            _runs.generation = generation
        finally:
            _loading.reset(token)


def _take_out_of_sys_modules(except_for: Container[str]) -> dict[str, ModuleType]:
    taken = {
        name: module
        for name, module in list(sys.modules.items())
        if name not in except_for and _is_made(module)
    }
    for name in taken:
        sys.modules.pop(name, None)
    return taken


def _restore_environment(before: Mapping[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})
