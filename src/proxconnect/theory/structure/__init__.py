"""The structure of a pair on a domain: stretches with one trend and one sign, and the points between."""
