"""Tests of the tests."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]


def is_call(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def holds_for_nothing(test: ast.expr) -> bool:
    """Tell whether an asserted expression is true of an empty list: ``all(...)`` or ``not any(...)``."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return is_call(test.operand, "any")
    return is_call(test, "all")


def test_no_assertion_holds_where_there_is_nothing_to_look_at() -> None:
    asserted = [
        (f"{path.relative_to(TESTS)}:{node.lineno}", node.test)
        for path in TESTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert len(asserted) > 1000
    assert [place for place, test in asserted if holds_for_nothing(test)] == [], (
        "every() of support/looking.py"
    )
