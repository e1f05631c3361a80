"""Models of timm and transformers, with random weights, from training to the loaded network."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from looking import every, some
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.cli.app import run
from proxconnect.models import create_model

pytestmark = pytest.mark.full

Inputs = dict[str, Tensor]
Maker = Callable[[Any], nn.Module]


def library(name: str) -> Any:
    """Import a library, or skip the test where it is not installed."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    if importlib.util.find_spec("torchvision") is not None:
        _load_torchvision()
    return importlib.import_module(name)


def _load_torchvision() -> None:
    """Import torchvision, also beside a torch of another build, where its operators are missing."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        missing = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            missing.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(missing)
        importlib.import_module("torchvision")


_KEPT: list[torch.library.Library] = []  # an operator lives as long as the library that defines it

TEXT = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
IMAGES = {
    "image_size": 32,
    "patch_size": 8,
    **{key: value for key, value in TEXT.items() if key != "vocab_size"},
}


def causal(batch: int) -> Inputs:
    words = torch.randint(3, 100, (batch, 7))
    return {"input_ids": words, "attention_mask": torch.ones_like(words)}


def translation(batch: int) -> Inputs:
    return causal(batch) | {"decoder_input_ids": torch.randint(3, 100, (batch, 5))}


def pixels(batch: int) -> Inputs:
    return {"pixel_values": torch.randn(batch, 3, 32, 32)}


def captioned(batch: int) -> Inputs:
    return causal(batch) | pixels(batch)


def t5(library: Any) -> nn.Module:
    config = library.T5Config(
        vocab_size=100,
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
        use_cache=False,
    )
    model = library.T5ForConditionalGeneration(config)
    model.decoder.config.use_cache = False
    return model


BART = {"layers": 1, "attention_heads": 2, "ffn_dim": 64}


def bart(library: Any) -> nn.Module:
    sizes = {f"{part}_{what}": size for part in ("encoder", "decoder") for what, size in BART.items()}
    config = library.BartConfig(
        vocab_size=100, max_position_embeddings=16, d_model=32, use_cache=False, **sizes
    )
    return library.BartForConditionalGeneration(config)


def clip(library: Any) -> nn.Module:
    text = {**TEXT, "hidden_size": 16, "max_position_embeddings": 16, "eos_token_id": 2, "bos_token_id": 1}
    return library.CLIPModel(library.CLIPConfig(text_config=text, vision_config=IMAGES, projection_dim=16))


def gpt2(library: Any) -> nn.Module:
    special = {"bos_token_id": 1, "eos_token_id": 2}
    return library.GPT2LMHeadModel(
        library.GPT2Config(
            vocab_size=100, n_positions=16, n_embd=32, n_layer=1, n_head=2, use_cache=False, **special
        )
    )


TRANSFORMERS: dict[str, tuple[Maker, Callable[[int], Inputs]]] = {
    "BERT": (lambda tf: tf.BertForSequenceClassification(tf.BertConfig(**TEXT)), causal),
    "GPT-2": (gpt2, causal),
    "Llama": (lambda tf: tf.LlamaForCausalLM(tf.LlamaConfig(**TEXT, use_cache=False)), causal),
    "T5": (t5, translation),
    "BART": (bart, translation),
    "CLIP": (clip, captioned),
    "ViT": (lambda tf: tf.ViTForImageClassification(tf.ViTConfig(**IMAGES)), pixels),
}
SWIN = {"depths": (1, 1), "embed_dim": 16, "num_heads": (1, 2)}
TIMM: dict[str, dict[str, Any]] = {
    "eca_nfnet_l0": {},
    "convnext_atto": {"depths": (1, 1, 1, 1)},
    "mobilevit_xxs": {},
    "swin_tiny_patch4_window7_224": {"img_size": 56, **SWIN},
    "swinv2_tiny_window8_256": {"img_size": 64, **SWIN},
    "beit_base_patch16_224": {"img_size": 32, "embed_dim": 48, "depth": 1, "num_heads": 2},
    "eva02_tiny_patch14_224": {"img_size": 28, "depth": 1},
}
READ = ("swinv2_tiny_window8_256", "beit_base_patch16_224", "eva02_tiny_patch14_224")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Leave out the warnings of the libraries themselves."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="(?!proxconnect)")
        yield


def tensors(output: Any) -> list[Tensor]:
    if isinstance(output, dict):
        return [tensor for key in sorted(output) for tensor in tensors(output[key])]
    if isinstance(output, tuple | list):
        return [tensor for part in output for tensor in tensors(part)]
    return [output]


def train(model: nn.Module, inputs: Inputs, call: Callable[[nn.Module, Inputs], Any]) -> None:
    optimizer = torch.optim.Adam(pc.param_groups(model, lr=1e-3))
    sum(output.square().mean() for output in tensors(call(model.train(), inputs))).backward()
    assert every(latent.grad is not None for latent in model.parameters() if latent.ndim > 1)
    optimizer.step()
    model.eval()


def check(
    model: nn.Module,
    example: Callable[[int], Inputs],
    call: Callable[[nn.Module, Inputs], Any],
    path: Path,
) -> None:
    """Train a step, harden, pack in place, save and load; compare all forms at three batches."""
    train(model, example(2), call)
    inputs = example(3)
    pc.save(model, path, inputs if len(inputs) > 1 else next(iter(inputs.values())))
    hardened = pc.harden_(copy.deepcopy(model))
    exact, fast, packed = pc.load(path, kernels="reference"), pc.load(path), pc.pack_(model)
    with torch.no_grad():
        for batch in (3, 1, 4):
            inputs = example(batch)
            expected = tensors(call(hardened, inputs))
            rounding = 1e-5 * max(float(wanted.abs().max()) for wanted in expected)
            for found, wanted in zip(tensors(call(exact, inputs)), expected, strict=True):
                assert torch.equal(found, wanted)
            for form in (fast, packed):
                for found, wanted in zip(tensors(call(form, inputs)), expected, strict=True):
                    torch.testing.assert_close(found, wanted, rtol=0, atol=rounding)


@pytest.mark.parametrize("setting", ["bw", "bwa"])
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_models_of_transformers(name: str, setting: str, tmp_path: Path) -> None:
    make, example = TRANSFORMERS[name]
    model = pc.binarize_(make(library("transformers")), pc.BinarizeConfig.from_setting(setting))
    check(model, example, lambda model, inputs: model(**inputs), tmp_path / "model.safetensors")


def timm_model(name: str) -> nn.Module:
    options = {"img_size": 64} | TIMM[name]
    if "nfnet" in name or "convnext" in name or "mobilevit" in name:
        del options["img_size"]
    model: nn.Module = library("timm").create_model(name, num_classes=5, **options)
    return model


def pictures(size: int, batch: int) -> Inputs:
    return {"x": torch.randn(batch, 3, size, size)}


@pytest.mark.parametrize("setting", ["bw", "bwa"])
@pytest.mark.parametrize("name", TIMM)
def test_models_of_timm(name: str, setting: str, tmp_path: Path) -> None:
    size = TIMM[name].get("img_size", 64)
    model = timm_model(name)
    config = pc.BinarizeConfig.from_setting(setting)
    if "nfnet" in name and setting == "bwa":  # its convolutions have a forward of their own
        with pytest.raises(pc.ProxConnectError, match="ScaledStdConv2d"):
            pc.binarize_(model, config)
        return
    pc.binarize_(model, config)
    if name in READ and setting == "bwa":
        with pytest.warns(UserWarning, match=r"qkv.*without calling"):
            model(torch.randn(1, 3, size, size))
    check(
        model,
        partial(pictures, size),
        lambda model, inputs: model(inputs["x"]),
        tmp_path / "model.safetensors",
    )


@pytest.mark.parametrize("name", ["test_convnext", "test_vit.r160_in1k", "test_resnet"])
def test_train_takes_models_of_timm(name: str, tmp_path: Path) -> None:
    library("timm")
    image = library("PIL.Image")
    for row in range(12):
        file = tmp_path / "train" / "ab"[row % 2] / f"{row}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(torch.randint(256, (32, 48, 3), dtype=torch.uint8).numpy()).save(file)
    out = tmp_path / "run"
    command = ["train", "--model", f"timm:{name}", "--data", str(tmp_path), "--epochs", "1"]
    assert run([*command, "--batch-size", "4", "--out", str(out)]) == 0
    net = pc.load(out / "model.safetensors")
    assert net(torch.zeros(3, 3, 32, 48)).shape == (3, 2)
    assert some(layer.precision == "1 bit" for layer in pc.summary(net).layers)


def test_names_of_timm_are_checked() -> None:
    library("timm")
    with pytest.raises(pc.ProxConnectError, match="did you mean 'timm:convnext_atto"):
        create_model("timm:convnext_ato", classes=3)
    with pytest.raises(pc.ProxConnectError, match="images of 8 x 8 with 3 channels: "):
        create_model("timm:vit_tiny_patch16_224", classes=3, image_size=8)
    with pytest.raises(pc.ProxConnectError, match=r"cannot make 'convnext_atto\.none'"):
        create_model("timm:convnext_atto.none", classes=3)


# Networks whose floats between binary layers are of many kinds; those of FIXED are made for one image size.
ARCHITECTURES = [
    "resnet18",
    "resnet26d",
    "vgg11_bn",
    "densenet121",
    "mobilenetv3_small_050",
    "efficientnet_b0",
    "regnetx_002",
    "ghostnet_100",
    "hrnet_w18_small",
    "poolformer_s12",
    "repvgg_a0",
    "convnext_atto",
    "mobilevit_xxs",
    "edgenext_xx_small",
    "dla34",
    "xception41",
    "vit_tiny_patch16_224",
    "deit_tiny_patch16_224",
    "mixer_s32_224",
    "cait_xxs24_224",
]
FIXED = ("vit", "deit", "mixer", "cait")


def photographs(size: int) -> Tensor:
    """Cut the pictures that scikit-learn ships into six squares, normalised."""
    images = library("sklearn.datasets").load_sample_images().images
    pixels = torch.stack([torch.tensor(image).permute(2, 0, 1) for image in images]) / 127.5 - 1
    squares = torch.cat([pixels[..., left : left + 427] for left in (0, 106, 213)])
    return nn.functional.interpolate(squares, size, mode="bilinear", antialias=True)


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_fused_networks_of_timm_decide_alike_on_photographs(name: str, tmp_path: Path) -> None:
    images = photographs(96)
    torch.manual_seed(0)
    options = {"img_size": 96} if name.startswith(FIXED) else {}
    model = library("timm").create_model(name, num_classes=50, **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    model = pc.binarize_(model.eval(), pc.BinarizeConfig.from_setting("bwa"))
    path = pc.save(model, tmp_path / "m.safetensors", images[:2])
    fused, expected = pc.load(path)(images), pc.load(path, kernels="reference")(images)
    # A decision that differs moves the logits by much more than rounding.
    torch.testing.assert_close(fused, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert torch.equal(fused.argmax(1), expected.argmax(1))


ONNX = ("BERT", "eca_nfnet_l0", "convnext_atto", "mobilevit_xxs", "swin_tiny_patch4_window7_224",
        "beit_base_patch16_224", "eva02_tiny_patch14_224")  # fmt: skip


@pytest.mark.parametrize("name", ONNX)
def test_onnx_files_of_models_of_libraries(name: str, tmp_path: Path) -> None:
    onnxruntime = library("onnxruntime")
    library("onnxscript")
    if name in TRANSFORMERS:
        make, example = TRANSFORMERS[name]
        model = make(library("transformers"))
    else:
        model = timm_model(name)
        example = partial(pictures, TIMM[name].get("img_size", 64))
    pc.binarize_(model.eval(), pc.BinarizeConfig())
    inputs = example(2)
    packed = pc.save(
        model, tmp_path / "model.safetensors", inputs if len(inputs) > 1 else inputs.popitem()[1]
    )
    session = onnxruntime.InferenceSession(str(pc.export.onnx(packed, tmp_path / "model.onnx")))
    inputs = example(3)
    names = [value.name for value in session.get_inputs()]
    feed = dict(zip(names, (tensor.numpy() for tensor in inputs.values()), strict=True))
    expected = tensors(pc.load(packed)(*inputs.values()))
    for found, wanted in zip(session.run(None, feed), expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=0, atol=1e-4)


def test_both_projections_of_clip_stay() -> None:
    model = pc.binarize_(clip(library("transformers")), pc.BinarizeConfig())
    kept = {layer.name for layer in pc.summary(model).layers if layer.skipped == "last layer"}
    assert kept == {"visual_projection", "text_projection"}
