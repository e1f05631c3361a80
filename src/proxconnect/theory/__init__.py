"""What the mathematics promises: checks, synthesis and repair of pairs, regularisers, certificates."""

from __future__ import annotations

from proxconnect.theory.attached import AttachedCertificate
from proxconnect.theory.certificate import Certificate
from proxconnect.theory.check import check
from proxconnect.theory.coverage import outside_exact_interval
from proxconnect.theory.reading import CertificateReading
from proxconnect.theory.regularizer import ConvexPotential, convex_potential, implicit_regularizer
from proxconnect.theory.synthesis import repair, synthesize
from proxconnect.theory.verdict import Condition, Evidence, Interval, Verdict, Witness

__all__ = [
    "AttachedCertificate",
    "Certificate",
    "CertificateReading",
    "Condition",
    "ConvexPotential",
    "Evidence",
    "Interval",
    "Verdict",
    "Witness",
    "check",
    "convex_potential",
    "implicit_regularizer",
    "outside_exact_interval",
    "repair",
    "synthesize",
]
