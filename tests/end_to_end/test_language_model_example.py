"""The example of a language model trains, packs, saves and exports one that answers alike in every form."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

import proxconnect as pc

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("gguf", reason="gguf is not installed")

EXAMPLE = Path(__file__).parents[2] / "examples" / "language_model.py"
SMALL = "--layers 1 --steps 8 --batch 2 --length 32"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Return the names of the example, whose text is now short."""
    (tmp_path / "stdlib").mkdir()
    for number in range(21):
        (tmp_path / "stdlib" / f"{number:02}.py").write_text(
            f"def f{number}(x):\n    return x + {number}\n" * 9
        )
    names = runpy.run_path(str(EXAMPLE))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "stdlib"))
    return names


def test_every_twentieth_file_is_held_out(example: dict[str, Any]) -> None:
    train, held_out = example["texts"]()
    assert b"def f10(" in held_out
    assert b"def f9(" not in held_out
    assert b"def f10(" not in train
    assert train.count(b"def f") == 9 * 20


@pytest.mark.parametrize(("levels", "width"), [("", 128), ("--ternary --method pc", 256)])
def test_all_forms_answer_alike(
    example: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    levels: str,
    width: int,
) -> None:
    out = tmp_path / "out"
    found = example["main"]([*f"{SMALL} {levels} --width {width} --out {out}".split(), "--prompt", "def f"])
    assert found["hardened"] == pytest.approx(found["trained"], abs=0.2)
    assert found["packed, 8-bit activations"] == pytest.approx(found["hardened"], abs=0.05)
    assert "8 steps in" in capsys.readouterr().out
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    prompt = tokenizer("def f", return_tensors="pt").input_ids
    assert prompt.shape == (1, 5)  # bytes
    folder = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    file = pc.from_gguf(out / "model.gguf", activations="int8")
    assert {layer.kernel for layer in pc.summary(folder).layers if layer.binary_parameters} == {
        "rows", "w1a8" if width == 128 else "w2a8",
    }  # fmt: skip
    with torch.inference_mode():
        torch.testing.assert_close(file(prompt).logits, folder(prompt).logits, rtol=1e-4, atol=1e-4)
    text = transformers.pipeline("text-generation", folder, tokenizer=tokenizer)("def f", max_new_tokens=4)
    assert text[0]["generated_text"].startswith("def f")


def test_a_full_precision_model_is_fine_tuned(example: dict[str, Any], tmp_path: Path) -> None:
    small = f"{SMALL} --width 128".split()
    example["main"]([*small, "--method", "fp", "--out", str(tmp_path / "fp")])
    started = example["main"]([*small, "--start", str(tmp_path / "fp"), "--out", str(tmp_path / "bw")])
    assert set(started) == {"trained", "hardened", "packed, 8-bit activations"}
