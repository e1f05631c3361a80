"""Train PyTorch models with 1-bit weights, pack them into one file, and run that file on a CPU."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from proxconnect.base.version import __version__
from proxconnect.errors import ProxConnectError

if TYPE_CHECKING:
    from proxconnect import export, zoo
    from proxconnect.comparison import compare
    from proxconnect.data import Preprocessing
    from proxconnect.gguf import from_gguf
    from proxconnect.layers import BinarizeConfig, binarize_, harden_, recalibrate_
    from proxconnect.optim import MuSchedule, ProxOptimizer, Schedule, clip_latents, param_groups
    from proxconnect.optim.training import training
    from proxconnect.packing import inspect, load, pack_, save
    from proxconnect.quantizers import ForwardBackward, method, methods
    from proxconnect.summaries import summary
    from proxconnect.theory import Certificate, check, implicit_regularizer, repair, synthesize
    from proxconnect.timing import bench

__all__ = [
    "BinarizeConfig",
    "Certificate",
    "ForwardBackward",
    "MuSchedule",
    "Preprocessing",
    "ProxConnectError",
    "ProxOptimizer",
    "Schedule",
    "__version__",
    "bench",
    "binarize_",
    "check",
    "clip_latents",
    "compare",
    "export",
    "from_gguf",
    "harden_",
    "implicit_regularizer",
    "inspect",
    "load",
    "method",
    "methods",
    "pack_",
    "param_groups",
    "recalibrate_",
    "repair",
    "save",
    "summary",
    "synthesize",
    "training",
    "zoo",
]

# Who loads a packed file needs nothing of training: each name is imported when it is first used.
_NAMES = {
    "comparison": "compare",
    "data": "Preprocessing",
    "gguf": "from_gguf",
    "layers": "BinarizeConfig binarize_ harden_ recalibrate_",
    "optim": "MuSchedule ProxOptimizer Schedule clip_latents param_groups training",
    "packing": "inspect load pack_ save",
    "quantizers": "ForwardBackward method methods",
    "summaries": "summary",
    "theory": "Certificate check implicit_regularizer repair synthesize",
    "timing": "bench",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}
_PACKAGES = {
    *_NAMES,
    *("base", "engine", "export", "format", "graph", "integrations", "kernels", "models", "zoo"),
}


def __getattr__(name: str) -> Any:
    """Import a name of ``__all__``, or a package below this one, and keep it."""
    if name in _HOMES:
        value = getattr(import_module(f"proxconnect.{_HOMES[name]}"), name)
    elif name in _PACKAGES:
        value = import_module(f"proxconnect.{name}")
    else:
        raise AttributeError(f"module 'proxconnect' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})
