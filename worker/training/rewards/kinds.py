"""The shape that all reward functions have."""

from collections.abc import Callable, Mapping
from typing import Any

RewardFunction = Callable[[str, str, Mapping[str, Any]], float]
"""`(prompt, response, row) -> score`"""
