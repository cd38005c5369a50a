"""When memory runs out, the same work is repeated in smaller pieces."""

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from service.domain.health_notes import Note
from worker.training.out_of_memory import is_out_of_memory

Result = TypeVar("Result")


class Budget:
    """The size of a piece: tokens of one forward pass, or responses that are decoded at once; a field of the spec."""

    def __init__(self, size: int, min_size: int, unit: str, field: str, warn: Callable[[Note], None]) -> None:
        self.size, self._min_size, self._warn = size, min_size, warn
        self._unit, self._field = unit, field

    def run(self, compute: Callable[[int], Result], undo: Callable[[], None] = lambda: None) -> Result:
        """`compute(size)`; when memory runs out, call `undo`, halve the size for the rest of the job, and repeat."""
        while True:
            try:
                return compute(self.size)
            except Exception as error:
                if not is_out_of_memory(error) or self.size <= self._min_size:
                    raise
            # Outside `except` the traceback is gone, and with it the tensors that its frames held.
            undo()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.size = max(self._min_size, self.size // 2)
            message = f"memory ran out: the step is repeated, from now on with at most {self.size:,} {self._unit}"
            remedy = f"lower {self._field}, which spares the first tries"
            self._warn(Note("out_of_memory", message, remedy, self._field))
