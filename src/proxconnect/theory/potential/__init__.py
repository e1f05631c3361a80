"""The convex potential of a monotone map and its implicit regularizer."""
