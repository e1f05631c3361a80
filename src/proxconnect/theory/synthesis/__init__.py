"""Construction of exact pairs: synthesis from ``T`` and ``P``, and repair from ``B``."""
