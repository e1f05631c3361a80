"""Classes of transformers: binarized, trained for a step, saved, packed, loaded; packed ones generate."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from looking import every, same_tensors
from tiny_models import CLASSES, inputs, logits, tiny, words
from torch import nn
from transformers import AutoModelForCausalLM, GenerationConfig

import proxconnect as pc
from proxconnect.engine import PackedLayer
from proxconnect.integrations.transformers import ProxConnectConfig
from proxconnect.layers import binarized_weights

pytestmark = pytest.mark.usefixtures("quiet_transformers")

CAUSAL = [name for name in CLASSES if "CausalLM" in name or "LMHead" in name]


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_trains_and_is_saved_and_packed(name: str, tmp_path: Path) -> None:
    kind = getattr(transformers, name)
    tiny(name).save_pretrained(tmp_path / "floats")
    config = ProxConnectConfig("bnn++", group=32)
    model = kind.from_pretrained(tmp_path / "floats", quantization_config=config).train()
    model(**inputs(model)).logits.square().mean().backward()
    weights = list(binarized_weights(model))
    assert every(weight.latent.grad is not None for weight in weights)
    torch.optim.SGD(model.parameters(), 0.1).step()
    model.eval().save_pretrained(tmp_path / "latents")
    again = kind.from_pretrained(tmp_path / "latents")
    assert same_tensors(again.state_dict(), model.state_dict())
    hardened = pc.harden_(copy.deepcopy(model))
    pc.pack_(model).save_pretrained(tmp_path / "packed")
    packed = kind.from_pretrained(tmp_path / "packed")
    assert sum(isinstance(layer, PackedLayer) for layer in packed.modules()) == len(weights)
    linear = [
        layer for layer in packed.modules() if isinstance(layer, PackedLayer) and layer.plain is not nn.Conv1d
    ]
    assert {layer.kernel for layer in linear} == {"w1a32"}
    assert torch.equal(logits(packed), logits(model))
    torch.testing.assert_close(logits(packed), logits(hardened), rtol=0, atol=1e-5)


def packed_model(tmp_path: Path, name: str = "LlamaForCausalLM", **sizes: Any) -> Any:
    model = pc.binarize_(tiny(name, **sizes), pc.BinarizeConfig("bc", scale=32))
    pc.pack_(model).save_pretrained(tmp_path / "packed")
    return AutoModelForCausalLM.from_pretrained(tmp_path / "packed")


def continued(model: Any, prompt: torch.Tensor, **options: Any) -> torch.Tensor:
    plan = GenerationConfig(max_new_tokens=6, do_sample=False, pad_token_id=0, eos_token_id=None)
    found: torch.Tensor = model.generate(prompt, generation_config=plan, **options)
    return found[:, prompt.shape[1] :]


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[] if name in CAUSAL[:1] + CAUSAL[-1:] else pytest.mark.full) for name in CAUSAL
])  # fmt: skip
def test_a_packed_model_generates_alike_with_and_without_a_cache(name: str, tmp_path: Path) -> None:
    model = packed_model(tmp_path, name)
    prompt = words()
    new = continued(model, prompt, attention_mask=torch.ones_like(prompt))
    slow = continued(model, prompt, attention_mask=torch.ones_like(prompt), use_cache=False)
    assert torch.equal(new, slow)
    hardened = pc.binarize_(tiny(name), pc.BinarizeConfig("bc", scale=32))
    again = continued(pc.harden_(hardened), prompt, attention_mask=torch.ones_like(prompt))
    assert torch.equal(new, again)


def test_a_padded_batch_generates_as_its_rows_do(tmp_path: Path) -> None:
    model = packed_model(tmp_path, tie_word_embeddings=True)
    long, short = words(1, 7), words(1, 4)
    batch = torch.cat([long, torch.cat([torch.zeros(1, 3, dtype=torch.int64), short], dim=1)])
    new = continued(model, batch, attention_mask=(batch != 0).long())
    for row, text in enumerate((long, short)):
        assert torch.equal(new[row : row + 1], continued(model, text, attention_mask=torch.ones_like(text)))


def test_a_static_cache_and_sampling_work(tmp_path: Path) -> None:
    model, prompt = packed_model(tmp_path), words(1)
    mask = torch.ones_like(prompt)
    static = continued(model, prompt, attention_mask=mask, cache_implementation="static")
    assert torch.equal(static, continued(model, prompt, attention_mask=mask))
    torch.manual_seed(0)
    assert model.generate(prompt, max_new_tokens=4, do_sample=True, pad_token_id=0).shape[1] > 5
    beams = model.generate(prompt, attention_mask=mask, max_new_tokens=4, num_beams=2, pad_token_id=0)
    assert beams.shape[1] > 5


def test_a_pipeline_takes_the_packed_folder(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    packed_model(tmp_path)
    vocabulary = {"[PAD]": 0, "[S]": 1, "[E]": 2, "[U]": 3} | {chr(97 + i): 4 + i for i in range(26)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[U]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[U]", padding_side="left"
    )
    fast.save_pretrained(tmp_path / "packed")
    writer = transformers.pipeline("text-generation", model=str(tmp_path / "packed"), batch_size=2)
    assert any(isinstance(layer, PackedLayer) for layer in writer.model.modules())
    answers = writer(["abc", "a"], max_new_tokens=3, do_sample=False)
    assert [len(answer) for answer in answers] == [1, 1]
    assert every(answer[0]["generated_text"].startswith("a") for answer in answers)
