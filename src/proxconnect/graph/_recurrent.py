"""Shapes of recurrent layers: PyTorch's CPU code does not check the hidden state and the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from proxconnect.errors import FormatError

LSTM, GRU, RNN = 4, 3, 1  # rows of a weight for each hidden unit


def recurrent_layer(
    arguments: Mapping[str, Any], count: Callable[[int], None], *, gates: int
) -> tuple[Tensor, ...]:
    """Return the results of a recurrent layer without data, from the shapes of the arguments.

    Raises:
        FormatError: a shape or dtype does not fit the layer.
    """
    x, states = arguments["input"], _states(arguments["hx"], gates)
    if x.ndim != 3:
        raise FormatError(f"input has shape {list(x.shape)}; expected three dimensions")
    steps, batch = (x.shape[1], x.shape[0]) if arguments["batch_first"] else (x.shape[0], x.shape[1])
    directions = 2 if arguments["bidirectional"] else 1
    rows = arguments["num_layers"] * directions
    hidden, projected = states[-1].shape[-1], states[0].shape[-1]
    for state, width in zip(states, (projected, hidden), strict=False):
        _expect("hidden state", state, (rows, batch, width), x)
    remaining = iter(arguments["params"])
    inputs = x.shape[2]
    for row in range(rows):
        wanted: list[tuple[int, ...]] = [(gates * hidden, inputs), (gates * hidden, projected)]
        wanted += [(gates * hidden,), (gates * hidden,)] if arguments["has_biases"] else []
        wanted += [(projected, hidden)] if projected != hidden else []
        for shape in wanted:
            _expect("weight or bias", next(remaining, None), shape, x)
        inputs = directions * projected if row % directions == directions - 1 else inputs
    if next(remaining, None) is not None or steps < 1 or rows < 1:
        raise FormatError(f"{len(arguments['params'])} weights and {steps} steps do not fit {rows} rows")
    count(batch * steps * sum(weight.numel() for weight in arguments["params"]))
    size = (batch, steps) if arguments["batch_first"] else (steps, batch)
    output = x.new_empty((*size, directions * projected))
    return output, *(state.new_empty(state.shape) for state in states)


def recurrent_cell(arguments: Mapping[str, Any], count: Callable[[int], None], *, gates: int) -> None:
    """Check the shapes of one step of a recurrent layer.

    Raises:
        FormatError: a shape or dtype does not fit the layer.
    """
    x, states = arguments["input"], _states(arguments["hx"], gates)
    if x.ndim not in (1, 2):
        raise FormatError(f"input has shape {list(x.shape)}; expected one or two dimensions")
    hidden = states[0].shape[-1]
    for state in states:
        _expect("hidden state", state, (*x.shape[:-1], hidden), x)
    _expect("w_ih", arguments["w_ih"], (gates * hidden, x.shape[-1]), x)
    _expect("w_hh", arguments["w_hh"], (gates * hidden, hidden), x)
    for name in ("b_ih", "b_hh"):
        if arguments[name] is not None:
            _expect(name, arguments[name], (gates * hidden,), x)


def _states(given: Any, gates: int) -> Sequence[Tensor]:
    """Return the hidden state, and the cell state of an LSTM."""
    states: Sequence[Any] = given if isinstance(given, tuple | list) else [given]
    wanted = 2 if gates == LSTM else 1
    if len(states) != wanted or not all(isinstance(state, Tensor) and state.ndim for state in states):
        raise FormatError(f"the hidden state is {len(states)} tensors; expected {wanted}")
    return states


def _expect(what: str, found: Any, shape: tuple[int, ...], x: Tensor) -> None:
    if not isinstance(found, Tensor) or tuple(found.shape) != shape or found.dtype != x.dtype:
        shown = f"{found.dtype} of shape {list(found.shape)}" if isinstance(found, Tensor) else found
        raise FormatError(f"{what} is {shown}; expected {x.dtype} of shape {list(shape)}")
