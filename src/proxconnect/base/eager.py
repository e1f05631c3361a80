"""Tell tensors of eager PyTorch from those that a compiler, a mode or a transform watches.

Compiled code reads and writes memory behind PyTorch's back. That is right for tensors of eager PyTorch alone,
which have memory of their own and whose operators nobody else has to see.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad


def memory_address(tensor: Tensor) -> int:
    """Return the address of a tensor's first element, or 0 for a tensor without memory of its own."""
    if type(tensor) is not Tensor and type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return 0
    try:
        return tensor.data_ptr()
    except RuntimeError:  # tensors of function transforms
        return 0


def watched(*tensors: Tensor) -> bool:
    """Tell whether more than eager PyTorch has to see what is computed with these tensors.

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
        if not memory_address(tensor) and tensor.numel():
            return True
    return False


def unobserved(x: Tensor, dtype: torch.dtype = torch.float32) -> bool:
    """Tell whether an input lies in memory on the CPU, of this dtype, where only eager PyTorch has to see it.

    It has elements, in strides of any kind. No derivative of it is wanted then, and autocast is off: one
    answer to what the other functions ask, for calls that take microseconds.
    """
    return not (
        torch.compiler.is_compiling()
        or type(x) is not Tensor
        or x.dtype is not dtype
        or not x.is_cpu
        or x.layout is not torch.strided
        or torch._C._len_torch_dispatch_stack()
        or torch._C._functorch.maybe_current_level() is not None
        or traced()
        or x.is_neg()
        or forward_ad._current_level >= 0
        or (x.requires_grad and torch.is_grad_enabled())
        or torch.is_autocast_enabled("cpu")
        or not x.data_ptr()
    )


def traced() -> bool:
    """Tell whether ``torch.jit.trace`` is at work, to which sizes are tensors and checks of them warnings."""
    return torch._C._get_tracing_state() is not None


def transformed() -> bool:
    """Tell whether a transform of ``torch.func`` is at work; a compiler runs these itself."""
    return not torch.compiler.is_compiling() and torch._C._functorch.maybe_current_level() is not None


def differentiated_forwards() -> bool:
    """Tell whether forward-mode derivatives may be wanted, ``torch.func.jvp`` included."""
    return forward_ad._current_level >= 0


def differentiated(*tensors: Tensor | None) -> bool:
    """Tell whether a derivative may be wanted of what these tensors give, backwards or forwards."""
    if differentiated_forwards():
        return True
    if not torch.is_grad_enabled():
        return False
    # Inside vmap, tensors do not tell whether those outside of it require a gradient.
    return transformed() or any(tensor is not None and tensor.requires_grad for tensor in tensors)
