"""Models: policies, adapters, the output projection in tiles, log-probabilities."""
