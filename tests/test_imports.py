"""Who may import whom: data flows zoo -> recipes -> export -> (a folder) -> serving."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("zoo", "recipes", "export", "serving")
MAY_IMPORT = {
    "zoo": {"zoo"},
    "recipes": {"zoo", "recipes"},
    "export": {"zoo", "recipes", "export"},
    "serving": {"serving"},
}


def imported_packages(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_those_to_its_left(package):
    for file in (ROOT / package).rglob("*.py"):
        foreign = imported_packages(file) & set(PACKAGES) - MAY_IMPORT[package]
        assert not foreign, f"{file.relative_to(ROOT)} imports {foreign}"


def test_zoo_imports_no_tensorflow():
    for file in (ROOT / "zoo").rglob("*.py"):
        assert not imported_packages(file) & {"tensorflow", "tf_keras", "jax", "torch"}, file


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_imports_no_tensorflow(package):
    code = f"import sys, {package}, {package}.commands; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_files_have_names_that_tell():
    nameless = {"utils", "helpers", "common", "misc"}
    assert not [file for package in PACKAGES for file in (ROOT / package).rglob("*") if file.stem in nameless]
