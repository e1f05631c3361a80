"""Checks of arguments."""

from __future__ import annotations

import math
import re

import pytest
import torch

from proxconnect.errors import ProxConnectError
from proxconnect.theory._arguments import positive


@pytest.mark.parametrize("value", [2, 0.5, torch.tensor(3.0), "1e-3"])
def test_a_positive_number_becomes_a_float(value: object) -> None:
    number = positive("mu", value)
    assert type(number) is float
    assert number == float(value)


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, "big", None, torch.ones(2)])
def test_anything_else_is_refused_by_name_and_value(value: object) -> None:
    message = f"eta must be a positive finite number, not {value!r}"
    with pytest.raises(ProxConnectError, match=re.escape(message)):
        positive("eta", value)
