"""The house's own rules: imports point downwards only, and files keep a size that one can know."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

# From the top down; modules on one line know nothing of each other.
LAYERS = [
    ["run", "swarmsim.__main__"],
    ["swarmsim.cli"],
    ["swarmsim.commands"],
    ["swarmsim"],  # the public names alone, which nothing of the house imports
    ["swarmsim.experiment", "swarmsim.flags"],
    ["swarmsim.views"],
    ["swarmsim.launcher"],
    ["swarmsim.policy"],
    ["swarmsim.components"],
    ["swarmsim.envs"],
    ["swarmsim.plugins"],
    ["swarmsim.config"],
    ["swarmsim.learning", "swarmsim.messaging", "swarmsim.results"],
    [
        "swarmsim.settings",
        "swarmsim.files",
        "swarmsim.names",
        "swarmsim.finite",
        "swarmsim.console",
        "swarmsim.projects",
    ],
    ["swarmsim.errors"],
]
FORBIDDEN = {
    "swarmsim.messaging": {"torch", "gymnasium"},
    "swarmsim.learning": {"gymnasium", "multiprocessing"},
    "swarmsim.results": {"torch", "gymnasium", "multiprocessing"},
}
FILES = [ROOT / "run.py", *sorted((ROOT / "swarmsim").rglob("*.py"))]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    """Return all modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module)
    return found


def layer_of(module: str) -> tuple[int, str]:
    """Return the number and the name of the layer's part that holds a module."""
    for number, parts in enumerate(LAYERS):
        for part in parts:
            if module == part or (part != "swarmsim" and module.startswith(f"{part}.")):
                return number, part
    raise AssertionError(f"{module} has no layer")


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_point_downwards_only(path):
    module = module_of(path)
    number, part = layer_of(module)
    for imported in imports_of(path):
        if imported.split(".")[0] == "swarmsim":
            below, other = layer_of(imported)
            assert below > number or other == part, f"{module} imports {imported}, which lies above or beside it"
        assert imported.split(".")[0] not in FORBIDDEN.get(part, set()), f"{module} imports {imported}"


def test_the_layers_name_every_part_of_the_house():
    parts = {part for layer in LAYERS for part in layer}
    found = {".".join(module_of(path).split(".")[:2]) for path in FILES}
    assert parts == found


def import_graph(files: list[Path]) -> dict[str, set[str]]:
    """Return the modules among `files` that each of them imports, wherever in it, also for types alone."""
    modules = {module_of(path): path for path in files}
    graph = {}
    for module, path in modules.items():
        names = imports_of(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
        graph[module] = names & modules.keys()
    return graph


def cycle_in(graph: dict[str, set[str]]) -> list[str]:
    """Return the nodes of a cycle, the first one also at the end; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_modules_import_each_other_in_a_cycle():
    assert cycle_in(import_graph(FILES)) == []


def test_a_cycle_of_imports_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.test_layers.ROOT", tmp_path)
    sources = {
        "top.py": "import house.a",
        "house/__init__.py": "",
        "house/a.py": "from house import b",
        "house/b.py": "def late():\n    from house.c import thing",
        "house/c.py": "if TYPE_CHECKING:\n    from house.a import Thing",
    }
    (tmp_path / "house").mkdir()
    files = [tmp_path / name for name in sources]
    for path, source in zip(files, sources.values(), strict=True):
        path.write_text(source)
    cycle = cycle_in(import_graph(files))
    assert cycle[0] == cycle[-1]
    assert set(cycle) == {"house.a", "house.b", "house.c"}
    files[-1].write_text("import house")
    assert cycle_in(import_graph(files)) == []


def test_no_module_is_longer_than_400_lines():
    lengths = {module_of(path): len(path.read_text().splitlines()) for path in FILES}
    assert max(lengths.values()) <= 400, lengths


def test_no_function_is_longer_than_60_lines():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path}:{node.lineno} {node.name}"
