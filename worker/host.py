"""A worker's machine: its memory, its GPUs, the versions of its software. Read once, without torch."""

import platform
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from os import sysconf
from pathlib import Path
from typing import Any

import pynvml

from service.domain.stored import SPEC_VERSION
from service.persistence.workers import Host

PACKAGES = ("hone", "torch", "transformers")
CGROUP = Path("/sys/fs/cgroup")
LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # of version 2 and of version 1


@lru_cache
def describe(indices: tuple[int, ...]) -> Host:
    """This machine, with the GPUs that the worker may use."""
    return Host(gpus=gpus(list(indices)), memory_bytes=memory_bytes(), versions=versions())


def memory_bytes(cgroup: Path = CGROUP) -> int:
    """What processes can use: the machine's memory, or the container's limit if that is less."""
    whole = sysconf("SC_PAGE_SIZE") * sysconf("SC_PHYS_PAGES")
    for name in LIMITS:
        with suppress(OSError, ValueError):  # not in a cgroup, or "max"
            return min(whole, int((cgroup / name).read_text()))
    return whole


def gpus(indices: list[int]) -> list[dict[str, Any]]:
    """Index, name and memory_bytes of each GPU of `indices` (as nvidia-smi counts).

    A GPU that NVIDIA's driver does not know is named by its number, with 0 bytes.
    """
    known = _nvidia() if indices else {}
    return [known.get(index) or {"index": index, "name": f"GPU {index}", "memory_bytes": 0} for index in indices]


def versions() -> dict[str, str]:
    """Of Python, of the spec, and of installed packages, which are not imported for it."""
    installed = {"python": platform.python_version(), "spec": str(SPEC_VERSION)}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            installed[package] = version(package)
    return installed


def _nvidia() -> dict[int, dict[str, Any]]:
    """By index; empty without a driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return {}
    try:
        return {index: _device(index) for index in range(pynvml.nvmlDeviceGetCount())}
    except pynvml.NVMLError:
        return {}
    finally:
        pynvml.nvmlShutdown()


def _device(index: int) -> dict[str, Any]:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    return {"index": index, "name": str(pynvml.nvmlDeviceGetName(handle)), "memory_bytes": memory}
