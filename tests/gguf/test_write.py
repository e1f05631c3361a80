"""Writing of GGUF files, read back by the package gguf and compared with the hardened model."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import gguf
import gguf_reference
import numpy as np
import pytest
import torch
from language_models import VOCABULARY, binary, save_tokenizer, tiny
from looking import every
from transformers import GPT2Config, GPT2LMHeadModel

import proxconnect as pc
from proxconnect.errors import ExportError, ProxConnectError
from proxconnect.gguf._architectures import ARCHITECTURES, tensor_names


def tensors_of(path: Path) -> dict[str, Any]:
    """Read every tensor as float32, rows first."""
    found = {}
    for tensor in gguf.GGUFReader(path).tensors:
        kind = tensor.tensor_type
        if kind == gguf.GGMLQuantizationType.Q1_0:
            found[tensor.name] = gguf_reference.decode("Q1_0", tensor.data)
        else:
            found[tensor.name] = gguf.dequantize(tensor.data, kind)
    return found


def fields_of(path: Path) -> dict[str, Any]:
    return {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}


GGUF_ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
}


def expected_tensors(model: Any) -> dict[str, Any]:
    """Name the parameters as llama.cpp does, and order rows of queries and keys as its converter does."""
    config = model.config
    turned = config.model_type in ("llama", "mistral")
    arch = GGUF_ARCHITECTURES["llama" if turned else config.model_type]
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    expected = {}
    for name, parameter in model.named_parameters():
        weight = parameter.detach().numpy()
        for part, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
            if turned and f".{part}." in name:
                halves = weight.reshape(heads, 2, len(weight) // heads // 2, *weight.shape[1:])
                weight = halves.swapaxes(1, 2).reshape(weight.shape)
        expected[names.get_name(name, try_suffixes=(".weight", ".bias"))] = weight
    return expected


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_names_are_those_of_the_package_gguf(kind: str) -> None:
    names = gguf.get_tensor_name_map(GGUF_ARCHITECTURES[kind], 2)
    found = tensor_names(ARCHITECTURES[kind], 2)
    assert every(
        names.get_name(n, try_suffixes=(".weight", ".bias")) == stored for n, stored in found.items()
    )


@pytest.mark.parametrize(
    ("kind", "changes", "config"),
    [
        ("llama", {"num_hidden_layers": 2}, {}),
        ("llama", {"attention_bias": True, "mlp_bias": True}, {"scale": 256}),
        ("llama", {"tie_word_embeddings": True}, {"everything": True, "scale": "channel"}),
        ("llama", {"num_attention_heads": 8, "head_dim": 32}, {"levels": (-1, 0, 1), "scale": "tensor"}),
        ("mistral", {}, {}),
        ("qwen2", {"num_hidden_layers": 2}, {"everything": True}),
        ("qwen3", {}, {"everything": True}),
        ("qwen3", {"tie_word_embeddings": True}, {"levels": (-1, 0, 1), "scale": 256, "everything": True}),
    ],
)
def test_a_file_has_the_weights_of_the_hardened_model(
    kind: str, changes: dict[str, Any], config: dict[str, Any], tmp_path: Path
) -> None:
    model = binary(tiny(kind, **changes), **config)
    path = pc.export.gguf(model, tmp_path / "model.gguf", rest="float32")
    pc.harden_(model)
    found, expected = tensors_of(path), expected_tensors(model)
    assert found.keys() == expected.keys()
    assert every(np.array_equal(found[name], expected[name]) for name in expected)
    types = {t.name: t.tensor_type.name for t in gguf.GGUFReader(path).tensors}
    block = "TQ2_0" if "levels" in config else "Q1_0"
    assert types["blk.0.attn_q.weight"] == block
    assert types["token_embd.weight"] == (block if config.get("everything") else "F32")
    assert every(kind == "F32" for name, kind in types.items() if "norm" in name or "bias" in name)


def test_binarized_hardened_and_packed_models_give_the_same_file(tmp_path: Path) -> None:
    model = binary(tiny())
    latents = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    paths = [pc.export.gguf(model, tmp_path / "model.gguf")]
    assert every(torch.equal(tensor, latents[name]) for name, tensor in model.state_dict().items())
    contents = [paths[0].read_bytes()]
    for change in (pc.harden_, pc.pack_):
        contents.append(pc.export.gguf(change(copy.deepcopy(model)), tmp_path / "model.gguf").read_bytes())
    assert contents[0] == contents[1] == contents[2]


def test_metadata_has_the_numbers_of_the_configuration(tmp_path: Path) -> None:
    rope = {"rope_type": "yarn", "rope_theta": 5e5, "factor": 2.0, "original_max_position_embeddings": 64}
    model = binary(tiny("qwen3", rope_parameters=rope, rms_norm_eps=1e-5))
    fields = fields_of(pc.export.gguf(model, tmp_path / "small.gguf"))
    expected = {
        "general.architecture": "qwen3",
        "general.name": "small",
        "general.file_type": gguf.LlamaFileType.MOSTLY_Q1_0,
        "qwen3.block_count": 1,
        "qwen3.context_length": 128,
        "qwen3.embedding_length": 256,
        "qwen3.feed_forward_length": 256,
        "qwen3.attention.head_count": 4,
        "qwen3.attention.head_count_kv": 2,
        "qwen3.attention.key_length": 64,
        "qwen3.attention.layer_norm_rms_epsilon": np.float32(1e-5),
        "qwen3.rope.freq_base": 5e5,
        "qwen3.rope.scaling.type": "yarn",
        "qwen3.rope.scaling.factor": 2.0,
        "qwen3.rope.scaling.original_context_length": 64,
        "tokenizer.ggml.model": "none",
    }
    assert {name: fields[name] for name in expected} == expected


def test_factors_of_llama_3_are_a_tensor(tmp_path: Path) -> None:
    rope = {
        "rope_type": "llama3",
        "rope_theta": 5e5,
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    model = binary(tiny(rope_parameters=rope))
    factors = tensors_of(pc.export.gguf(model, tmp_path / "m.gguf"))["rope_freqs.weight"]
    plain = 1 / 5e5 ** (np.arange(0, 64, 2) / 64)
    np.testing.assert_allclose(plain / factors, model.model.rotary_emb.inv_freq.numpy(), rtol=1e-5)
    assert factors.max() == 32
    assert factors.min() == 1


def test_the_tokenizer_of_a_folder_is_written(tmp_path: Path) -> None:
    tokenizer = save_tokenizer(tmp_path)
    fields = fields_of(pc.export.gguf(binary(tiny()), tmp_path / "m.gguf", tokenizer=tmp_path))
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    assert len(tokens) == len(kinds) == VOCABULARY
    assert every(tokens[number] == token for token, number in tokenizer.get_vocab().items())
    assert [kinds[0], kinds[5], kinds[-1]] == [
        gguf.TokenType.CONTROL,
        gguf.TokenType.NORMAL,
        gguf.TokenType.UNUSED,
    ]
    assert (fields["tokenizer.ggml.model"], fields["tokenizer.ggml.pre"]) == ("gpt2", "gpt-2")
    assert (fields["tokenizer.ggml.bos_token_id"], fields["tokenizer.ggml.eos_token_id"]) == (0, 1)
    assert fields["tokenizer.ggml.add_bos_token"] is False
    assert "Ġ t" in fields["tokenizer.ggml.merges"] or "a t" in fields["tokenizer.ggml.merges"]


def split(pattern: str) -> dict[str, Any]:
    cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [cut, level]}


LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.mark.parametrize(
    ("cut", "ignore", "name"),
    [
        (split(LLAMA3), True, "llama-bpe"),
        (split(LLAMA3.replace("{1,3}", "")), False, "qwen2"),
        (split(LLAMA3), False, None),
        (split(r"\s+"), False, None),
    ],
)
def test_ways_of_cutting_text_have_the_names_of_llama_cpp(
    cut: dict[str, Any], ignore: bool, name: str | None, tmp_path: Path
) -> None:
    save_tokenizer(tmp_path)
    file = tmp_path / "tokenizer.json"
    fields = json.loads(file.read_text())
    fields["pre_tokenizer"], fields["model"]["ignore_merges"] = cut, ignore
    file.write_text(json.dumps(fields))
    if name is None:
        with pytest.raises(ExportError, match="cuts text in a way for which no name"):
            pc.export.gguf(binary(tiny()), tmp_path / "m.gguf", tokenizer=tmp_path)
    else:
        fields = fields_of(pc.export.gguf(binary(tiny()), tmp_path / "m.gguf", tokenizer=tmp_path))
        assert fields["tokenizer.ggml.pre"] == name


def refused(model: Any, tmp_path: Path, message: str, **options: Any) -> None:
    with pytest.raises(ProxConnectError, match=message) as caught:
        pc.export.gguf(model, tmp_path / "m.gguf", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "m.gguf").exists()


@pytest.mark.parametrize(
    ("changes", "config", "message"),
    [
        ({}, {"scale": 64}, "a scale for 64 inputs; Q1_0 has one scale for 128 inputs"),
        ({}, {"levels": (-1, 0, 1)}, "a scale for 128 inputs; TQ2_0 has one scale for 256 inputs"),
        (
            {"intermediate_size": 192},
            {"scale": "channel"},
            "'model.layers.0.mlp.down_proj.weight' has 192 inputs",
        ),
        ({"kind": "mistral", "sliding_window": 64}, {}, "sliding_window of the configuration is 64"),
        ({"kind": "qwen3", "attention_bias": True}, {}, "attention_bias of the configuration is True"),
        (
            {"kind": "qwen2", "use_sliding_window": True, "sliding_window": 64, "max_window_layers": 0},
            {},
            "layer_types of the configuration is",
        ),
        ({"hidden_act": "gelu"}, {}, "hidden_act of the configuration is 'gelu'"),
        ({}, {"levels": (-2, -1, 1, 2)}, "has the levels"),
        ({}, {"activations": "bnn", "scale": "channel"}, "1-bit inputs"),
        (
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            {},
            "rope_type 'dynamic' has no mapping",
        ),
    ],
)
def test_models_that_llama_cpp_cannot_run_are_refused(
    changes: dict[str, Any], config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    refused(binary(tiny(**changes), **config), tmp_path, message)


def test_other_models_and_options_are_refused(tmp_path: Path) -> None:
    refused(tiny(), tmp_path, "no layer of this model has 1-bit or ternary weights")
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=128, n_layer=1, n_head=2))
    refused(
        binary(gpt2),
        tmp_path,
        "architecture 'gpt2' has no mapping to GGUF; known: llama, qwen2, qwen3, mistral",
    )
    refused(
        binary(torch.nn.Sequential(*[torch.nn.Linear(128, 128) for _ in range(3)])), tmp_path, "no mapping"
    )
    refused(binary(tiny()), tmp_path, "unknown rest 'float8'", rest="float8")
    refused(binary(tiny()), tmp_path, "has no tokenizer.json", tokenizer=tmp_path)
    large = binary(tiny())
    large.lm_head.weight.data.mul_(1e7)
    refused(large, tmp_path, "cannot hold; use rest='float32'")


def test_tokenizers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    refused(
        binary(tiny(vocab_size=128)), tmp_path, "the embedding of the model has 128 rows", tokenizer=tmp_path
    )
    file = tmp_path / "tokenizer.json"
    fields = json.loads(file.read_text())
    file.write_text(json.dumps(fields | {"normalizer": {"type": "Lowercase"}}))
    refused(binary(tiny()), tmp_path, "is no byte-level BPE tokenizer", tokenizer=tmp_path)
    file.write_text("{")
    refused(binary(tiny()), tmp_path, "cannot be read", tokenizer=tmp_path)
