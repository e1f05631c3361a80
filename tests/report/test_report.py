"""Reports: everything that they promise, in one file that loads nothing, and what is refused."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from looking import every

from proxconnect.cli.app import run
from proxconnect.report._values import _answers
from proxconnect.report.packed import Answers, sample_rows
from proxconnect.trainer import Evaluation

VOID = {"meta", "img", "path"}
WIDTHS = [360, 768, 1440]


class Page(HTMLParser):
    """A page as its tags, with the pieces of its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.texts.append(text.strip())


@pytest.fixture(scope="module")
def runs(finished_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs, one of them under a name that is HTML, and one that was interrupted."""
    folder = tmp_path_factory.mktemp("report") / "runs"
    shutil.copytree(finished_runs / "fp", folder / "full" / "fp")
    shutil.copytree(finished_runs / "bw", folder / "<b>binary")
    shutil.copytree(finished_runs / "bw", folder / "interrupted")
    for name in ("result.json", "model.safetensors"):
        (folder / "interrupted" / name).unlink()
    return folder


@pytest.fixture(scope="module")
def page(runs: Path) -> Page:
    out = runs.parent / "report.html"
    assert run(["report", str(runs), "--out", str(out), "--rounds", "2", "--samples", "5"]) == 0
    return Page(out.read_text(encoding="utf-8"))


def test_the_page_is_whole_and_loads_nothing(page: Page) -> None:
    assert page.open == []
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "base", "b"}
    sources = [str(values["src"]) for _, values in page.tags if "src" in values]
    assert every(source.startswith("data:image/") for source in sources)
    targets = [str(values["href"]) for _, values in page.tags if "href" in values]
    anchors = {values["id"] for tag, values in page.tags if tag == "h2"}
    assert every(target.removeprefix("#") in anchors for target in targets)
    policy = next(values["content"] for _, values in page.tags if "http-equiv" in values)
    assert str(policy).startswith("default-src 'none'")
    assert not [text for text in page.texts if "url(" in text or "@import" in text]


def test_every_run_has_its_parts(page: Page) -> None:
    heads = [text for text in page.texts if text in ("Curves", "Size", "Latency", "Sample predictions")]
    assert sorted(heads) == sorted(["Curves"] * 3 + ["Size", "Latency", "Sample predictions"] * 2)
    assert page.texts.count("Answers of the packed network") == 2
    assert page.texts.count("Layers after epoch 1") == 2  # full precision has no binary layers
    assert {"<b>binary", "full/fp", "interrupted"} <= set(page.texts)
    assert "The run is not finished: there is no packed file yet." in page.texts
    assert page.texts.count("blocks.0.conv1.weight") == 2
    pictures = [str(values["alt"]) for tag, values in page.tags if tag == "img"]
    assert pictures.count("loss, by epoch") == 3
    assert {"training loss of all runs, by epoch", "validation accuracy of all runs, by epoch"} < set(
        pictures
    )
    assert sum(words.startswith("an image of class") for words in pictures) == 10


def test_pictures_are_images(page: Page) -> None:
    for _, values in page.tags:
        if "src" in values:
            kind, _, data = str(values["src"]).partition(";base64,")
            content = base64.b64decode(data, validate=True)
            assert content.startswith(b"\x89PNG" if kind == "data:image/png" else b"<?xml")


def test_the_confusion_matrix_counts_every_image(page: Page) -> None:
    cells = [values for tag, values in page.tags if tag == "td" and "cell" in str(values.get("class"))]
    assert len(cells) == 2 * 10 * 10
    assert "digits, split val, 180 images: accuracy" in " ".join(page.texts)


def test_what_cannot_be_evaluated_is_noted(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.html"
    command = ["report", str(runs / "<b>binary"), "--out", str(out), "--data", "gone", "--rounds", "0"]
    assert run(command) == 0
    assert "<b>binary: There is no confusion matrix" in capsys.readouterr().out
    page = Page(out.read_text(encoding="utf-8"))
    assert "Size" in page.texts
    assert "Latency" not in page.texts
    assert "Answers of the packed network" not in page.texts


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["{new}/none"], "there is no run in {new}/none"),
        (["{runs}", "--split", "train"], "unknown split 'train'. Known: val, test"),
        (["{runs}", "--rounds", "-1"], "rounds must be at least 0, not -1"),
        (["{runs}", "--samples", "-2"], "samples must be at least 0, not -2"),
        (["{runs}", "--out", "{new}/none/report.html"], "there is no folder {new}/none"),
        (["{new}/damaged"], "result.json is not a result of 'proxconnect train'"),
    ],
)
def test_refuses(
    options: list[str], words: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "damaged").mkdir()
    shutil.copy(runs / "full" / "fp" / "config.json", tmp_path / "damaged")
    (tmp_path / "damaged" / "result.json").write_text(json.dumps({"trained": {}}))
    places = {"new": str(tmp_path), "runs": str(runs)}
    arguments = [option.format(**places) for option in options]
    out = [] if "--out" in options else ["--out", str(tmp_path / "report.html")]
    assert run(["report", *arguments, *out]) == 2
    assert words.format(**places) in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_many_classes_have_a_list_of_confusions() -> None:
    confusion = [[0] * 30 for _ in range(30)]
    for label in range(30):
        confusion[label][label] = 10
    confusion[3][4], confusion[5][6] = 7, 2
    evaluation = Evaluation(0.9, 0.1, 309, tuple(map(tuple, confusion)))
    values = _answers(Answers("many", "val", tuple(f"c{label}" for label in range(30)), evaluation, ()))
    assert values["matrix"] is None
    assert values["confusions"] == [("c3", "c4", "7"), ("c5", "c6", "2")]


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=40), st.integers(0, 50))
def test_samples_are_different_rows_and_as_many_as_asked_for(
    rows: list[tuple[bool, float]], count: int
) -> None:
    right = torch.tensor([entry for entry, _ in rows])
    chosen = sample_rows(right, torch.tensor([share for _, share in rows]), count)
    assert len(chosen) == len(set(chosen)) == min(count, len(rows))
    answers = [bool(right[row]) for row in chosen]
    assert answers == sorted(answers)


def test_pictures_of_a_report_need_no_address() -> None:
    template = Path(__file__).parents[2] / "src" / "proxconnect" / "report" / "page.html.jinja"
    assert not re.findall(r"https?:|//|url\(", template.read_text())


def test_nothing_is_wider_than_a_phone_a_tablet_or_a_screen(page: Page, runs: Path, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium on PATH")
    report = html.escape((runs.parent / "report.html").read_text(encoding="utf-8"))
    # A window of Chromium is at least 500 pixels wide; a frame in it is as narrow as one likes.
    frames = [f'<iframe srcdoc="{report}" style="width: {width}px; border: 0"></iframe>' for width in WIDTHS]
    script = """
        onload = () => {
            const pages = Array.from(frames, frame => frame.document.documentElement)
            document.body.innerText = JSON.stringify(pages.map(page => [page.clientWidth, page.scrollWidth]))
        }"""
    wrapper = tmp_path / "frames.html"
    wrapper.write_text("".join(frames) + f"<script>{script}</script>", encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'user'}"]
    found = subprocess.run(
        [*command, "--dump-dom", wrapper.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    sizes = json.loads(re.findall(r"<body>(.*)</body>", found.stdout)[0])
    assert [visible for visible, _ in sizes] == pytest.approx(WIDTHS, abs=20)  # less a bar to scroll with
    assert [whole for _, whole in sizes] == [visible for visible, _ in sizes]
