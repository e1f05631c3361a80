"""Figures of pairs and maps."""
