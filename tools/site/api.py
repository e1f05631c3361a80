"""Pages of the API: a place for the docstring of every public name, found in the source without an import."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "proxconnect"
INTERNAL = {"base", "cli"}
"""Packages whose names are for this library alone."""


def modules() -> dict[str, Path]:
    """Find the public modules: packages, modules beside them, and those of ``integrations``."""
    found = {path.parent.name: path for path in sorted(PACKAGE.glob("[!_]*/__init__.py"))}
    found |= {path.stem: path for path in sorted(PACKAGE.glob("[!_]*.py"))}
    found |= {f"integrations.{path.stem}": path for path in sorted(PACKAGE.glob("integrations/[!_]*.py"))}
    found |= {f"integrations.{path.parent.name}": path for path in PACKAGE.glob("integrations/*/__init__.py")}
    return {name: path for name, path in found.items() if name not in {*INTERNAL, "integrations"}}


def public_names(path: Path) -> list[str]:
    """List the names of ``__all__``, or the public functions and classes of a module without it."""
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    defined = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    return [node.name for node in defined if not node.name.startswith("_")]


def names_of_pages() -> dict[str, list[str]]:
    """List the names of each page, each name once: those of ``proxconnect`` have the first page."""
    found = modules()
    first = [name for name in public_names(PACKAGE / "__init__.py") if not name.startswith("__")]
    pages = {"proxconnect": [name for name in first if name not in found]}
    for module, path in found.items():
        # A few names of proxconnect are also functions of a module with another meaning, such as zoo.load.
        own = [name for name in public_names(path) if name not in first or _is_other(module, name)]
        pages[f"proxconnect.{module}"] = own
    return {page: names for page, names in pages.items() if names}


def _is_other(module: str, name: str) -> bool:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    homes = {alias.name: node.module for node in imports for alias in node.names}
    return homes[name].removeprefix("proxconnect.").split(".")[0] != module.split(".")[0]


def entries(page: str, names: list[str]) -> str:
    """Return the entries of a page, which mkdocstrings replaces by the docstrings."""
    return "\n".join(f"::: {page}.{name}\n" for name in names)


def pages() -> dict[str, str]:
    """Return the pages of the modules by file name."""
    found = {}
    for page, names in names_of_pages().items():
        module = page.removeprefix("proxconnect.")
        if module in modules():
            about = ast.get_docstring(ast.parse(modules()[module].read_text())) or ""
            summary = about.split("\n\n")[0].replace("``", "`")
            found[f"{module}.md"] = f"# {page}\n\n{summary}\n\n{entries(page, names)}"
    return found
