"""Training with any torch optimizer: step rules, schedules of mu, parameter groups, clipping, statistics."""

from __future__ import annotations

from proxconnect.optim.clipping import clip_latents
from proxconnect.optim.cumulative import CumulativeSchedule
from proxconnect.optim.defaults import TRAINABLE, default_method, default_schedule
from proxconnect.optim.groups import ADAM_LATENT_LR, ADAM_LR, param_groups
from proxconnect.optim.learning_rate import learning_rate_factor
from proxconnect.optim.prox_optimizer import ProxOptimizer, check_holds_latents
from proxconnect.optim.rules import RULES, Rule, check_fit, fitting_methods
from proxconnect.optim.schedule import LARGEST_MU, SCHEDULES, MuSchedule, Schedule
from proxconnect.optim.statistics import (
    flip_rates,
    latent_histogram,
    latent_histograms,
    layer_statistics,
    overall,
    signs_of,
    weight_gradients,
)
from proxconnect.optim.training import MU_FRACTION, TrainingRun, training

__all__ = [
    "ADAM_LATENT_LR",
    "ADAM_LR",
    "LARGEST_MU",
    "MU_FRACTION",
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
    "check_holds_latents",
    "clip_latents",
    "default_method",
    "default_schedule",
    "fitting_methods",
    "flip_rates",
    "latent_histogram",
    "latent_histograms",
    "layer_statistics",
    "learning_rate_factor",
    "overall",
    "param_groups",
    "signs_of",
    "training",
    "weight_gradients",
]
