"""The convergence certificate: an identity that holds for every run of plain ProxConnect steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers import Elementwise, ForwardBackward, Sharpness, pair_of
from proxconnect.quantizers.pair import evaluated
from proxconnect.theory._arguments import positive
from proxconnect.theory.certificate._residual import Residual, TransformResidual, decomposition
from proxconnect.theory.certificate._run_sums import RunSums, in_float64
from proxconnect.theory.certificate.reading import CertificateReading

if TYPE_CHECKING:
    from proxconnect.theory.certificate.attached import AttachedCertificate


class Certificate:
    """A check of the steps of one latent tensor against the theory.

    Let ``u_k = P_k(w*_k)``, ``h_k = B(w*_k) g_k``, ``R_k`` the convex potential of ``P_k``, ``dR_k =
    R_{k+1} - R_k`` and ``phi_k(u) = R_k(u) + R_k*(w*_k) - <u, w*_k> >= 0``. Every run of plain steps
    ``w*_{k+1} = w*_k - eta_k h_k`` has, for every fixed ``u``::

        sum_k [eta_k <u_k - u, h_k> + dR_k(u_k) - dR_k(u)] = phi_0(u) - phi_{t+1}(u) + sum_k phi_{k+1}(u_k)

    The identity is algebra and holds for any gradients. It checks the steps and the potentials; momentum
    breaks it. If the loss ``f_k = l o T_k`` is convex, it bounds the mean suboptimality. A residual of its
    own measures how far the pair is from having such a ``T``. All sums are in float64.

    Args:
        pair: the method, or its name: ``F = T o P``, ``B = T' o P``. If B is declared as the slope of a
            continuous F, ``P`` is the identity and ``T = F``. If ``B = 1``, ``P = F`` and ``T`` is the
            identity. For another exact pair, :func:`proxconnect.check` finds both. A pair that does not
            decompose gets ``P = F``, and the mean of B at each level in place of ``T'``, which gives the
            smallest residual.
        prox: ``P``, in place of the one above; together with ``transform_slope``.
        transform_slope: ``T'``, a callable ``(u, mu) -> tensor``.
        scale: the unit ``s`` of the latents, a number or a tensor that broadcasts against them. The arguments
            of F, B and P, and ``u``, are in units of ``s``.

    Raises:
        ProxConnectError: only one of ``prox`` and ``transform_slope`` is given, or the scale is not positive.

    >>> import torch, proxconnect as pc
    >>> target, w = torch.tensor([0.7, -0.2], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    >>> certificate = Certificate(pc.method("bc"))
    >>> for _ in range(100):
    ...     gradient = pc.method("bc").forward(w, 1.0) - target
    ...     before, w = w, w - 0.1 * gradient
    ...     certificate.record(before, gradient, eta=0.1, mu=1.0, latent_after=w)
    >>> certificate.against(torch.tensor([1.0, -1.0])).holds
    True
    """

    def __init__(
        self,
        pair: ForwardBackward | str,
        *,
        prox: Elementwise | None = None,
        transform_slope: Elementwise | None = None,
        scale: Tensor | float = 1.0,
    ) -> None:
        self.pair = pair_of(pair, "pair")
        if not isinstance(scale, Tensor):
            scale = torch.tensor(scale, dtype=torch.float64, device="cpu")
        self.scale = scale.detach()
        if not ((self.scale > 0) & self.scale.isfinite()).all():
            raise ProxConnectError("scale must be positive and finite")
        self._given: tuple[Elementwise, Residual] | None = None
        if prox is not None and transform_slope is not None:
            self._given = prox, TransformResidual(transform_slope)
        elif prox is not None or transform_slope is not None:
            raise ProxConnectError(
                "prox and transform_slope are P and T' of one F = T o P: give both or none"
            )
        self._run: RunSums | None = None

    @staticmethod
    def attach(optimizer: Optimizer, model: nn.Module) -> AttachedCertificate:
        """Attach a certificate to every binarized layer of ``model``, and record the steps of ``optimizer``.

        The certificates hold for plain steps: SGD without momentum and weight decay. Any other movement of
        the latents is reported as a step of another kind. Gradients must not be scaled by a gradient scaler.

        Raises:
            ProxConnectError: the model has no binarized layer, or the optimizer does not train one of them.

        >>> import torch, proxconnect as pc
        >>> layer = torch.nn.Linear(8, 4, bias=False)
        >>> layer = pc.binarize_(layer, pc.BinarizeConfig("bc"), filter_fn=lambda module, name: True)
        >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        >>> with Certificate.attach(optimizer, layer) as certificate:
        ...     for _ in range(10):
        ...         optimizer.zero_grad()
        ...         layer(torch.randn(16, 8)).square().mean().backward()
        ...         optimizer.step()
        >>> certificate.against().holds
        True
        """
        from proxconnect.theory.certificate.attached import AttachedCertificate

        return AttachedCertificate(optimizer, model)

    @property
    def steps(self) -> int:
        """Number of recorded steps."""
        return 0 if self._run is None else self._run.steps

    @property
    def divergences(self) -> tuple[float, ...]:
        """``phi_{k+1}(u_k)`` of each step, the contribution of the moving quantized weight to the bound.

        It is at most ``(c/2) eta^2 |h|^2`` for a fixed c-Lipschitz ``P``. For the projector onto ``{-1, 1}``
        it is ``2 |w*_{k+1}|`` per flipped sign. This is of order ``eta``, so that the bound does not vanish
        unless flips stop.
        """
        return () if self._run is None else tuple(self._run.divergences)

    def record(
        self,
        latent: Tensor,
        gradient: Tensor,
        eta: float,
        mu: Sharpness,
        latent_after: Tensor,
        mu_next: Sharpness | None = None,
        loss: float | None = None,
    ) -> None:
        """Record one step.

        Args:
            latent: ``w*_k``, a float tensor.
            gradient: ``g_k``, shaped like ``latent``: the gradient of the loss at ``F(w*_k)``, which B
                multiplies. With a scale, ``B(w*_k/s) g_k`` is the gradient of the latent.
            eta: step size, a positive number.
            mu: sharpness in this step.
            latent_after: ``w*_{k+1}``.
            mu_next: the next scheduled sharpness; ``mu`` by default.
            loss: ``f_k(u_k)``. With it :meth:`against` sets the measured suboptimality beside its bound.

        Raises:
            ProxConnectError: shapes differ, values are not finite, ``eta`` or ``mu`` is not positive, ``P``
                falls, the step does not start where the previous one ended, or the pair does not decompose
                and F has too many values for one constant each. In all these cases nothing is recorded.
        """
        eta, mu = positive("eta", eta), positive("mu", mu)
        mu_next = mu if mu_next is None else positive("mu_next", mu_next)
        for name, tensor in (("latent", latent), ("gradient", gradient), ("latent_after", latent_after)):
            if tensor.shape != latent.shape or not tensor.is_floating_point() or not tensor.isfinite().all():
                raise ProxConnectError(
                    f"{name} must be a finite float tensor of the latent's shape {tuple(latent.shape)}"
                )
        s = in_float64(self.scale)
        before, after, g = in_float64(latent), in_float64(latent_after), in_float64(gradient)
        run = self._run
        if run is None:
            prox, residual = self._given or decomposition(self.pair, mu)
            run = RunSums(before, s, mu, torch.finfo(latent.dtype).eps, prox, residual)
        elif mu != run.mus[-1] or not torch.equal(before, run.last):
            raise ProxConnectError(
                f"step {self.steps} must start from the latent and the mu that step {self.steps - 1} ended "
                "with: something changed them in between; start a new certificate there"
            )
        now, then = run.potential(mu), run.potential(mu_next)
        # B in the precision of the training, in which the step was made.
        slope = in_float64(evaluated(self.pair.backward, latent.detach() / self.scale.to(latent), mu))
        u = run.prox(before / s, mu)
        run.residual.add(u, slope, mu, g, eta, s)
        run.add_step(before, after, eta, slope * g, u)
        run.add_potentials(u, after, now, then, mu_next)
        run.losses.append(loss)
        self._run = run

    def against(self, u: Tensor | None = None, loss: float | None = None) -> CertificateReading:
        """Read the certificate for one comparator.

        Args:
            u: any fixed point in units of ``s``, broadcastable to the latents; the last ``P(w*)`` by default.
            loss: ``f(u)``. With the losses of all steps it gives the measured suboptimality.

        Raises:
            ProxConnectError: nothing was recorded, ``u`` does not fit the latents, or ``loss`` is given and
                the steps' losses were not.
        """
        run = self._run
        if run is None:
            raise ProxConnectError("the certificate has no step yet: record some first")
        fixed = run.prox(run.last / run.s, run.mus[-1]) if u is None else in_float64(u)
        shape = run.last.shape
        try:
            fixed = fixed.expand(shape)
        except RuntimeError:
            raise ProxConnectError(
                f"u must broadcast to the latent's shape {tuple(shape)}, not be of shape {tuple(fixed.shape)}"
            ) from None
        if not fixed.isfinite().all():
            raise ProxConnectError("u must be finite")
        return run.against(fixed, loss)

    def report(self, u: Tensor | None = None, loss: float | None = None) -> str:
        """Write :meth:`against` in words."""
        return str(self.against(u, loss))
