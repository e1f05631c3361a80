"""Reading of GGUF files as packed models: what was written comes back, all else is refused in one line."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf_files import TENSOR_TYPES, entry, file, key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from language_models import VOCABULARY, binary, save_tokenizer, tiny
from looking import every
from transformers import AutoModelForCausalLM, LlamaForCausalLM

import proxconnect as pc
from proxconnect.engine import PackedLayer
from proxconnect.errors import FormatError
from proxconnect.gguf import gguf_tokenizer
from proxconnect.gguf._container import read_container

TOKENS = torch.arange(24).view(2, 12) * 11 % VOCABULARY


def logits(model: Any, tokens: torch.Tensor = TOKENS) -> torch.Tensor:
    with torch.inference_mode():
        return model(tokens).logits


@pytest.mark.parametrize(
    ("kind", "changes", "config"),
    [
        ("llama", {}, {}),
        ("llama", {"attention_bias": True, "mlp_bias": True}, {"everything": True}),
        ("llama", {"tie_word_embeddings": True}, {}),
        ("qwen2", {}, {"everything": True}),
        ("qwen2", {"tie_word_embeddings": True}, {"levels": (-1, 0, 1), "scale": 256}),
        ("qwen3", {"tie_word_embeddings": True}, {"everything": True}),
        ("qwen3", {}, {"levels": (-1, 0, 1), "scale": 256, "everything": True}),
    ],
)
def test_a_model_comes_back_with_the_same_answers(
    kind: str, changes: dict[str, Any], config: dict[str, Any], tmp_path: Path
) -> None:
    model = pc.pack_(binary(tiny(kind, **changes), **config))
    found = pc.from_gguf(pc.export.gguf(model, tmp_path / "m.gguf", rest="float32"))
    assert torch.equal(logits(found), logits(model))
    assert type(found) is type(model)
    packed = {name for name, layer in model.named_modules() if isinstance(layer, PackedLayer)}
    assert {name for name, layer in found.named_modules() if isinstance(layer, PackedLayer)} == packed
    for name in ("rms_norm_eps", "rope_parameters", "max_position_embeddings", "tie_word_embeddings"):
        assert getattr(found.config, name) == getattr(model.config, name)


def test_a_mistral_comes_back_as_a_llama_with_the_same_answers(tmp_path: Path) -> None:
    model = pc.pack_(binary(tiny("mistral"), everything=True))
    found = pc.from_gguf(pc.export.gguf(model, tmp_path / "m.gguf"))
    assert type(found) is LlamaForCausalLM
    assert torch.equal(logits(found), logits(model))


ROPE = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "linear", "rope_theta": 5e5, "factor": 2.0},
        {"rope_type": "yarn", "rope_theta": 1e6, "factor": 2.0, "original_max_position_embeddings": 64},
        {"rope_type": "llama3", "rope_theta": 5e5, "factor": 32.0, **ROPE},
    ],
)
def test_scaled_positions_come_back(rope: dict[str, Any], tmp_path: Path) -> None:
    model = pc.pack_(binary(tiny(rope_parameters=rope, max_position_embeddings=16384)))
    found = pc.from_gguf(pc.export.gguf(model, tmp_path / "m.gguf", rest="float32"))
    assert found.config.rope_parameters == rope
    assert torch.equal(logits(found), logits(model))


def test_a_model_read_is_a_packed_model_of_transformers(tmp_path: Path) -> None:
    model = pc.from_gguf(pc.export.gguf(binary(tiny(), everything=True), tmp_path / "m.gguf"))
    model.save_pretrained(tmp_path / "folder")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "folder")
    assert torch.equal(logits(again), logits(model))
    assert (
        pc.export.gguf(model, tmp_path / "again.gguf").stat().st_size == (tmp_path / "m.gguf").stat().st_size
    )
    quick = pc.from_gguf(tmp_path / "m.gguf", activations="int8")
    assert quick.model.layers[0].mlp.up_proj.kernel == "w1a8"
    assert quick.generate(TOKENS[:1], max_new_tokens=3, do_sample=False).shape == (1, 15)


def rewritten(path: Path, change: Any) -> Path:
    """Write a file again; ``change`` takes its keys and tensors and returns others."""
    reader = gguf.GGUFReader(path)
    kinds = {0: "u8", 4: "u32", 5: "i32", 6: "f32", 7: "bool", 8: "str"}
    keys: dict[str, tuple[str, Any]] = {}
    for name, field in reader.fields.items():
        if not name.startswith("GGUF."):
            array = "[{}]" if field.types[0] == gguf.GGUFValueType.ARRAY else "{}"
            keys[name] = array.format(kinds[int(field.types[-1])]), field.contents()
    tensors = {
        t.name: (t.tensor_type.name, tuple(t.shape.tolist())[::-1], t.data.tobytes()) for t in reader.tensors
    }
    keys, tensors = change(keys, tensors)
    data, entries = b"", []
    for name, (kind, shape, content) in tensors.items():
        entries.append(entry(name, shape, TENSOR_TYPES[kind], len(data)))
        data += content + bytes(-len(content) % 32)
    changed = path.with_name("changed.gguf")
    changed.write_bytes(file([key(name, *value) for name, value in keys.items()], entries, data))
    return changed


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    save_tokenizer(folder)
    return pc.export.gguf(binary(tiny(), everything=True), folder / "small.gguf", tokenizer=folder)


@pytest.mark.parametrize(("quantized", "group"), [("TQ1_0", 256), ("TQ2_0", 256)])
def test_ternary_files_of_the_package_gguf_are_read(small: Path, quantized: str, group: int) -> None:
    expected = {}

    def change(keys: Any, tensors: Any) -> Any:
        for number, (name, (kind, shape, _)) in enumerate(tensors.items()):
            if kind == "Q1_0":
                weight = np.random.default_rng(number).integers(-1, 2, shape).astype(np.float32)
                weight[:, 0] = 1
                expected[name] = weight * 0.25
                data = gguf.quantize(expected[name], gguf.GGMLQuantizationType[quantized])
                tensors[name] = quantized, shape, data.tobytes()
        return keys, tensors

    model = pc.from_gguf(rewritten(small, change))
    weights = {"blk.0.ffn_up.weight": model.model.layers[0].mlp.up_proj, "output.weight": model.lm_head}
    assert every(np.array_equal(layer.weight.numpy(), expected[name]) for name, layer in weights.items())
    assert model.lm_head.packed["weight"].form.group == group


def test_floats_of_all_types_are_read(small: Path) -> None:
    def change(keys: Any, tensors: Any) -> Any:
        for name, kind in (
            ("token_embd.weight", "F32"),
            ("output.weight", "F16"),
            ("blk.0.ffn_up.weight", "BF16"),
        ):
            shape = tensors[name][1]
            values = torch.linspace(-2, 2, shape[0] * shape[1])
            dtype = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[kind]
            tensors[name] = kind, shape, values.to(dtype).view(torch.uint8).numpy().tobytes()
        return keys, tensors

    model = pc.from_gguf(rewritten(small, change))
    for layer, dtype in (
        (model.model.embed_tokens, torch.float32),
        (model.lm_head, torch.float16),
        (model.model.layers[0].mlp.up_proj, torch.bfloat16),
    ):
        weight = layer.weight
        assert torch.equal(weight, torch.linspace(-2, 2, weight.numel()).to(dtype).float().view(weight.shape))


def test_the_tokenizer_comes_back(small: Path) -> None:
    tokenizer = gguf_tokenizer(small)
    text = "the cat sat on 12 mats,\n\n  and thät's the end: \N{SNOWMAN} <s>x</s>"
    expected = save_tokenizer(small.parent)
    assert tokenizer.encode(text) == expected.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "</s>")
    assert tokenizer.get_vocab() == expected.get_vocab()


def test_a_text_begins_as_the_file_says(small: Path) -> None:
    changed = rewritten(
        small, lambda keys, tensors: ({**keys, "tokenizer.ggml.add_bos_token": ("bool", True)}, tensors)
    )
    assert gguf_tokenizer(changed).encode("cat")[0] == 0
    assert gguf_tokenizer(small).encode("cat")[0] != 0


def with_key(name: str, kind: str, value: Any) -> Any:
    return lambda keys, tensors: ({**keys, name: (kind, value)}, tensors)


def without_key(name: str) -> Any:
    return lambda keys, tensors: ({n: v for n, v in keys.items() if n != name}, tensors)


def with_tensor(name: str, *tensor: Any) -> Any:
    return lambda keys, tensors: (keys, {**tensors, name: tensor})


def floats(count: int, value: float = 1.0) -> bytes:
    return struct.pack("<f", value) * count


BAD_MODELS = {
    "another architecture": (with_key("general.architecture", "str", "gpt2"), "known: llama, qwen2, qwen3"),
    "no architecture": (without_key("general.architecture"), "general.architecture is None"),
    "many layers": (with_key("llama.block_count", "u32", 2**31 - 1), "and the file has 12 tensors in all"),
    "no layer": (with_key("llama.block_count", "u32", 0), "block_count is 0; expected a whole number"),
    "two layers": (
        with_key("llama.block_count", "u32", 2),
        "tensor 'blk.1.attn_k.weight' has the shape None",
    ),
    "large": (with_key("llama.embedding_length", "u32", 2**30), "has the shape"),
    "many heads": (with_key("llama.attention.head_count", "u32", 2**30), "'blk.0.attn_output.weight' has"),
    "odd heads": (with_key("llama.attention.key_length", "u32", 63), "and a head has 63 inputs"),
    "heads that share none": (with_key("llama.attention.head_count_kv", "u32", 3), "cannot share 3 heads"),
    "no width": (without_key("llama.feed_forward_length"), "feed_forward_length is None"),
    "no epsilon": (
        without_key("llama.attention.layer_norm_rms_epsilon"),
        "layer_norm_rms_epsilon is missing",
    ),
    "epsilon": (with_key("llama.attention.layer_norm_rms_epsilon", "f32", float("nan")), "a positive number"),
    "base": (with_key("llama.rope.freq_base", "f32", 0.0), "rope.freq_base is 0.0; expected a positive"),
    "base of 1": (
        with_key("llama.rope.freq_base", "f32", 1.0),
        "rope.freq_base is 1.0; expected more than 1",
    ),
    "base of text": (with_key("llama.rope.freq_base", "str", "1"), "rope.freq_base is '1'"),
    "scaling": (with_key("llama.rope.scaling.type", "str", "longrope"), "rope.scaling.type is 'longrope'"),
    "scaling by nothing": (
        with_key("llama.rope.scaling.type", "str", "yarn"),
        "rope.scaling.factor is missing",
    ),
    "experts": (with_key("llama.expert_count", "u32", 8), "expert_count is 8; expected 0"),
    "windows": (
        with_key("llama.attention.sliding_window", "u32", 8),
        "'attention.sliding_window' means a model",
    ),
    "context": (with_key("llama.context_length", "u32", 0), "context_length is 0"),
    "end": (with_key("tokenizer.ggml.eos_token_id", "u32", VOCABULARY), "expected a token below 320"),
    "a tensor more": (with_tensor("blk.0.attn_q.bias", "F32", (8,), floats(8)), "tensor 'blk.0.attn_"),
    "an unknown tensor": (with_tensor("x", "F32", (8,), floats(8)), "tensor 'x' has the shape (8,)"),
    "NaN": (with_tensor("output_norm.weight", "F32", (256,), floats(256, float("nan"))), "NaN or infinite"),
    "packed norm": (with_tensor("output_norm.weight", "Q1_0", (256,), bytes(36)), "is Q1_0; expected floats"),
    "scales": (with_tensor("output.weight", "Q1_0", (320, 256), b"\xff" * 320 * 36), "a scale is negative"),
    "factors": (with_tensor("rope_freqs.weight", "F32", (32,), floats(32, 2.0)), "not those of Llama 3"),
    "factors of 0": (with_tensor("rope_freqs.weight", "F32", (32,), floats(32, 0.0)), "expected positive"),
    "type not read": (with_tensor("output.weight", "Q4_0", (320, 256), bytes(46080)), "the GGUF type 2"),
}


@pytest.mark.parametrize("what", BAD_MODELS)
def test_impossible_models_are_refused_in_one_line(what: str, small: Path) -> None:
    change, message = BAD_MODELS[what]
    with pytest.raises(FormatError) as caught:
        pc.from_gguf(rewritten(small, change))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


BIAS = "F32", (256,), floats(256)


@pytest.mark.parametrize(
    ("kind", "name", "change"),
    [
        ("qwen2", "blk.0.attn_q.bias", None),  # which a Qwen2 has
        ("qwen2", "blk.0.attn_output.bias", BIAS),
        ("qwen3", "blk.0.attn_q.bias", BIAS),
        ("qwen3", "blk.0.ffn_up.bias", BIAS),
    ],
)
def test_biases_are_those_of_the_architecture(
    kind: str, name: str, change: tuple[Any, ...] | None, tmp_path: Path
) -> None:
    def changed(keys: Any, tensors: Any) -> Any:
        others = {other: tensor for other, tensor in tensors.items() if other != name}
        return keys, others if change is None else {**others, name: change}

    path = pc.export.gguf(binary(tiny(kind)), tmp_path / "m.gguf")
    with pytest.raises(FormatError, match=f"tensor '{name}' has the shape .*; its {kind} has"):
        pc.from_gguf(rewritten(path, changed))


def test_a_file_of_floats_alone_is_refused(small: Path) -> None:
    def change(keys: Any, tensors: Any) -> Any:
        for name, (kind, shape, _) in tensors.items():
            if kind == "Q1_0":
                tensors[name] = "F32", shape, floats(shape[0] * shape[1])
        return keys, tensors

    with pytest.raises(FormatError, match="no tensor is Q1_0"):
        pc.from_gguf(rewritten(small, change))


BAD_TOKENIZERS = {
    "none": (with_key("tokenizer.ggml.model", "str", "none"), "the file has no tokenizer"),
    "another": (with_key("tokenizer.ggml.model", "str", "llama"), "a tokenizer 'llama' that cuts as 'gpt-2'"),
    "another way": (with_key("tokenizer.ggml.pre", "str", "bloom"), "that cuts as 'bloom' is not read"),
    "few tokens": (with_key("tokenizer.ggml.tokens", "[str]", ["a"]), "has 1 tokens; expected 320"),
    "the same token": (with_key("tokenizer.ggml.tokens", "[str]", ["a"] * 320), "all different"),
    "no texts": (with_key("tokenizer.ggml.tokens", "[i32]", [1] * 320), "tokens: expected texts"),
    "kinds": (with_key("tokenizer.ggml.token_type", "[i32]", [7] * 320), "320 numbers from 1 to 6"),
    "merges": (with_key("tokenizer.ggml.merges", "[str]", ["a b c"]), "merges: expected two texts"),
    "beginning": (
        with_key("tokenizer.ggml.bos_token_id", "u32", 320),
        "bos_token_id is 320; expected one of",
    ),
}


@pytest.mark.parametrize("what", BAD_TOKENIZERS)
def test_impossible_tokenizers_are_refused_in_one_line(what: str, small: Path) -> None:
    change, message = BAD_TOKENIZERS[what]
    with pytest.raises(FormatError) as caught:
        gguf_tokenizer(rewritten(small, change))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_refused(small: Path) -> None:
    content = small.read_bytes()
    short = small.with_name("short.gguf")
    for length in (100, 5000, len(content) - 4096):
        short.write_bytes(content[:length])
        with pytest.raises(FormatError, match="truncated"):
            pc.from_gguf(short)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_file_is_refused_or_makes_the_model_that_it_says(small: Path, data: Any) -> None:
    content = bytearray(small.read_bytes())
    start = min(tensor.start for tensor in read_container(small).tensors.values())
    numbers = range(content.index(b"llama.vocab_size"), content.index(b"tokenizer.ggml.tokens"))
    table = range(start - 1000, start)
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from([*numbers, *table]))
        content[place] = data.draw(st.sampled_from([0, 1, 2, 3, 4, 8, 16, 63, 64, 65, 127, 128, 255]))
    changed = small.with_name("fuzzed.gguf")
    changed.write_bytes(content)
    with suppress(pc.ProxConnectError):
        model = pc.from_gguf(changed)
        container = read_container(changed)
        assert model.config.hidden_size == container.metadata["llama.embedding_length"]
        assert logits(model).shape == (2, 12, VOCABULARY)
