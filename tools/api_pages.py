"""Write the pages of the API: every public name with its first line, and the place of its docstring.

python tools/api_pages.py

Writes ``docs/api``. The tables can be read on a code host; mkdocstrings puts the docstrings on the site.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import proxconnect as pc

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "api"

MODULES = {
    "quantizers": "Maps with their slopes, pairs and the catalogue of methods.",
    "theory": "Verdicts, potentials and certificates.",
    "layers": "What `binarize_` and `harden_` put into a model, and how to find it there.",
    "optim": "Step rules, schedules, parameter groups and the numbers of a run.",
    "trainer": "The training of the command line: runs, checkpoints, teachers, sensitivity.",
    "data": "Data sets, augmentation and preprocessing.",
    "models": "ResNets and vision transformers in plain PyTorch.",
    "comparison": "Comparisons of methods over seeds.",
    "experiments": "Grids of training runs, and their tables.",
    "packing": "Saving, loading and packing.",
    "engine": "Packed layers, loaded networks and the choice of kernels.",
    "summaries": "Tables of what is binary.",
    "timing": "Latencies beside other engines.",
    "export": "Other runtimes' forms.",
    "zoo": "Networks that ship with the package.",
    "integrations.lightning": "A callback of Lightning.",
    "integrations.loops": "Optimizers that other libraries made.",
    "integrations.transformers": "A callback and a Trainer of Hugging Face.",
    "format": "The packed file as bytes.",
    "graph": "The network of a packed file as data.",
    "kernels": "Checked calls of compiled code.",
    "errors": "Errors raised on purpose.",
}
"""The public modules, in the order of the index, with what each holds."""


def public_names(module: ModuleType) -> list[str]:
    """List the public names of a module that are its own: those of ``proxconnect`` have the first page."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
        ]
    own = [name for name in names if getattr(pc, name, None) is not getattr(module, name)]
    return own if module is not pc else [name for name in names if name != "__version__"]


def first_line(value: object) -> str:
    """Return the summary of an object's docstring, or a plain value itself where it is short."""
    if inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value):
        line = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())
        line = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", line).replace("``", "`")
    elif getattr(value, "__module__", "typing") == "typing" and len(repr(value)) < 80:
        line = f"`{value!r}`"
    else:
        line = f"a `{type(value).__name__}`"
    assert "|" not in line, f"a table has no place for the bar in: {line}"
    return line


def page(name: str, title: str, about: str, more: str = "") -> str:
    """Return the page of one module."""
    module = import_module(name)
    rows, entries = [], []
    for public in public_names(module):
        value = getattr(module, public)
        if inspect.ismodule(value):
            rows.append(f"| [`{public}`]({public}.md) | {first_line(value)} |")
            continue
        rows.append(f"| `{public}` | {first_line(value)} |")
        entries.append(f"::: {name}.{public}\n")
    table = "\n".join(["| name | summary |", "| --- | --- |", *rows])
    return "\n\n".join([f"# {title}", about, table, *([more] if more else []), "\n".join(entries)])


def pages() -> dict[str, str]:
    """Return all pages by file name."""
    about = "`import proxconnect as pc` has these names. Most programs need no others."
    modules = "\n".join(f"- [`proxconnect.{name}`]({name}.md): {holds}" for name, holds in MODULES.items())
    more = f"The modules have further names:\n\n{modules}\n\n`tools/api_pages.py` makes these pages."
    found = {"README.md": page("proxconnect", "API", about, more)}
    for name, holds in MODULES.items():
        found[f"{name}.md"] = page(f"proxconnect.{name}", f"proxconnect.{name}", holds)
    return found


def main() -> None:
    """Write the pages, and remove those of modules that are gone."""
    FOLDER.mkdir(exist_ok=True)
    written = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in written:
            path.unlink()
    for name, text in written.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
