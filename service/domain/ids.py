"""Identifiers: a prefix for the kind of object, and a ULID (time first, so that they sort by age)."""

import secrets
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32
AGE = f"[{_ALPHABET}]{{26}}"
"""A regular expression for what follows the prefix."""


def new(prefix: str) -> str:
    """A fresh id such as `ftjob-01KB3V…`: 48 bits of milliseconds, then 80 random bits."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return prefix + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -5, -5))
