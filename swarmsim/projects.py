"""Users' modules, loaded by path: each project's folder has module objects of its own, and changed files new ones."""

import os
import struct
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import invalidate_caches
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import cache_from_source, spec_from_file_location
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

INSTALLED = tuple(str(Path(sysconfig.get_path(name))) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
OURS = __name__.partition(".")[0]
UNTOUCHED = {OURS, "__main__", "__mp_main__"}

_sources: WeakKeyDictionary[ModuleType, bytes] = WeakKeyDictionary()  # of each module, the text that it was made from


class Project:
    """A folder of a user's modules, which finds and loads them while it is the current one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._modules: dict[str, ModuleType] = {}  # while another project is the current one
        self._replaced: dict[str, ModuleType] = {}  # modules of the same names from elsewhere, while it is current
        self._before: set[str] = set()  # modules when it became the current one
        self._paths = [str(folder)]  # of sys.path, while another project is the current one
        self._paths_before: list[str] = []  # of sys.path when it became the current one
        self._environments: dict[str, Any] = {}  # that its modules registered with Gymnasium

    # --- a finder, as in sys.meta_path

    def find_spec(self, name: str, path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        """Return the spec of a module that lies in this folder."""
        top, _, _ = name.partition(".")
        if top in UNTOUCHED or (top != name and (top in self._before or not self._is_own(top))):
            return None
        for folder in self._places() if path is None else path:
            package = Path(folder) / name.rpartition(".")[2]
            for file in (package / "__init__.py", package.with_name(f"{package.name}.py")):
                if file.is_file():
                    places = [str(package)] if file.parent == package else None
                    loader = _Loader(name, str(file), self._environments)
                    return spec_from_file_location(name, file, loader=loader, submodule_search_locations=places)
        return None

    def _places(self) -> list[str]:
        """Return this folder, and those that its modules have added to sys.path."""
        known = {str(self.folder), *self._paths_before}
        return [str(self.folder), *(path for path in sys.path if path not in known and not _is_installed(path))]

    def _is_own(self, name: str) -> bool:
        home = _home_of(sys.modules.get(name))
        return name not in UNTOUCHED and home is not None and home in map(os.path.realpath, self._places())

    # --- a current project, and one that is set aside

    def enter(self) -> None:
        """Put this project's modules into sys.modules instead of others of the same names."""
        self._paths_before = list(sys.path)
        sys.path[:0] = self._paths
        if any(map(_has_changed, self._modules.values())):
            self._modules.clear()
            self._environments.clear()
        loaded = self._provided() & sys.modules.keys()
        own = set(filter(self._is_own, loaded))  # that the program itself has imported
        others = {name for name in loaded - own if (home := _home_of(sys.modules[name])) and not _is_installed(home)}
        is_stale = any(map(_has_changed, _modules_below(own).values()))
        self._replaced = _modules_below(others | (own if is_stale else own & self._modules.keys()))
        for name in self._replaced:
            del sys.modules[name]
        self._before = set(sys.modules)
        sys.modules.update(self._modules)
        _registry().update(self._environments)
        sys.meta_path.insert(0, self)
        invalidate_caches()

    def leave(self) -> None:
        """Set this project's modules aside, and put back those that they replaced."""
        names = {name for name in sys.modules.keys() - self._before if "." not in name and self._is_own(name)}
        sys.meta_path.remove(self)
        self._paths = self._places()
        for path in self._paths:
            with suppress(ValueError):
                sys.path.remove(path)
        self._modules = _modules_below(names)
        for name in self._modules:
            del sys.modules[name]
        registry = _registry()
        for env_id, spec in self._environments.items():
            if registry.get(env_id) is spec and _module_of(spec).partition(".")[0] in names:
                del registry[env_id]
        sys.modules.update(self._replaced)
        self._replaced = {}

    def _provided(self) -> set[str]:
        """Return the names of the folders' modules, without those that are left as they are."""
        names: set[str] = set()
        for place in self._places():
            with suppress(OSError):
                names |= {path.stem for path in Path(place).iterdir() if path.suffix == ".py" or path.is_dir()}
        return names - UNTOUCHED


class _Loader(SourceFileLoader):
    """Executes a file as it is now, whatever bytecode an earlier version has left, and notes what it registers."""

    def __init__(self, name: str, path: str, environments: dict[str, Any]) -> None:
        super().__init__(name, path)
        self._environments = environments

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        _sources[module] = self.get_data(self.path)
        before = dict(_registry())
        super().exec_module(module)
        self._environments.update({key: spec for key, spec in _registry().items() if before.get(key) is not spec})


_projects: dict[Path, Project] = {}
_current: Project | None = None
_changing = RLock()  # of several threads, each with a run of its own
os.register_at_fork(before=_changing.acquire, after_in_parent=_changing.release, after_in_child=_changing.release)


def current_project() -> Project | None:
    """Return the project whose modules are in use."""
    return _current


def project_at(folder: str | None) -> Project:
    """Return the project in `folder`, by default the current folder."""
    path = Path(folder or ".").resolve()
    return _projects.setdefault(path, Project(path))


def use(project: Project | None) -> None:
    """Have imports find the modules of `project`, and those of no other."""
    global _current  # noqa: PLW0603 - what it describes, sys.modules, is as global
    with _changing:
        if project is _current:
            return
        if _current is not None:
            _current.leave()
        _current = project
        if project is not None:
            project.enter()


@contextmanager
def in_project(folder: str | None, references: Sequence[str]) -> Iterator[None]:
    """Use the modules in `folder` (default: the current one) if there are references; changed ones are loaded anew."""
    before = _current
    if references:
        use(None)
        use(project_at(folder))
    try:
        yield
    finally:
        use(before)


def _modules_below(names: Iterable[str]) -> dict[str, ModuleType]:
    """Return the loaded modules of these names, and all within them."""
    tops = set(names)
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in tops}


def _is_installed(folder: str) -> bool:
    return folder.startswith(INSTALLED) or not {"site-packages", "dist-packages"}.isdisjoint(Path(folder).parts)


def _home_of(module: ModuleType | None) -> str | None:
    """Return the folder in which the file of a module, or the folder of a package, lies."""
    known = vars(module) if isinstance(module, ModuleType) else {}
    place = next(iter(known.get("__path__") or ()), known.get("__file__"))
    return os.path.realpath(Path(place).parent) if isinstance(place, str) else None


def _has_changed(module: ModuleType) -> bool:
    """Return whether a module's file differs from the one that it was made from."""
    place = getattr(module, "__file__", None)
    if not isinstance(place, str) or not place.endswith(".py"):
        return False
    try:
        text = Path(place).read_bytes()
        known = _sources.setdefault(module, text if _is_of_its_bytecode(module, place) else b"")
    except OSError:
        return True
    return known != text


def _is_of_its_bytecode(module: ModuleType, place: str) -> bool:
    """Return whether a file that Python itself has loaded is still as its bytecode says: its time and size."""
    bytecode = Path(cache_from_source(place))
    if sys.dont_write_bytecode or type(module.__loader__) is not SourceFileLoader or not bytecode.is_file():
        return True
    is_hashed, time, size = struct.unpack("<4x3L", bytecode.read_bytes()[:16].ljust(16))
    found = Path(place).stat()
    return bool(is_hashed) or (time, size) == (int(found.st_mtime) & 0xFFFFFFFF, found.st_size & 0xFFFFFFFF)


def _registry() -> dict[str, Any]:
    """Return Gymnasium's environments by id; empty while nothing has imported it."""
    return getattr(sys.modules.get("gymnasium"), "registry", {})


def _module_of(spec: Any) -> str:
    entry_point = spec.entry_point
    if isinstance(entry_point, str):
        return entry_point.partition(":")[0]
    return str(getattr(entry_point, "__module__", ""))
