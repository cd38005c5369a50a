"""When memory runs out, the same work is done in smaller pieces."""

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, the allocator or Python could not get memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


class Budget:
    """The size of a piece: tokens of one forward pass, or responses that are decoded at once."""

    def __init__(self, size: int, least: int, unit: str, warn: Callable[[str], None]) -> None:
        self.size, self._least, self._unit, self._warn = size, least, unit, warn

    def run(self, compute: Callable[[int], Result], undo: Callable[[], None] = lambda: None) -> Result:
        """`compute(size)`; when memory runs out, undo what it left, halve the size for good, and do it again."""
        while True:
            try:
                return compute(self.size)
            except Exception as error:
                if not is_out_of_memory(error) or self.size <= self._least:
                    raise
            # Here the traceback is gone, and with it the tensors that its frames held.
            undo()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.size = max(self._least, self.size // 2)
            self._warn(f"memory ran out: the step is repeated, from now on with at most {self.size:,} {self._unit}")
