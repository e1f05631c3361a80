"""Train PyTorch models with 1-bit weights, pack them into one file, and run that file on a CPU."""

from __future__ import annotations

from proxconnect import zoo
from proxconnect.base.version import __version__
from proxconnect.comparison import compare
from proxconnect.data import Preprocessing
from proxconnect.errors import ProxConnectError
from proxconnect.layers import BinarizeConfig, binarize_, harden_, recalibrate_
from proxconnect.optim import MuSchedule, ProxOptimizer, clip_latents, param_groups, training
from proxconnect.packing import inspect, load, pack_, save
from proxconnect.quantizers import ForwardBackward, method, methods
from proxconnect.summaries import summary
from proxconnect.theory import Certificate, check, implicit_regularizer, repair, synthesize

__all__ = [
    "BinarizeConfig",
    "Certificate",
    "ForwardBackward",
    "MuSchedule",
    "Preprocessing",
    "ProxConnectError",
    "ProxOptimizer",
    "__version__",
    "binarize_",
    "check",
    "clip_latents",
    "compare",
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
