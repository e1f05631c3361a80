"""The criterion of exactness: four conditions, the exact interval, and the decomposition ``F = T o P``."""
