"""Benches are scripts that nobody runs every day: what they import of ours must be there."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

SCRIPTS = sorted(Path("bench").rglob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_what_a_bench_imports_of_ours_is_there(script):
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("chargeline."):
            module = import_module(str(node.module))
            assert [each.name for each in node.names if not hasattr(module, each.name)] == [], node.module
