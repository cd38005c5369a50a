"""The shape that all reward functions have."""

from collections.abc import Callable, Mapping
from typing import Any

RewardFunction = Callable[[str, str, Mapping[str, Any]], float]
"""`(prompt, response, row) -> score`"""
TURNS, CALLS, ERRORS = "tool_turns", "tool_calls", "tool_errors"
"""Columns that a row also has where there are tools: what the policy said, turn by turn; its calls; failed ones."""
