"""Graphs drawn at random: both kinds of kernels take them alike, and answer alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from drawn_graphs import drawn_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from proxconnect.engine import Network
from proxconnect.errors import ProxConnectError
from proxconnect.format import PackedFile, decode, encode
from proxconnect.graph import Node

# A busy machine takes long to make tensors.
SLOW_TO_DRAW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
BAD = 1
Drawn = tuple[PackedFile, list[Tensor]]


@st.composite
def files(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Drawn:
    return drawn_file(lambda choices: draw(st.sampled_from(choices)))


def outcome(call: Callable[[], Any]) -> Any:
    """Return a result, or the error that it is meant to end in."""
    try:
        return call()
    except ProxConnectError as error:
        return error


@torch.no_grad()
def both_answer_alike(packed: PackedFile, inputs: Sequence[Tensor]) -> None:
    packed = decode(encode(packed))
    reference, fast = (outcome(partial(Network, packed, kernels)) for kernels in ("reference", "fast"))
    if isinstance(reference, Exception):
        assert str(fast) == str(reference)
        return
    assert isinstance(fast, Network), fast
    for varied in variations(inputs):
        expected, found = (outcome(partial(net, *varied)) for net in (reference, fast))
        if isinstance(expected, Exception):
            assert type(found) is type(expected), (found, expected)
            continue
        assert not isinstance(found, Exception), found
        rounding = 1e-5 * greatest(reference, varied)
        for one, other in zip(flat(found), flat(expected), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=rounding, equal_nan=True)


def flat(output: Any) -> tuple[Tensor, ...]:
    return output if isinstance(output, tuple) else (output,)


def variations(inputs: Sequence[Tensor]) -> list[list[Tensor]]:
    """Vary the inputs: one sample, none, of another dtype, otherwise in memory, with a bad number."""
    changes: list[Callable[[Tensor], Tensor]] = [
        lambda x: x,
        lambda x: x[:1],
        lambda x: x[:0],
        lambda x: x.double(),
        lambda x: torch.stack((x, x), -1)[..., 0],
        lambda x: x.transpose(1, -1).contiguous().transpose(1, -1),  # channels last
    ]
    found = [[change(x) for x in inputs] for change in changes]
    for number in (torch.nan, torch.inf, -torch.inf):
        first = inputs[0].clone()
        first[BAD].view(-1)[5] = number
        found.append([first, *inputs[1:]])
    return found


def greatest(reference: Network, inputs: Sequence[Tensor]) -> float:
    """Find the greatest number that the network computes, at least 1: kernels round by a part of it."""
    found = [1.0]

    def observe(node: Node, args: Any, result: Any) -> None:
        if isinstance(result, Tensor) and result.is_floating_point() and result.isfinite().any():
            found.append(result[result.isfinite()].abs().max().item())

    reference.observe(tuple(inputs), observe)
    return max(found)


@given(files())
@settings(SLOW_TO_DRAW, max_examples=25)
def test_both_kinds_of_kernels_answer_alike(drawn: Drawn) -> None:
    both_answer_alike(*drawn)


@pytest.mark.full
@given(files())
@settings(SLOW_TO_DRAW, max_examples=1000)
def test_both_kinds_of_kernels_answer_alike_on_many(drawn: Drawn) -> None:
    both_answer_alike(*drawn)
