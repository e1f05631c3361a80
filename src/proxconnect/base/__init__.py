"""Helpers that every other folder may use; they import nothing of the package but its errors."""
