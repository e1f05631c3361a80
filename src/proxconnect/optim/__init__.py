"""Training with any torch optimizer: step rules, schedules of mu, parameter groups, clipping, statistics."""

from __future__ import annotations

from proxconnect.optim.clipping import clip_latents
from proxconnect.optim.cumulative import CumulativeSchedule
from proxconnect.optim.defaults import TRAINABLE, default_method, default_schedule
from proxconnect.optim.groups import ADAM_LATENT_LR, ADAM_LR, param_groups
from proxconnect.optim.learning_rate import learning_rate_factor
from proxconnect.optim.prox_optimizer import ProxOptimizer
from proxconnect.optim.rules import RULES, Rule, check_fit, fitting_methods
from proxconnect.optim.schedule import LARGEST_MU, SCHEDULES, MuSchedule, Schedule
from proxconnect.optim.statistics import (
    latent_histogram,
    latent_histograms,
    layer_statistics,
    overall,
    weight_gradients,
)
from proxconnect.optim.training import TrainingRun, training

__all__ = [
    "ADAM_LATENT_LR",
    "ADAM_LR",
    "LARGEST_MU",
    "RULES",
    "SCHEDULES",
    "TRAINABLE",
    "CumulativeSchedule",
    "MuSchedule",
    "ProxOptimizer",
    "Rule",
    "Schedule",
    "TrainingRun",
    "check_fit",
    "clip_latents",
    "default_method",
    "default_schedule",
    "fitting_methods",
    "latent_histogram",
    "latent_histograms",
    "layer_statistics",
    "learning_rate_factor",
    "overall",
    "param_groups",
    "training",
    "weight_gradients",
]
