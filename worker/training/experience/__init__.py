"""Prompts, responses and their rewards: the experience of a step, and the evaluation on held-out rows."""
