"""The convergence certificate of a training run."""
