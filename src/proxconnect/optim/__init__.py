"""Training: step rules, schedules of mu, parameter groups and latent clipping for any torch optimizer."""

from __future__ import annotations

from proxconnect.optim.clipping import clip_latents
from proxconnect.optim.cumulative import CumulativeSchedule
from proxconnect.optim.defaults import TRAINABLE, Schedule, default_method, default_schedule
from proxconnect.optim.groups import param_groups
from proxconnect.optim.prox_optimizer import ProxOptimizer
from proxconnect.optim.rules import RULES, Rule, check_fit, fitting_methods
from proxconnect.optim.schedule import LARGEST_MU, SCHEDULES, MuSchedule

__all__ = [
    "LARGEST_MU",
    "RULES",
    "SCHEDULES",
    "TRAINABLE",
    "CumulativeSchedule",
    "MuSchedule",
    "ProxOptimizer",
    "Rule",
    "Schedule",
    "check_fit",
    "clip_latents",
    "default_method",
    "default_schedule",
    "fitting_methods",
    "param_groups",
]
