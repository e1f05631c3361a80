"""Training of models of transformers: with its Trainer, and of adapters on packed layers."""

from __future__ import annotations

import difflib
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from looking import every, same_tensors, some
from safetensors.torch import load_file
from tiny_models import logits, tiny, words
from transformers import AutoModelForCausalLM, TrainerCallback, TrainingArguments

import proxconnect as pc
from proxconnect.engine import PackedLayer
from proxconnect.integrations.transformers import ProxConnectCallback, ProxConnectConfig, ProxConnectTrainer
from proxconnect.layers import binarized_weights, hardened_weights
from proxconnect.optim import Schedule

pytestmark = pytest.mark.usefixtures("quiet_transformers")

STOCK = """
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments
model = AutoModelForCausalLM.from_pretrained(folder)
arguments = TrainingArguments(**options)
trainer = Trainer(model, arguments, train_dataset=rows)
trainer.train()
trainer.save_model(out)
"""
OURS = """
from transformers import AutoModelForCausalLM, TrainingArguments
from proxconnect.integrations.transformers import ProxConnectCallback, ProxConnectConfig, ProxConnectTrainer
binary, callback = ProxConnectConfig("bnn++", group=32), ProxConnectCallback(harden=True)
model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=binary)
arguments = TrainingArguments(**options)
trainer = ProxConnectTrainer(model, arguments, train_dataset=rows, callbacks=[callback])
trainer.train()
trainer.save_model(out)
"""


ROWS = [{"input_ids": row, "labels": row} for row in words(16, 6)]


def options(folder: Path, **others: Any) -> dict[str, Any]:
    usual = {"max_steps": 4, "per_device_train_batch_size": 4, "learning_rate": 1e-3, "use_cpu": True}
    quiet = {"report_to": [], "disable_tqdm": True, "save_strategy": "no", "logging_steps": 2}
    return {"output_dir": str(folder), **usual, **quiet, **others}


def test_training_takes_three_lines_more_than_a_stock_script(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path / "floats")
    names = {
        "folder": tmp_path / "floats",
        "options": options(tmp_path),
        "rows": ROWS,
        "out": tmp_path / "out",
    }
    exec(OURS, names)
    lines = list(difflib.ndiff(STOCK.splitlines(), OURS.splitlines()))
    more = sum(line.startswith("+ ") for line in lines) - sum(line.startswith("- ") for line in lines)
    assert 0 < more <= 3
    trained, loaded = names["model"], AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert len(list(hardened_weights(trained))) == 7
    assert sum(isinstance(layer, PackedLayer) for layer in loaded.modules()) == 7
    torch.testing.assert_close(logits(loaded), logits(trained.eval()), rtol=0, atol=1e-5)
    plain = tiny().state_dict()
    assert not torch.equal(trained.model.norm.weight, plain["model.norm.weight"])


def trainer_of(folder: Path, model: Any, callbacks: Any = None, **others: Any) -> ProxConnectTrainer:
    arguments = TrainingArguments(**options(folder, **others))
    return ProxConnectTrainer(model=model, args=arguments, train_dataset=ROWS, callbacks=callbacks)


class Sharpness(TrainerCallback):
    """Keeps mu after each step of the optimizer."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self.seen.append(next(iter(binarized_weights(given["model"]))).quantizer.mu.item())


def test_mu_counts_the_steps_of_the_optimizer(tmp_path: Path) -> None:
    model, seen = pc.binarize_(tiny(), pc.BinarizeConfig("bnn++")), Sharpness()
    schedule = Schedule("linear", 1, 9)
    trainer = trainer_of(
        tmp_path,
        model,
        [ProxConnectCallback(schedule), seen],
        gradient_accumulation_steps=2,
        per_device_train_batch_size=2,
    )
    trainer.train()
    assert len(seen.seen) == 4
    assert seen.seen[0] > 1
    assert seen.seen == sorted(seen.seen)
    assert seen.seen[-1] == 9
    own = [each for each in trainer.callback_handler.callbacks if isinstance(each, ProxConnectCallback)]
    assert len(own) == 1
    logged = some(entry for entry in trainer.state.log_history if "proxconnect/mu" in entry)
    assert logged[-1]["proxconnect/mu"] == 9
    latents = {id(weight.latent) for weight in binarized_weights(model)}
    for group in trainer.optimizer.param_groups:
        inside = {id(parameter) in latents for parameter in group["params"]}
        assert len(inside) == 1
        assert not (inside == {True} and group["weight_decay"])


def test_a_run_goes_on_from_a_checkpoint_of_a_model_of_transformers(tmp_path: Path) -> None:
    def model() -> Any:
        return pc.binarize_(tiny(), pc.BinarizeConfig("bnn++", scale=32, learn_scale=True))

    whole, resumed = model(), model()
    trainer_of(tmp_path, whole, save_strategy="steps", save_steps=2).train()
    trainer_of(tmp_path, resumed).train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert same_tensors(resumed.state_dict(), whole.state_dict())
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint-4")
    assert same_tensors(loaded.state_dict(), whole.state_dict())


def adapted(folder: Path, name: str = "LlamaForCausalLM") -> Any:
    peft = pytest.importorskip("peft", reason="peft is not installed")
    targets = ["q_proj", "up_proj"] if name.startswith("Llama") else ["c_attn", "c_fc"]
    plan = peft.LoraConfig(r=2, target_modules=targets, fan_in_fan_out=name.startswith("GPT2"))
    return peft.get_peft_model(AutoModelForCausalLM.from_pretrained(folder), plan)


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed")
@pytest.mark.parametrize("name", ["LlamaForCausalLM", "GPT2LMHeadModel"])
def test_adapters_on_a_packed_model_train(name: str, tmp_path: Path) -> None:
    from peft import PeftModel

    pc.pack_(pc.binarize_(tiny(name), pc.BinarizeConfig("bc", scale=32))).save_pretrained(tmp_path / "packed")
    model = adapted(tmp_path / "packed", name).train()
    adapters = {key: tensor for key, tensor in model.named_parameters() if tensor.requires_grad}
    assert every("lora" in key for key in adapters)
    packed = {key: tensor.clone() for key, tensor in model.state_dict().items() if "packed" in key}
    optimizer, losses = torch.optim.Adam(adapters.values(), 2e-2), []
    for _ in range(4):
        loss = model(input_ids=words(), labels=words()).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert every(tensor.grad is not None for tensor in adapters.values())
    assert losses == sorted(losses, reverse=True)
    assert same_tensors(packed, {key: tensor for key, tensor in model.state_dict().items() if key in packed})
    model.save_pretrained(tmp_path / "adapters")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "packed")
    again = PeftModel.from_pretrained(base, tmp_path / "adapters")
    with torch.inference_mode():
        assert torch.equal(again.eval()(words()).logits, model.eval()(words()).logits)
    with pytest.raises(pc.ProxConnectError, match="keep adapters beside the packed model"):
        model.merge_and_unload()


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed")
def test_the_trainer_of_transformers_trains_adapters(tmp_path: Path) -> None:
    pc.pack_(pc.binarize_(tiny(), pc.BinarizeConfig("bc", scale=32))).save_pretrained(tmp_path / "packed")
    model = adapted(tmp_path / "packed")
    arguments = TrainingArguments(**options(tmp_path))
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=ROWS)
    trainer.train()
    trainer.save_model(tmp_path / "adapters")
    assert every("lora" in name for name in load_file(tmp_path / "adapters" / "adapter_model.safetensors"))
    packed = AutoModelForCausalLM.from_pretrained(tmp_path / "packed")
    with pytest.raises(ValueError, match="purely quantized"):
        transformers.Trainer(model=packed, args=arguments, train_dataset=ROWS)


def test_a_configuration_says_whether_a_model_trains(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path / "floats")
    config = ProxConnectConfig("bc", group=32)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "floats", quantization_config=config)
    assert model.hf_quantizer.is_qat_trainable
    pc.pack_(model).save_pretrained(tmp_path / "packed")
    packed = AutoModelForCausalLM.from_pretrained(tmp_path / "packed")
    assert not packed.hf_quantizer.is_qat_trainable
    assert packed.hf_quantizer.is_trainable
    assert packed.hf_quantizer.is_serializable()
