"""Pieces of objectives: advantages, ratios and clips, KL estimates, aggregation, shaping of rewards."""
