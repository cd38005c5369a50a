"""What a worker has, what of it is taken, and which devices a job would get."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.domain.specs import ResourcesSpec


@dataclass(frozen=True)
class Gpu:
    """A device by its index on the host."""

    index: int
    memory_gb: float | None = None
    """None where it cannot be asked; then it counts as enough for whoever wants it alone."""


class Room:
    """The devices and the memory of one worker. Not for several threads at once."""

    def __init__(self, gpus: Sequence[Gpu], memory_gb: float | None = None) -> None:
        self._gpus = list(gpus)
        self._memory_gb = memory_gb
        self._taken: dict[str, tuple[ResourcesSpec, list[int]]] = {}

    @property
    def free_gpus(self) -> int:
        """How many devices at most a job could get now: idle ones, and those that are shared."""
        return sum(not self._is_exclusive(gpu) for gpu in self._gpus)

    def fits(self, wanted: ResourcesSpec) -> bool:
        """Whether a job could be taken now."""
        return self.devices(wanted) is not None

    def devices(self, wanted: ResourcesSpec) -> list[int] | None:
        """The devices that a job would get, those first that already are shared; None if it does not fit."""
        if wanted.memory_gb is not None and wanted.memory_gb > self._free_memory():
            return None
        fitting = [gpu for gpu in self._gpus if self._fits(gpu, wanted)]
        if len(fitting) < wanted.gpus:
            return None
        return sorted(gpu.index for gpu in sorted(fitting, key=self._emptiness)[: wanted.gpus])

    def take(self, job: str, wanted: ResourcesSpec) -> list[int]:
        """Give a job its devices until `give_back`; ValueError if it does not fit."""
        devices = self.devices(wanted)
        if devices is None:
            raise ValueError(f"job {job} does not fit")
        self._taken[job] = (wanted, devices)
        return devices

    def give_back(self, job: str) -> None:
        """A job has ended."""
        self._taken.pop(job, None)

    def _on(self, gpu: Gpu) -> list[ResourcesSpec]:
        return [wanted for wanted, devices in self._taken.values() if gpu.index in devices]

    def _is_exclusive(self, gpu: Gpu) -> bool:
        return any(not wanted.share_gpu for wanted in self._on(gpu))

    def _fits(self, gpu: Gpu, wanted: ResourcesSpec) -> bool:
        others = self._on(gpu)
        if others and not (wanted.share_gpu and all(other.share_gpu for other in others)):
            return False
        if wanted.gpu_memory_gb is None:
            return True
        if gpu.memory_gb is None:
            return not others
        return wanted.gpu_memory_gb <= gpu.memory_gb - sum(other.gpu_memory_gb or 0 for other in others)

    def _emptiness(self, gpu: Gpu) -> tuple[bool, int]:
        return not self._on(gpu), gpu.index

    def _free_memory(self) -> float:
        if self._memory_gb is None:
            return float("inf")
        return self._memory_gb - sum(wanted.memory_gb or 0 for wanted, _ in self._taken.values())
