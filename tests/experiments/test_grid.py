"""Grids in TOML: products, names, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from proxconnect.errors import TrainingError
from proxconnect.experiments import read_grid

ROOT = Path(__file__).parents[2]


def test_cells_are_the_product_seed_by_seed(recipe: Path) -> None:
    grid = read_grid(recipe)
    assert grid.name == "small"
    names = [cell.name for cell in grid.cells]
    assert names == [
        *("resnet20-fp-s0", "resnet20-fp-s1"),
        *(f"resnet20-bw-ft-{method}-s{seed}" for seed in (0, 1) for method in ("bc", "bnn+", "bnn++")),
    ]
    last = grid.cells[-1]
    assert (last.name, last.needs, last.config.epochs) == ("resnet20-bw-ft-bnn++-s1", ("resnet20-fp-s1",), 2)
    assert grid.cells[0].config.epochs == 1
    assert read_grid(recipe, {"limit_train_batches": 3}).cells[0].config.limit_train_batches == 3


def test_lists_of_options_are_factors_too(recipe: Path) -> None:
    recipe.write_text(
        recipe.read_text().replace("epochs = 2", "epochs = 2, lr = [0.001, 0.004], mu_end = [30, 300]")
    )
    cells = read_grid(recipe).cells[2:]
    assert len(cells) == 3 * 2 * 4
    assert cells[1].name == "resnet20-bw-ft-bc-lr0.001-mu_end300-s0"
    assert (cells[1].config.lr, cells[1].config.mu_end) == (0.001, 300)


def test_names_of_cells_can_name_folders(recipe: Path) -> None:
    text = recipe.read_text()
    recipe.write_text(text.replace("epochs = 2", 'epochs = 3, stages = ["none:1,weights:2"]'))
    cell = read_grid(recipe).cells[-1]
    assert cell.name == "resnet20-bw-ft-bnn++-stagesnone-1-weights-2-s1"
    assert cell.config.stages == "none:1,weights:2"


def test_methods_may_have_options_of_their_own(recipe: Path) -> None:
    recipe.write_text(recipe.read_text() + '[table.method_options]\n"bnn++" = { lr = 0.5, epochs = 3 }\n')
    first, *_, last = read_grid(recipe).cells[2:]
    assert (first.config.lr, first.config.epochs) == (0.002, 2)
    assert (last.config.lr, last.config.epochs) == (0.5, 3)
    assert last.name == "resnet20-bw-ft-bnn++-s1"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a grid whose last table lacks its methods, in a folder with a module of pairs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "pairs_of_a_grid", raising=False)
    (tmp_path / "pairs_of_a_grid.py").write_text(
        "import torch, proxconnect as pc\n"
        "soft = pc.ForwardBackward(lambda w, mu: torch.tanh(mu * w), name='soft sign')\n"
        "again = pc.ForwardBackward(lambda w, mu: torch.tanh(2 * mu * w), name='soft sign')\n"
        "plain = pc.ForwardBackward(lambda w, mu: torch.tanh(mu * w))\n"
        "other = pc.ForwardBackward(lambda w, mu: torch.sign(w), lambda w, mu: torch.ones_like(w))\n"
        "known = pc.method('bnn++')\n"
        "proximal = pc.method('pc')\n"
    )
    file = tmp_path / "own.toml"
    file.write_text(
        'title = "own"\n[[table]]\ntitle = "fp"\nregime = "fp"\nmodel = "resnet20"\n'
        '[[table]]\ntitle = "mine"\nregime = "e2e"\nfull_precision = "resnet20-fp-s0"\n'
        'model = "resnet20"\nsetting = "bw"\n'
    )
    return file


SOFT, PLAIN, OTHER, KNOWN, PROXIMAL = (
    f'"pairs_of_a_grid:{name}"' for name in ("soft", "plain", "other", "known", "proximal")
)


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (f'method = ["bc", {SOFT}]', ["bc", "soft sign"]),
        (f"pair = {SOFT}", ["soft sign"]),
        (f"pair = [{SOFT}, {PLAIN}]", ["soft sign", "pairs_of_a_grid:plain"]),
        (
            f'method = "bc"\npair = [{PLAIN}, {OTHER}]',
            ["bc", "pairs_of_a_grid:plain", "pairs_of_a_grid:other"],
        ),
        (f'method = ["bnn++", {KNOWN}]', ["bnn++", "pairs_of_a_grid:known"]),
        (f"method = {PLAIN}\noptions = {{ pair = {SOFT} }}", ["pairs_of_a_grid:plain", "soft sign"]),
        (f'method = ["bc", {{ rule = "rpc", pair = {PROXIMAL} }}]', ["bc", "pairs_of_a_grid:proximal rpc"]),
    ],
)
def test_pairs_of_ones_own_stand_beside_methods(given: str, labels: list[str], own: Path) -> None:
    own.write_text(own.read_text() + given + "\n")
    grid = read_grid(own)
    cells = grid.cells[1:]
    assert [cell.label for cell in cells] == labels
    places = [cell.config.pair for cell in cells]
    assert [place is None for place in places] == [label in ("bc", "bnn++") for label in labels]
    names = [label.replace(" ", "-").replace(":", "-") for label in labels]
    assert [cell.name for cell in cells] == [f"resnet20-bw-e2e-{name}-s0" for name in names]


def test_pairs_of_ones_own_are_compared(own: Path) -> None:
    text = own.read_text() + f'method = ["bc", {SOFT}, {PLAIN}]\n'
    pairs = f'pairs = [["bc", {SOFT}], [{PLAIN}, "soft sign"]]\n'
    own.write_text(pairs + text)
    assert read_grid(own).pairs == (("bc", "soft sign"), ("pairs_of_a_grid:plain", "soft sign"))
    own.write_text(pairs.replace('"bc"', OTHER) + text)
    with pytest.raises(TrainingError, match=r"unknown method 'pairs_of_a_grid:other'.* Known: bc, soft sign"):
        read_grid(own)


def test_methods_that_share_no_table_are_not_compared(own: Path) -> None:
    text = own.read_text()
    mine = text[text.rindex("[[table]]") :]
    own.write_text(f'pairs = [["bc", "pc"]]\n{text}method = "bc"\n{mine}method = "pc"\n')
    with pytest.raises(TrainingError, match=r"\['bc', 'pc'\]: no table has both methods"):
        read_grid(own)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ('pair = "pairs_of_a_grid:hard"', "defines no 'hard'"),
        ("pair = 1", "pair is 1; expected 'module:object'"),
        ('pair = "bnn++"', "given as module:object, not 'bnn[+][+]'"),
        ("pair = []", "pair is an empty list"),
        (f'method = {{ method = "bc", pair = {SOFT} }}', "names a method and a pair"),
        (
            f'method = [{SOFT}, "pairs_of_a_grid:again"]',
            "pairs_of_a_grid:soft and .*:again are both named 'soft",
        ),
        (f'method = {{ rule = "rpc", pair = {SOFT} }}', "cell .*soft-sign-rpc-s0: rule 'rpc' takes a method"),
        ("", "'mine' has no method"),
    ],
)
def test_refuses_pairs_of_ones_own(given: str, words: str, own: Path) -> None:
    own.write_text(f"{own.read_text()}{given}\n")
    with pytest.raises(TrainingError, match=words):
        read_grid(own)


def test_full_precision_takes_no_pair_but_shares_its_options(own: Path) -> None:
    text = own.read_text()
    own.write_text(text.replace("[[table]]", f"[options]\npair = {SOFT}\n[[table]]", 1))
    assert [cell.label for cell in read_grid(own).cells] == ["fp", "soft sign"]
    own.write_text(text.replace('regime = "fp"\n', f'regime = "fp"\npair = {SOFT}\n'))
    with pytest.raises(TrainingError, match="full precision takes no pair"):
        read_grid(own)


def test_a_step_rule_stands_among_the_methods(recipe: Path) -> None:
    rules = '{ rule = "pq" }, { rule = "rpc", method = "bc" }'
    text = recipe.read_text().replace('"bnn+", "bnn++"]\nseed', f"{rules}]\nseed")
    text = text.replace("pairs = ", "# pairs = ")
    recipe.write_text(text + "[table.method_options]\npq = { lr = 0.5 }\n")
    plain, proxquant, reverse = read_grid(recipe).cells[2:5]
    assert [cell.label for cell in (plain, proxquant, reverse)] == ["bc", "pq", "bc rpc"]
    assert [cell.config.rule for cell in (plain, proxquant, reverse)] == ["pc", "pq", "rpc"]
    assert {cell.config.method for cell in (plain, proxquant, reverse)} == {"bc"}
    assert [cell.config.lr for cell in (plain, proxquant, reverse)] == [0.002, 0.5, 0.002]
    assert (proxquant.name, reverse.name) == ("resnet20-bw-ft-pq-s0", "resnet20-bw-ft-bc-rpc-s0")


def test_regimes_say_where_a_cell_starts(recipe: Path) -> None:
    text = recipe.read_text()
    recipe.write_text(text.replace('"ft"', '"e2e"'))
    cell = read_grid(recipe).cells[-1]
    assert (cell.needs, cell.full_precision) == ((), "resnet20-fp-s1")
    recipe.write_text(text.replace('"ft"', '"pt"').replace("options = { epochs = 2 }", ""))
    cell = read_grid(recipe).cells[-1]
    assert (cell.name, cell.config.epochs, cell.needs) == ("resnet20-bw-pt-bnn++-s1", 0, ("resnet20-fp-s1",))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("title = \"A small grid\"", "", "title is None; expected a text"),
        ("pairs = ", "pair = ", "unknown key 'pair'; did you mean 'pairs'"),
        ("pairs = [[\"bnn+\", \"bnn++\"]]", "pairs = [\"bnn+\"]", "lists of two methods"),
        ("pairs = [[\"bnn+\"", "pairs = [[\"bnn+++\"", "unknown method 'bnn[+]{3}'; did you mean"),
        ("setting = \"bw\"", "settings = \"bw\"", "'1-bit weights': unknown key 'settings'; did you"),
        ("setting = \"bw\"", "", "has no setting"),
        ("setting = \"bw\"", "setting = \"bww\"", "cell resnet20-bww-ft-bc-s0: unknown setting 'bww'"),
        ("\"bnn++\"]\nseed", "\"bnn+++\"]\nseed", "unknown method 'bnn\\+\\+\\+'"),
        ("\"bnn++\"]\nseed", "\"pq\"]\nseed", "'pq' is a step rule, not a method: .*rule='pq'"),
        ("\"bnn++\"]\nseed", "{ rule = \"qp\" }]\nseed", "unknown rule 'qp'"),
        ("\"bnn++\"]\nseed", "{ rules = \"pq\" }]\nseed", "unknown key 'rules'; did you mean 'rule'"),
        ("method = [\"bc\", \"bnn+\", \"bnn++\"]", "method = []", "method is an empty list"),
        ("regime = \"ft\"", "regime = \"tf\"", "unknown regime 'tf'. Known: fp, pt"),
        ("full_precision = ", "#", "full_precision names the full-precision cell"),
        ("{model}-fp-s{seed}", "{model}-fp-s2", "unknown earlier cell 'resnet20-fp-s2'"),
        ("epochs = 2", "epoch = 2", "unknown key 'epoch'; did you mean 'epochs'"),
        ("epochs = 2", "epochs = \"two\"", "epochs is 'two', of type str; expected int"),
        ("epochs = 2", "seed = 2", "seed is no option here"),
        ("seed = [0, 1]\noptions", "seed = [0, 0]\noptions", "plans cell resnet20-bw-ft-bc-s0 twice"),
        ("[[table]]", "[[tables]]", "unknown key 'tables'"),
        ("[options]", "options = 1\n[other]", "unknown key 'other'"),
        ("epochs = 2 }", "epochs = 2 }\nmethod_options.fp.lr = 1", "method_options of unknown method"),
        ("epochs = 2 }", "epochs = 2 }\nmethod_options = 1", "method_options is 1; expected a table"),
        ("title = ", "title ", "is not TOML"),
    ],
)  # fmt: skip
def test_refuses(old: str, new: str, words: str, recipe: Path) -> None:
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))
    with pytest.raises(TrainingError, match=words):
        read_grid(recipe)


def test_a_grid_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot read grid"):
        read_grid(tmp_path / "none.toml")


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_the_grids_of_the_project_can_be_planned(path: Path) -> None:
    assert read_grid(path).cells
