"""Which errors mean that memory ran out."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, the allocator or Python could not get memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
