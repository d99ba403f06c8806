"""Imports between the folders of svc go one way, and a module that calls itself pure imports nothing that acts."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.unit.source_files import ROOT, modules

# Each folder (or loose module) of svc, and what it may import besides itself. One that is missing here fails its test.
_FOUNDATION = {"base", "protocol", "perimeter", "client", "settings", "config"}
_SITE = _FOUNDATION | {"render", "supervision", "terminal", "site"}
ALLOWED = {
    "__init__": set(),
    "base": set(),
    "protocol": {"base"},
    "perimeter": {"base", "protocol"},
    "client": {"base", "protocol", "perimeter"},
    "settings": {"base", "protocol"},
    "config": _FOUNDATION,
    "render": _FOUNDATION,
    "supervision": _FOUNDATION,
    "terminal": {"base", "protocol", "client"},
    "site": _SITE,
    "rollout": _SITE,
    "management": _FOUNDATION | {"terminal"},
    "doctor": _SITE | {"rollout"},
    "mock": {"base", "protocol"},
    "registry": _FOUNDATION,
    "router": _FOUNDATION,
    "babysitter": _FOUNDATION | {"supervision"},
}
ENTRY_POINTS = {"cli", "__main__"}  # may import any folder; nothing imports them

# Modules that reach out of the process, or whose results differ from call to call.
ACTING = {
    "os",
    "io",
    "socket",
    "select",
    "subprocess",
    "threading",
    "random",
    "secrets",
    "time",
    "datetime",
    "pathlib",
    "requests",
    "gevent",
    "gunicorn",
    "flask",
    "supervisor",
    "sqlite3",
    "redis",
    "tempfile",
    "shutil",
    "signal",
}


@cache
def is_pure(module: str) -> bool:
    """Whether the module's docstring says so, in a sentence that begins with "Pure"."""
    docstring = ast.get_docstring(ast.parse((ROOT / module).read_text(encoding="utf-8"))) or ""
    return re.search(r"(^|[.;] )Pure[.:,;]", " ".join(docstring.split())) is not None


@cache
def imported_names(module: str) -> list[str]:
    """Every dotted name that a module imports, wherever the import stands."""
    names = []
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def folder_of(module: str) -> str:
    """The entry of svc/ that a file, or a dotted name without `svc.`, belongs to."""
    return module.removesuffix(".py").replace("/", ".").split(".")[0]


def is_entry_point(module: str) -> bool:
    return folder_of(module) in ENTRY_POINTS or module.endswith("__main__.py")


def imported_folders(module: str) -> set[str]:
    names = {name.removeprefix("svc.") for name in imported_names(module) if name.startswith("svc.")}
    return {folder_of(name) for name in names} - {folder_of(module)}


@pytest.mark.parametrize("module", [name for name in modules() if not is_entry_point(name)])
def test_imports_between_folders_go_one_way(module):
    assert imported_folders(module) <= ALLOWED[folder_of(module)], f"{module}: imports a folder above it"


@pytest.mark.parametrize("module", [name for name in modules() if is_pure(name)])
def test_a_pure_module_imports_nothing_that_acts(module):
    assert not {name.split(".")[0] for name in imported_names(module)} & ACTING, module


def test_the_pure_modules_are_found():
    assert len([name for name in modules() if is_pure(name)]) > 40


@pytest.mark.parametrize("folder", sorted({str(Path(name).parent) for name in modules()}))
def test_every_folder_says_what_it_is_for(folder):
    docstring = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text(encoding="utf-8")))
    assert docstring, f"{folder}/__init__.py has no docstring"


def test_a_listing_of_svc_fits_on_a_screen():
    assert len([path for path in ROOT.iterdir() if path.name != "__pycache__"]) <= 20


@pytest.mark.parametrize("module", modules())
def test_no_file_is_too_long_to_read_at_once(module):
    assert len((ROOT / module).read_text(encoding="utf-8").splitlines()) <= 300
