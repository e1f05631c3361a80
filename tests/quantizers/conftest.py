"""The maps, quantization sets and sharpnesses that tests of maps run on."""

from __future__ import annotations

import pytest
from all_maps import ALL_MAPS, RISING_MAPS, SETS

from proxconnect.quantizers import ElementwiseMap


@pytest.fixture(scope="session", params=ALL_MAPS, ids=lambda map_: map_.name)
def any_map(request: pytest.FixtureRequest) -> ElementwiseMap:
    return request.param


@pytest.fixture(scope="session", params=RISING_MAPS, ids=lambda map_: map_.name)
def rising_map(request: pytest.FixtureRequest) -> ElementwiseMap:
    return request.param


@pytest.fixture(scope="session", params=SETS, ids=str)
def levels(request: pytest.FixtureRequest) -> tuple[float, ...]:
    return request.param


@pytest.fixture(scope="session", params=[1e-3, 0.3, 1.0, 2.0, 7.5, 1e4])
def mu(request: pytest.FixtureRequest) -> float:
    return request.param
