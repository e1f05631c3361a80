"""The evidence behind a verdict: declared structure, or samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from proxconnect.theory.interval import Interval


@dataclass(frozen=True)
class Evidence:
    """The evidence behind a verdict.

    Args:
        kind: ``"declared"`` where both quantizers declare their structure, else ``"numeric"``.
        samples: the number of evaluated latents; 0 for declared structure.
        reach: the largest distance of a sample from 0; infinite for declared structure.
        resolution: the width of the narrowest feature that is surely found, as a share of
            ``max(|w|, 1/mu)``, out to ``10/mu``. It is four times as much out to ``1000/mu``, and 0.05
            beyond. It is 0 for declared structure.
        looked_at: the part of the domain that the verdict covers; None stands for all of it.
        beyond: the reason why the verdict does not cover the rest of the domain.
    """

    kind: Literal["declared", "numeric"]
    samples: int = 0
    reach: float = math.inf
    resolution: float = 0.0
    looked_at: Interval | None = None
    beyond: str = ""

    def __str__(self) -> str:
        if self.kind == "declared":
            return "declared structure"
        lines = [
            f"numeric, {self.samples} samples up to |w| = {self.reach:.6g}",
            f"   sees what is wider than {self.resolution:.1e} max(|w|, 1/mu) up to |w| = 10/mu, than "
            f"{4 * self.resolution:.1e} |w| up to 1000/mu, than 0.05 |w| beyond",
        ]
        if self.beyond:
            lines.append(f"   not known outside {self.looked_at}: {self.beyond}")
        return "\n".join(lines)
