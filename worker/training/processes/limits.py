"""Limits of processes that run what models write: they end with their parent, and their memory is bounded."""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
MEMORY_BYTES = 2 << 30
"""Address space; `9^9^9` ends in a MemoryError that costs its item, not in a machine without memory."""


def die_with_parent(parent: int | None = None) -> None:
    """On Linux the kernel ends this process with its parent, of which it may already be an orphan."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def limit_memory() -> None:
    """On Linux; elsewhere the address space says little about memory."""
    if sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES if hard < 0 else min(MEMORY_BYTES, hard), hard))
