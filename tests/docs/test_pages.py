"""The examples of the documentation run, and its links lead somewhere."""

from __future__ import annotations

import contextlib
import doctest
import json
import re
import runpy
from pathlib import Path

import pytest
from looking import every

import proxconnect as pc
from proxconnect.base.metrics import ALARMS, METRICS
from proxconnect.experiments import read_grid
from proxconnect.experiments.downloads import table_files
from proxconnect.experiments.findings import has_rendered_parts, with_rendered_parts
from proxconnect.experiments.page import page as page_of_grid
from proxconnect.trainer.epoch_table import METRICS_COLUMNS

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
INDEX = (RESULTS / "README.md").read_text()
NOT_RUN = INDEX.partition("## Grids that are not run")[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(ROOT / folder / "README.md" for folder in ("examples", "recipes")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def test_the_page_of_cifar10_quotes_the_results_that_the_script_wrote() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks" / "cifar10_bw.py"))
    report = json.loads((ROOT / "docs" / "results" / "data" / "cifar10_bw.json").read_text())
    assert script["table"](report["rows"]) in (ROOT / "docs" / "results" / "cifar10_bw.md").read_text()


def test_the_page_of_exports_quotes_the_sizes_that_the_script_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = runpy.run_path(str(ROOT / "benchmarks" / "c_sizes.py"))
    report = json.loads((ROOT / "docs" / "results" / "data" / "c_sizes.json").read_text())
    assert script["table"](report["rows"]) in (ROOT / "docs" / "export.md").read_text()
    assert every(row["same_classes"] == row["images"] for row in report["rows"])
    assert every(row["largest_difference"] < 1e-4 for row in report["rows"])


def test_the_page_of_exports_quotes_the_times_and_answers_that_the_script_wrote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = runpy.run_path(str(ROOT / "benchmarks" / "exports.py"))
    report = json.loads((ROOT / "docs" / "results" / "data" / "exports.json").read_text())
    page = (ROOT / "docs" / "export.md").read_text()
    assert script["FORMS"].keys() == pc.export.FORMS.keys()
    assert script["forms_table"](report) in page
    assert script["answers_table"](report) in page
    facts = (report["machine"], report["kernels"], report["compiler"], *report["versions"])
    assert every(
        fact in page for fact in (*facts, f"{report['rounds']} rounds", f"{report['images']} images")
    )


@pytest.mark.parametrize(
    "name",
    [
        "training_overhead",
        "repaired_pairs",
        "gguf_agreement",
        "language_models",
        "language_model_training",
    ],
)
def test_the_page_of_a_benchmark_is_what_the_script_writes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"))
    report = json.loads((RESULTS / "data" / f"{name}.json").read_text())
    assert script["page"](report) == (RESULTS / f"{name}.md").read_text()


@pytest.mark.parametrize("grid", sorted(path.stem for path in (ROOT / "recipes").glob("*.toml")))
def test_the_pages_of_grids_are_what_the_json_says(grid: str) -> None:
    planned = {cell.name: cell for cell in read_grid(ROOT / "recipes" / f"{grid}.toml").cells}
    page, data = RESULTS / f"{grid}.md", RESULTS / "data" / f"{grid}.json"
    if f"`recipes/{grid}.toml`" in NOT_RUN:
        assert not page.exists()
        return
    results = json.loads(data.read_text())
    assert page_of_grid(results) == page.read_text()
    tables = RESULTS / "tables" / grid
    assert {path.name: path.read_text() for path in tables.iterdir()} == table_files(results)
    assert list(results["cells"]) == list(planned)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_table_is_mostly_pending(page: Path) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", page.read_text(), re.MULTILINE):
        rows = table.splitlines()[2:]
        assert 2 * sum("pending" in row for row in rows) <= len(rows), f"{page} is mostly pending: {rows[0]}"


def test_the_index_of_results_names_every_page_once_with_a_finding() -> None:
    entries = re.findall(r"^\| \[.*?\]\((.*?)\) \| (.+?) \|$", INDEX, re.MULTILINE)
    pages = {path.name for path in RESULTS.glob("*.md")} - {"README.md", "protocol.md"}
    assert sorted(page for page, _ in entries) == sorted(pages)
    assert every(finding.endswith(".") for _, finding in entries)


def test_the_citation_names_the_version_and_both_papers() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {pc.__version__}\n" in citation
    assert re.findall(r"arxiv.org/abs/(\S+?)\"", citation) == ["2402.17710", "2110.13220"]


def test_rendered_parts_are_what_the_json_says() -> None:
    folder = ROOT / "docs" / "results"
    pages = {path: path.read_text() for path in folder.glob("*.md")}
    rendered = {path: text for path, text in pages.items() if has_rendered_parts(text)}
    assert folder / "findings.md" in rendered
    assert {path: with_rendered_parts(text, folder / "data") for path, text in rendered.items()} == rendered


@pytest.mark.parametrize(
    ("page", "examples", "warns"),
    [
        ("guide.md", 20, pytest.warns(UserWarning, match="repair scales it")),  # as the guide says
        ("theory.md", 10, contextlib.nullcontext()),
        ("export.md", 3, contextlib.nullcontext()),
        ("language_models.md", 15, contextlib.nullcontext()),
    ],
)
def test_examples_run(page: str, examples: int, warns: contextlib.AbstractContextManager[object]) -> None:
    with warns:
        failed, attempted = doctest.testfile(
            str(ROOT / "docs" / page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE
        )
    assert attempted > examples
    assert failed == 0


def test_the_guide_explains_every_number_on_screen_and_in_the_tables() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    table = guide.partition("| on screen |")[2].partition("\n\n")[0].split("\n")[2:]
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in table]
    assert [row[1] for row in rows] == list(METRICS_COLUMNS)
    assert every(meaning for _, _, meaning, *_ in rows)
    titles = {column: title for title, column, *_ in rows if title}
    assert titles == {"epoch": "epoch"} | {metric.column: metric.title for metric in METRICS}
    alarming = {row[1] for row in rows if row[-1] not in ("", "never")}
    assert alarming == {alarm.column for alarm in ALARMS}


def test_the_method_pages_are_what_the_tool_writes() -> None:
    pages = runpy.run_path(str(ROOT / "tools" / "method_pages.py"))["pages"]()
    folder = ROOT / "docs" / "methods"
    assert {path.name for path in folder.glob("*.md")} == set(pages)
    for name, text in pages.items():
        assert (folder / name).read_text() == text, f"run tools/method_pages.py: {name} is out of date"
        assert name == "README.md" or (folder / name).with_suffix(".png").is_file()


def test_the_page_of_the_maps_is_what_the_tool_writes() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "map_page.py"))
    folder = ROOT / "docs" / "maps"
    assert (folder / "README.md").read_text() == tool["page"](), (
        "run tools/map_page.py: the page is out of date"
    )
    assert {path.name for path in folder.glob("*.png")} == {section.picture for section in tool["SECTIONS"]}


def local_links(page: Path) -> list[str]:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    # GitHub shows the state of the tests at an address that is relative to the repository's own.
    return [link for link in links if "://" not in link and not link.startswith("../../actions/")]


@pytest.mark.parametrize("page", [page for page in PAGES if local_links(page)], ids=lambda page: page.name)
def test_local_links_lead_to_files(page: Path) -> None:
    for target in local_links(page):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
