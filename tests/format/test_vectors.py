"""The library takes the good test vectors as expected, and refuses the bad ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import second_reader
import torch
from looking import every, some
from vectors import BAD, GOOD, VECTORS, bad, expected, good, near, plain_safetensors, same_bits

import proxconnect as pc
from proxconnect.errors import FormatError
from proxconnect.format import read, unpack_weight
from proxconnect.graph.graph import leaves

ROOT = Path(__file__).parents[2]
# Rules that only a reader of graphs checks, some of them for every size of the batch.
OF_GRAPHS = ("graph-", "operator-", "sizes-")


@pytest.mark.parametrize("name", GOOD)
def test_the_library_decodes_the_weights_to_the_bit(name: str) -> None:
    packed = read(good(name))
    found = {
        weight: unpack_weight(packed.tensors[f"{weight}.bits"], packed.tensors[f"{weight}.scale"], form)
        for weight, form in packed.header.binary.items()
    }
    found |= {weight: packed.dense(weight) for weight in packed.header.dense}
    wanted = expected(name, "weights")
    assert found.keys() == wanted.keys()
    assert every(same_bits(found[weight].numpy(), wanted[weight]) for weight in wanted)


@pytest.mark.parametrize("kernels", ["reference", "fast"])
@pytest.mark.parametrize("name", [name for name in GOOD if expected(name, "outputs")])
def test_the_library_computes_the_outputs(name: str, kernels: str) -> None:
    net = pc.load(good(name), kernels)
    with torch.no_grad():
        found = list(
            leaves(net({key: torch.tensor(value) for key, value in expected(name, "inputs").items()}))
        )
    wanted = expected(name, "outputs")
    assert len(found) == len(wanted)
    assert every(near(found[int(place)].numpy(), value) for place, value in wanted.items())


@pytest.mark.parametrize("name", BAD)
def test_the_library_refuses_what_breaks_a_rule_in_one_line(name: str) -> None:
    with pytest.raises(FormatError) as caught:
        (pc.load if name.startswith(OF_GRAPHS) else read)(bad(name))
    message = str(caught.value)
    assert f"{name}.safetensors: " in message
    assert "\n" not in message
    assert len(message) < 1000 + len(str(bad(name)))


@pytest.mark.parametrize("name", [name for name in BAD if name.startswith(("container-", "header-"))])
def test_the_header_alone_shows_a_bad_header(name: str) -> None:
    with pytest.raises(FormatError):
        pc.inspect(bad(name))


@pytest.mark.parametrize("name", [name for name in BAD if name.startswith(OF_GRAPHS[1:])])
def test_what_only_the_graph_breaks_is_a_file_that_can_be_read(name: str) -> None:
    assert read(bad(name)).graph_json()


@pytest.mark.full
def test_the_script_makes_these_files(tmp_path: Path) -> None:
    """Files that the library writes are compared by content: zlib and floats differ among machines."""
    script = ROOT / "tools" / "format_vectors.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True, capture_output=True)
    names = some(path.relative_to(VECTORS) for path in VECTORS.glob("*/*"))
    assert {path.relative_to(tmp_path) for path in tmp_path.glob("*/*")} == set(names)
    for name in names:
        made, kept = tmp_path / name, VECTORS / name
        if made.read_bytes() == kept.read_bytes():
            continue
        assert name.parts[0] == "good", name
        if name.stem.endswith(".expected"):
            one, other = plain_safetensors(made), plain_safetensors(kept)
            assert one.keys() == other.keys()
            for key in some(other):
                alike = near if key.startswith("outputs/") else same_bits
                assert alike(one[key], other[key]), (name, key)
            continue
        first, second = (second_reader.read(path.read_bytes()) for path in (made, kept))
        assert {**first.header, "sha256": ""} == {**second.header, "sha256": ""}
        assert first.graph == second.graph
        assert every(same_bits(first.weights[key], second.weights[key]) for key in second.weights)


def test_the_files_are_small() -> None:
    assert sum(path.stat().st_size for path in VECTORS.glob("*/*")) < 200_000
