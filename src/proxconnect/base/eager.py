"""Which tensors compiled code may read and write: those of eager PyTorch, which have memory of their own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from proxconnect.errors import ProxConnectError


def pointer(tensor: Tensor) -> int:
    """The address of a tensor's first element: the one place where compiled code gets addresses from.

    Raises:
        ProxConnectError: the tensor has no memory, as under ``torch.device("meta")`` and in FakeTensorMode.
    """
    address = _address(tensor)
    if not address and tensor.numel():
        raise ProxConnectError(
            f"a {type(tensor).__name__} of shape {tuple(tensor.shape)} on {tensor.device} has no memory that "
            "compiled code could read; leave FakeTensorMode or the function transform, or load the network "
            "with kernels='reference'"
        )
    return address


def watched(*tensors: Tensor) -> bool:
    """Whether more than eager PyTorch has to see what is computed with these tensors.

    That is a compiler, ``torch.jit.trace``, a dispatch mode (FakeTensorMode, FlopCounterMode, make_fx), a
    transform of ``torch.func``, a subclass of ``Tensor``, or a tensor that does not lie in memory as it is.
    """
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():
        return True
    if transformed() or traced():
        return True
    for tensor in tensors:
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.is_neg():
            return True
        if not _address(tensor) and tensor.numel():
            return True
    return False


def _address(tensor: Tensor) -> int:
    """Where a tensor lies; 0 for one that lies nowhere."""
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return 0
    try:
        return tensor.data_ptr()
    except RuntimeError:  # tensors of function transforms
        return 0


def traced() -> bool:
    """Whether ``torch.jit.trace`` is at work, to which sizes are tensors and checks of them warnings."""
    return torch._C._get_tracing_state() is not None


def transformed() -> bool:
    """Whether a transform of ``torch.func`` is at work; a compiler runs these itself."""
    return not torch.compiler.is_compiling() and torch._C._functorch.maybe_current_level() is not None


def differentiated_forwards() -> bool:
    """Whether forward-mode derivatives may be wanted, ``torch.func.jvp`` included."""
    return forward_ad._current_level >= 0


def differentiated(*tensors: Tensor | None) -> bool:
    """Whether a derivative may be wanted of what is computed with these tensors, backwards or forwards."""
    if differentiated_forwards():
        return True
    if not torch.is_grad_enabled():
        return False
    # Inside vmap, tensors do not tell whether those outside of it require a gradient.
    return transformed() or any(tensor is not None and tensor.requires_grad for tensor in tensors)
