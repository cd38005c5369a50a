"""Sampling of responses, with a cache of keys and values."""
