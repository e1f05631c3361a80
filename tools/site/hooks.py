"""Hooks of mkdocs, so that pages which are written for a code host make a site as they are.

Pages outside of ``docs/`` that belong to the documentation join the site. A link to a file that is no page
leads to the repository where ``repo_url`` names one, and is plain text elsewhere. Examples with prompts are
coloured as such.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import api
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]

ADOPTED = {
    "CHANGELOG.md": "changelog.md",
    "examples/README.md": "examples.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "recipes/README.md": "recipes.md",
    "src/proxconnect/csrc/README.md": "kernels.md",
}
"""Pages of the repository and their places on the site."""

HOME = {"README.md": "README.md"}
"""The repository's first page is too long for a site, which has its own."""

_LINK = re.compile(
    r"\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)", re.DOTALL
)
_FENCE = re.compile(r"^(```.*?^```[ \t]*$)", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages that an entry such as ``results/*.md`` means in its place, in order of their names."""
    named = set(_entries(config.nav))
    config.nav = _expanded(config.nav, Path(config.docs_dir), named)
    return config


def _entries(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from _entries(part)


def _expanded(nav: Any, docs: Path, named: set[str]) -> Any:
    if isinstance(nav, dict):
        return {title: _expanded(part, docs, named) for title, part in nav.items()}
    if not isinstance(nav, list):
        return nav
    pages: list[Any] = []
    for part in nav:
        if part == "api/*.md":
            pages += [{name.removesuffix(".md"): f"api/{name}"} for name in api.pages()]
        elif isinstance(part, str) and "*" in part:
            found = sorted(path.relative_to(docs).as_posix() for path in docs.glob(part))
            pages += [path for path in found if path not in named]
        else:
            pages.append(_expanded(part, docs, named))
    return pages


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside of ``docs/``, and those of the API."""
    for source, place in ADOPTED.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    for name, text in api.pages().items():
        files.append(File.generated(config, f"api/{name}", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links of a page into the site, and colour its examples."""
    origins = {place: source for source, place in ADOPTED.items()}
    place = page.file.src_uri
    folder = posixpath.dirname(origins.get(place, f"docs/{place}"))

    def led(link: re.Match[str]) -> str:
        target, anchor = link["target"], link["anchor"] or ""
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        meant = posixpath.normpath(posixpath.join(folder, target))
        there = ADOPTED.get(meant) or HOME.get(meant) or meant.removeprefix("docs/")
        if files.get_file_from_path(there):
            return f"[{link['text']}]({posixpath.relpath(there, posixpath.dirname(place) or '.')}{anchor})"
        if not (ROOT / meant).exists():
            return link[0]  # mkdocs complains of it
        return f"[{link['text']}]({config.repo_url}/blob/main/{meant})" if config.repo_url else link["text"]

    if place == "api/README.md":
        markdown += "\n" + api.entries("proxconnect", api.names_of_pages()["proxconnect"])
    parts = _FENCE.split(markdown)
    parts[::2] = [_LINK.sub(led, part) for part in parts[::2]]
    parts[1::2] = [re.sub(r"^```python\n(?=>>> )", "```pycon\n", part) for part in parts[1::2]]
    return "".join(parts)
