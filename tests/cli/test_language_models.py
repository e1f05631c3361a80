"""The commands on language models: generate, bench --tokens, and export --to gguf."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from gguf_files import entry
from gguf_files import file as gguf_file
from language_models import binary, save_tokenizer, tiny
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

import proxconnect as pc
from proxconnect.cli._language_model import open_language_model
from proxconnect.cli.app import run

TEXT = "the cat sat"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a packed model and a tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "small"
    save_tokenizer(folder)
    pc.pack_(binary(tiny(), everything=True)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    out = folder.with_name("small.gguf")
    assert run(["export", str(folder), "--to", "gguf", "--out", str(out)]) == 0
    return out


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert run([*arguments, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_a_folder_is_exported_under_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = answer(capsys, "export", str(folder), "--to", "gguf")
    assert found == {"form": "gguf", "files": {"small.gguf": Path("small.gguf").stat().st_size}}


def test_a_folder_and_its_gguf_file_go_on_alike(
    folder: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("generate", str(folder), TEXT, "--tokens", "8")
    found = answer(capsys, *options)
    assert str(found["text"]).startswith(TEXT)
    prompt = len(AutoTokenizer.from_pretrained(folder)(TEXT).input_ids)
    assert found["tokens"] == {"prompt": prompt, "generation": 8}
    assert answer(capsys, "generate", str(file), TEXT, "--tokens", "8")["text"] == found["text"]
    assert run([*options]) == 0
    printed = capsys.readouterr()
    assert printed.out.rstrip("\n") == str(found["text"]).rstrip("\n")
    assert f"prompt {prompt} tokens, " in printed.err
    assert printed.err.rstrip().endswith("tokens/s")


def test_inputs_are_quantized_alike(folder: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [
        answer(capsys, "generate", str(m), TEXT, "--activations", "int8")["text"] for m in (folder, file)
    ]
    assert texts[0] == texts[1]
    assert open_language_model(folder, "int8").model.layers[0].mlp.up_proj.kernel == "w1a8"


def test_tokens_are_drawn_by_a_seed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("generate", str(file), TEXT, "--tokens", "12", "--temperature", "2", "--activations", "int8")
    texts = [answer(capsys, *options, "--seed", seed)["text"] for seed in ("0", "0", "1")]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_prompt_and_generation_are_timed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("bench", str(file), "--tokens", "--prompt-tokens", "9", "--new-tokens", "3", "--rounds", "2")
    found = answer(capsys, *options, "--activations", "int8")
    assert (found["prompt_tokens"], found["new_tokens"], found["rounds"]) == (9, 3, 2)
    for speed in (found["prompt"], found["generation"]):
        assert isinstance(speed, list)
        assert speed[1] <= speed[0] <= speed[2]
        assert speed[1] > 0
    assert run([*options]) == 0
    printed = capsys.readouterr().out
    assert "prompt of 9 tokens" in printed
    assert "generation of 3 tokens" in printed


def refused(capsys: pytest.CaptureFixture[str], message: str, *arguments: object) -> None:
    capsys.readouterr()
    assert run([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_bad_input_is_one_line(
    folder: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    floats, bare, broken = (tmp_path / name for name in ("floats", "bare", "broken"))
    tiny().save_pretrained(floats)
    shutil.copytree(folder, bare)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (bare / name).unlink()
    shutil.copytree(folder, broken)
    (broken / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])
    short = tmp_path / "short.gguf"
    short.write_bytes(file.read_bytes()[:-1000])
    refused(capsys, "is not packed: load it, train it, call pc.pack_(model)", "generate", floats, TEXT)
    refused(capsys, "is not packed", "bench", floats, "--tokens")
    refused(capsys, "has no tokenizer: save it there", "generate", bare, TEXT)
    refused(capsys, "has no tokenizer.json", "export", bare, "--to", "gguf", "--out", tmp_path / "x.gguf")
    refused(capsys, str(broken), "generate", broken, TEXT)
    refused(capsys, "truncated", "generate", short, TEXT)
    refused(capsys, "is no language model; expected a folder", "generate", tmp_path / "none", TEXT)
    refused(capsys, "cannot be read: No such file", "generate", tmp_path / "none.gguf", TEXT)
    refused(capsys, "more than the 128 positions of the model", "generate", file, TEXT, "--tokens", 126)
    refused(capsys, "the text has no token", "generate", file, "")
    refused(capsys, "int3", "generate", file, TEXT, "--activations", "int3")
    refused(capsys, "new_tokens must be at least 2", "bench", file, "--tokens", "--new-tokens", 1)
    refused(capsys, "takes the folder of a language model", "export", file, "--to", "gguf")
    refused(capsys, "takes the folder of a language model", "export", "--zoo", "a", "--to", "gguf")
    refused(
        capsys, "no layer of this model has 1-bit", "export", floats, "--to", "gguf", "--out", tmp_path / "y"
    )
    assert {path.name for path in tmp_path.iterdir()} == {"floats", "bare", "broken", "short.gguf"}


def test_an_architecture_without_a_mapping_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=128, n_layer=1, n_head=2))
    pc.pack_(binary(model)).save_pretrained(tmp_path / "gpt2")
    refused(
        capsys,
        "'gpt2' has no mapping to GGUF; known: llama, qwen2, qwen3, mistral",
        "export",
        tmp_path / "gpt2",
        "--to",
        "gguf",
    )


def test_groups_that_fit_no_block_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pc.pack_(binary(tiny(), scale=96)).save_pretrained(tmp_path / "groups")
    message = "has a scale for 96 inputs; Q1_0 has one scale for 128 inputs"
    out = tmp_path / "groups.gguf"
    refused(capsys, message, "export", tmp_path / "groups", "--to", "gguf", "--out", out)
    assert not out.exists()


def test_files_of_other_types_or_without_a_tokenizer_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, bare = tmp_path / "other.gguf", tmp_path / "bare.gguf"
    other.write_bytes(gguf_file([], [entry("blk.0.attn_q.weight", (256, 256), 12, 0)], bytes(36_864)))
    message = "'blk.0.attn_q.weight' has the GGUF type 12, which is not read; types that are: F32"
    with pytest.raises(pc.ProxConnectError, match=re.escape(message)):
        pc.from_gguf(other)
    refused(capsys, message, "generate", other, TEXT)
    refused(capsys, message, "bench", other, "--tokens")
    pc.export.gguf(binary(tiny()), bare)
    refused(capsys, "the file has no tokenizer", "generate", bare, TEXT)
