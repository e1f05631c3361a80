"""The first layer of a model and its heads, in the shapes that models of other libraries have."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import proxconnect as pc
from proxconnect.layers import binarized_weights


class Parts(nn.Module):
    """A module with these parts."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


def block(width: int = 8) -> Parts:
    """Attention with a fused projection, and an MLP."""
    return Parts(
        qkv=nn.Linear(width, 3 * width),
        proj=nn.Linear(width, width),
        up=nn.Linear(width, 32),
        down=nn.Linear(32, width),
    )


def blocks(count: int = 2) -> nn.ModuleList:
    return nn.ModuleList(block() for _ in range(count))


def tied(model: Parts, one: str, other: str) -> Parts:
    model.get_submodule(one).weight = model.get_submodule(other).weight
    return model


PATCHES = nn.Conv2d(3, 8, 4)
MODELS: dict[str, tuple[nn.Module, set[str]]] = {
    "a causal language model": (
        Parts(model=Parts(embed=nn.Embedding(20, 8), layers=blocks()), lm_head=nn.Linear(8, 20)),
        {"lm_head"},
    ),
    "with a tied head": (
        tied(Parts(embed=nn.Embedding(20, 8), layers=blocks(), out=nn.Linear(8, 20)), "out", "embed"),
        {"out"},
    ),
    "with a tied head and one behind it": (
        tied(
            Parts(
                wte=nn.Embedding(20, 8),
                h=blocks(),
                lm_head=nn.Linear(8, 20),
                pooler=nn.Linear(8, 8),
                choice=nn.Linear(8, 1),
            ),
            "lm_head",
            "wte",
        ),
        {"lm_head", "choice"},
    ),
    "a distilled vision transformer": (
        Parts(patches=PATCHES, blocks=blocks(), head=nn.Linear(8, 5), head_dist=nn.Linear(8, 5)),
        {"patches", "head", "head_dist"},
    ),
    "two encoders": (
        Parts(
            embed=nn.Embedding(20, 8),
            text=blocks(),
            patches=nn.Conv2d(3, 12, 4),
            vision=nn.ModuleList([block(12)]),
            visual_projection=nn.Linear(12, 8),
            text_projection=nn.Linear(8, 8),
        ),
        {"visual_projection", "text_projection"},
    ),
    "an attention alone": (
        Parts(
            q_proj=nn.Linear(8, 8), k_proj=nn.Linear(8, 8), v_proj=nn.Linear(8, 8), out_proj=nn.Linear(8, 8)
        ),
        {"q_proj", "out_proj"},
    ),
    "policy and value": (
        Parts(a=nn.Linear(4, 8), b=nn.Linear(8, 8), policy=nn.Linear(8, 6), value=nn.Linear(8, 1)),
        {"a", "policy", "value"},
    ),
    "a detector": (
        Parts(
            backbone=PATCHES,
            layers=blocks(),
            class_classifier=nn.Linear(8, 5),
            bbox_predictor=nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)),
        ),
        {"backbone", "class_classifier", "bbox_predictor.2"},
    ),
    "a segmenter with an auxiliary head": (
        Parts(
            stem=PATCHES,
            classifier=nn.Sequential(nn.Conv2d(8, 6, 3), nn.Conv2d(6, 5, 1)),
            aux_classifier=nn.Sequential(nn.Conv2d(8, 4, 3), nn.Conv2d(4, 5, 1)),
        ),
        {"stem", "classifier.1", "aux_classifier.1"},
    ),
    "a list of heads": (
        Parts(
            stem=PATCHES,
            body=nn.Linear(8, 8),
            heads=nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), nn.Linear(8, 3)]),
        ),
        {"stem", "heads.0.1", "heads.1"},
    ),
    "a large classifier": (
        Parts(
            features=nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)),
            classifier=nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.Linear(64, 5)),
        ),
        {"features.0", "classifier.3"},
    ),
    "a head that another layer takes": (
        Parts(
            stem=PATCHES,
            blocks=nn.Conv2d(8, 8, 3),
            conv_head=nn.Conv2d(8, 16, 1),
            classifier=nn.Linear(16, 5),
        ),
        {"stem", "classifier"},
    ),
    "a chain of equal layers": (nn.Sequential(*(nn.Linear(8, 8) for _ in range(4))), {"0", "3"}),
    "a sequence whose outputs are reshaped": (
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 32, 3), nn.PixelShuffle(2), nn.Conv2d(8, 3, 3)),
        {"0", "3"},
    ),
    "heads inside numbered blocks are none": (
        Parts(stem=PATCHES, layers=nn.ModuleList([Parts(head=nn.Linear(8, 5))]), out=nn.Linear(5, 5)),
        {"stem", "out"},
    ),
    "recurrent": (Parts(lstm=nn.LSTM(8, 8), proj=nn.Linear(8, 8), out=nn.Linear(8, 8)), {"out"}),
}


@pytest.mark.parametrize("name", MODELS)
def test_first_and_last_layers_stay(name: str) -> None:
    model, kept = MODELS[name]
    matrices = {n for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    pc.binarize_(model, pc.BinarizeConfig("bc"))
    assert matrices - {found.fqn for found in binarized_weights(model)} == kept


def test_the_summary_says_which_end_a_layer_is() -> None:
    model = Parts(embed=nn.Embedding(20, 8), body=nn.Linear(8, 8), head=nn.Linear(8, 20, bias=False))
    tied(model, "head", "embed")
    rows = {layer.name: layer for layer in pc.summary(pc.binarize_(model, pc.BinarizeConfig("bc"))).layers}
    assert {name: layer.skipped for name, layer in rows.items()} == {
        "embed": "first layer",
        "body": "",
        "head": "last layer",
    }
    assert rows["head"].float_parameters == rows["head"].bytes == 0  # counted with the embedding
    assert rows["head"].shape == (20, 8)


def test_a_model_of_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    model = pc.binarize_(transformers.BertForPreTraining(config), pc.BinarizeConfig("bc"))
    found = {found.fqn for found in binarized_weights(model)}
    assert "bert.encoder.layer.0.attention.self.query" in found
    assert not found & {"cls.predictions.decoder", "cls.seq_relationship"}
    assert torch.is_tensor(model.cls.predictions.decoder.weight)
