"""Compute the convex potential of a monotone map, and the regularizer that the map minimises."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers import Elementwise, ForwardBackward, Sharpness, pair_of
from proxconnect.quantizers._potential import ROUNDINGS, into_range
from proxconnect.quantizers._structure import hull
from proxconnect.quantizers.pair import evaluated
from proxconnect.theory._arguments import positive
from proxconnect.theory.criterion.monotone import refuse_a_fall
from proxconnect.theory.potential._quadrature import REACH, Function, integral, inverse

Choice = Literal["smallest", "largest"]


@dataclass(frozen=True)
class ConvexPotential:
    """``R`` and ``R*`` of a monotone map ``P`` at one sharpness: ``R*(w) = int_0^w P``, ``R = (R*)*``.

    Both are closed and convex, ``min R = 0``, and ``R(z) + R*(w) = z w`` exactly where ``z`` is ``P(w)`` or
    in the jump of ``P`` at ``w``. ``R`` is affine across gaps of P's range, ``+inf`` outside its closed hull.

    Args:
        name: the name of the map.
        R: ``R``, elementwise on float64 tensors.
        R_conjugate: ``R*``, elementwise on float64 tensors.
        in_gap: flags of the arguments of ``R`` that lie strictly inside a gap of P's range.
        closed_form: True if ``R`` and ``R*`` are formulas of the map; else they are quadratures.
    """

    name: str
    R: Function
    R_conjugate: Function
    in_gap: Function
    closed_form: bool


def convex_potential(
    prox: Elementwise, mu: Sharpness = 1.0, *, epsilon: float = torch.finfo(torch.float64).eps
) -> ConvexPotential:
    """Compute the convex potential ``R`` of a monotone map, with its conjugate ``R*``.

    ``R`` and ``R*`` are the closed forms that the map declares. Without these they are computed by adaptive
    quadrature and bisection in float64, across declared jumps and kinks or those that are found.

    Args:
        prox: an elementwise map ``(w, mu) -> tensor``.
        mu: sharpness, a positive number.
        epsilon: the rounding error of the dtype in which arguments of ``R`` were computed. An argument counts
            as an end of the range if it lies beyond the end, or in a gap, by a few such errors alone.

    Raises:
        ProxConnectError: the map falls somewhere, has values that are not finite, or ``mu`` is not positive.

    >>> import torch
    >>> from proxconnect.quantizers import sign
    >>> potential = convex_potential(sign)
    >>> potential.R(torch.tensor([-1.0, 0.5, 1.5], dtype=torch.float64))
    tensor([0., 0., inf], dtype=torch.float64)
    >>> potential.R_conjugate(torch.tensor([-3.0], dtype=torch.float64))
    tensor([3.], dtype=torch.float64)
    """
    mu = positive("mu", mu)
    name = getattr(prox, "name", "the map")
    declared = getattr(prox, "pieces", None)
    pieces = None if declared is None else declared(mu)

    def value(w: Tensor) -> Tensor:
        return evaluated(prox, w, mu)

    because = "what falls is no proximal map and has no regularizer: take its monotone part"
    refuse_a_fall(prox, name, mu, because)
    breaks = [] if pieces is None else [piece.end for piece in pieces[:-1]]
    jumps = None if pieces is None else [(p.end_value, q.start_value) for p, q in pairwise(pieces)]

    def in_gap(z: Tensor) -> Tensor:
        if jumps is not None:
            found = torch.zeros_like(z, dtype=torch.bool)
            slack = ROUNDINGS * epsilon * z.abs()
            for low, high in jumps:
                found |= (low + slack < z) & (z < high - slack)
            return found
        place = inverse(value, z)
        # Between adjacent numbers a continuous map moves by rounding errors only.
        slack = max(1e-9, ROUNDINGS * epsilon) * z.abs().clamp(min=1)
        return place.inside & (place.low + slack < z) & (z < place.high - slack)

    def conjugate_by_quadrature(w: Tensor) -> Tensor:
        return integral(value, w, breaks)

    def potential_by_inverse(z: Tensor) -> Tensor:
        place = inverse(value, z)
        # Fenchel's equality; both sides of a gap share w, which makes R affine there.
        return z * place.w - integral(value, place.w, breaks)

    potential, conjugate = getattr(prox, "potential", None), getattr(prox, "conjugate", None)
    far = torch.tensor([-REACH, REACH], dtype=torch.float64, device="cpu")
    low, high = value(far).tolist() if pieces is None else hull(pieces)

    def convex(z: Tensor) -> Tensor:
        inside, outside = into_range(z, (low, high), epsilon)
        found = potential_by_inverse(inside) if potential is None else potential(inside, mu)
        return found.masked_fill(outside, math.inf)

    return ConvexPotential(
        name,
        convex,
        conjugate_by_quadrature if conjugate is None else lambda w: conjugate(w, mu),
        in_gap,
        closed_form=potential is not None and conjugate is not None,
    )


def implicit_regularizer(
    pair_or_map: ForwardBackward | Elementwise | str,
    z: Tensor | float,
    mu: Sharpness = 1.0,
    *,
    gaps: Choice = "smallest",
) -> Tensor:
    """Compute ``r(z) = R(z) - z^2/2``, the regularizer whose proximal map is ``F_mu``.

    ``F_mu(w)`` minimises ``r(z) + (z - w)^2/2`` over ``z``. ``r`` need not be convex. It is free in its
    additive constant, which ``min R = 0`` fixes here. ``mu`` is a sharpness, and nothing is divided by it.
    Inside a gap of F's range ``r`` is not unique. The largest choice there is ``+inf`` (for ``bc``: the
    indicator of the levels). The smallest choice is that of the affine ``R``. All choices between them have
    the same minimisers.

    Args:
        pair_or_map: a pair or the name of a method, whose ``F`` is used, or a map ``(w, mu) -> tensor``.
        z: the arguments: a float tensor of any shape, or a number.
        mu: sharpness, a positive number.
        gaps: ``"smallest"`` or ``"largest"``.

    Returns:
        ``r(z)``, shaped like ``z`` and of its dtype (computed in float64); ``+inf`` outside the closed hull
        of F's range.

    Raises:
        ProxConnectError: F falls somewhere and so is no proximal map, ``gaps`` is unknown, ``z`` is not
            finite or no float tensor, or ``mu`` is not positive.

    >>> import torch, proxconnect as pc
    >>> pc.implicit_regularizer(pc.method("hardtanh"), torch.tensor([0.0, 0.5, 1.0, 2.0]), mu=4.0)
    tensor([ 0.0000, -0.0938, -0.3750,     inf])
    >>> pc.implicit_regularizer(pc.method("bc"), torch.tensor([-1.0, 0.0, 1.0]), gaps="largest")
    tensor([-0.5000,     inf, -0.5000])
    """
    if gaps not in ("smallest", "largest"):
        raise ProxConnectError(f"gaps must be 'smallest' or 'largest', not {gaps!r}")
    where = z if isinstance(z, Tensor) else torch.tensor(z, dtype=torch.float64, device="cpu")
    if not where.is_floating_point() or not where.isfinite().all():
        raise ProxConnectError("z must be a finite number or a float tensor of such")
    if isinstance(pair_or_map, ForwardBackward | str):
        pair_or_map = pair_of(pair_or_map, "pair_or_map").forward
    potential = convex_potential(pair_or_map, mu, epsilon=torch.finfo(where.dtype).eps)
    exact = where.detach().to("cpu", torch.float64)
    r = potential.R(exact) - exact.square() / 2
    if gaps == "largest":
        r = r.masked_fill(potential.in_gap(exact), math.inf)
    return r.to(where)


def has_jumps(prox: Elementwise, mu: float) -> bool | None:
    """Return True if a map declares a jump; None if it declares nothing."""
    pieces = getattr(prox, "pieces", None)
    if pieces is None:
        return None
    return any(left.end_value != right.start_value for left, right in pairwise(pieces(mu)))
