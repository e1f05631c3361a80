"""Checks, synthesis and repair of pairs, their implicit regularisers, and certificates of training runs."""

from __future__ import annotations

from proxconnect.theory.certificate.attached import AttachedCertificate
from proxconnect.theory.certificate.certificate import Certificate
from proxconnect.theory.certificate.reading import CertificateReading
from proxconnect.theory.criterion.check import check
from proxconnect.theory.criterion.coverage import outside_exact_interval
from proxconnect.theory.criterion.verdict import Condition, Verdict, Witness
from proxconnect.theory.interval import Interval
from proxconnect.theory.potential.regularizer import ConvexPotential, convex_potential, implicit_regularizer
from proxconnect.theory.structure.evidence import Evidence
from proxconnect.theory.synthesis.repair import repair
from proxconnect.theory.synthesis.synthesize import synthesize

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
