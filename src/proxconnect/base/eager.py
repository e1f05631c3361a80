"""The tensors that compiled code may read and write: those of eager PyTorch, with memory of their own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from proxconnect.errors import ProxConnectError


def pointer(tensor: Tensor) -> int:
    """Return the address of a tensor's first element; compiled code gets every address from here.

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
    """Tell whether something beside eager PyTorch has to see the computation on these tensors.

    A compiler, ``torch.jit.trace``, a dispatch mode (FakeTensorMode, FlopCounterMode, make_fx), a transform
    of ``torch.func`` and a subclass of ``Tensor`` have to. So does a tensor whose memory does not hold its
    values as they are.
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
    """Return the address of a tensor; 0 if it has no memory."""
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return 0
    try:
        return tensor.data_ptr()
    except RuntimeError:  # tensors of function transforms
        return 0


def traced() -> bool:
    """Tell whether ``torch.jit.trace`` is at work: sizes are tensors then, and checks of sizes warn."""
    return torch._C._get_tracing_state() is not None


def transformed() -> bool:
    """Tell whether a transform of ``torch.func`` is at work, but not inside of a compiler."""
    return not torch.compiler.is_compiling() and torch._C._functorch.maybe_current_level() is not None


def differentiated_forwards() -> bool:
    """Tell whether forward-mode derivatives may be wanted, as under ``torch.func.jvp``."""
    return forward_ad._current_level >= 0


def differentiated(*tensors: Tensor | None) -> bool:
    """Tell whether a derivative, forward or backward, may be wanted of a result of these tensors."""
    if differentiated_forwards():
        return True
    if not torch.is_grad_enabled():
        return False
    # Inside vmap, tensors do not tell whether those outside of it require a gradient.
    return transformed() or any(tensor is not None and tensor.requires_grad for tensor in tensors)
