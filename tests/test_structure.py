"""The house: no circle of imports, no arrow from the pure rooms to the host's, every package in the wheel."""
from __future__ import annotations

import ast
from configparser import ConfigParser
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from toy import ROOT

PACKAGE = ROOT / "claver_mm"
HOST_ROOMS = ("models", "datasets", "engine", "compat", "registry")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Modules of the package that a module imports while it is imported itself, annotations' imports left out."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    found, nodes = set(), list(ast.parse(path.read_text()).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test) or isinstance(node, ast.Try):
            nodes += node.body + node.orelse
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join(package.split(".")[:len(package.split(".")) - node.level + 1])
            base += f".{node.module}" if node.module else ""
            for name in node.names:
                inner = ROOT / (base + "." + name.name).replace(".", "/")
                found.add(f"{base}.{name.name}" if inner.with_suffix(".py").is_file() or inner.is_dir() else base)
    return found


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py") if ".mim" not in path.parts}
GRAPH = {name: imports(path) for name, path in MODULES.items()}


def test_no_module_imports_itself_over_others():
    assert len(GRAPH) > 60 and sum(map(len, GRAPH.values())) > 100
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from error


def test_no_arrow_runs_from_the_pure_rooms_to_those_of_the_host():
    for name, path in MODULES.items():
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        if "Pure:" in docstring:
            back = {other for other in GRAPH[name] if other.split(".")[1] in HOST_ROOMS} - {"claver_mm.datasets.motion"}
            assert not back, f"{name} is pure and imports {back}"


def test_every_package_is_in_the_wheel():
    """The list of packages is written out, since the command lies elsewhere; a new room was easily forgotten."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    packages = set(setup["options"]["packages"].split())
    assert packages == {name for name, path in MODULES.items() if path.name == "__init__.py"} | {"claver_mm_cli"}
