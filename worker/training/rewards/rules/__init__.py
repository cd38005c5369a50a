"""The reward functions, found by their decorators. Each file is one way to look at a response."""
