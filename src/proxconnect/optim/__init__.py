"""Training: sharpness schedules, parameter groups and latent clipping for any torch optimizer."""

from __future__ import annotations

from proxconnect.optim.clipping import clip_latents
from proxconnect.optim.groups import param_groups
from proxconnect.optim.schedule import SCHEDULES, MuSchedule

__all__ = ["SCHEDULES", "MuSchedule", "clip_latents", "param_groups"]
