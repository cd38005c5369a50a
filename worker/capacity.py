"""The devices and the memory of a worker, how much of them running jobs take, and which devices a job would get."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.domain.specs import ResourcesSpec


@dataclass(frozen=True)
class Device:
    """A GPU by its index on the host."""

    index: int
    memory_gb: float | None = None
    """None if unknown: then it is enough for a job that has the device to itself."""


class Capacity:
    """The devices and the memory of one worker. Not thread-safe."""

    def __init__(self, gpus: Sequence[Device], memory_gb: float | None = None) -> None:
        self._devices = list(gpus)
        self._memory_gb = memory_gb
        self._taken: dict[str, tuple[ResourcesSpec, list[int]]] = {}

    @property
    def free_gpus(self) -> int:
        """The number of devices that a job could get now at most: idle ones and shared ones."""
        return sum(not self._is_exclusive(gpu) for gpu in self._devices)

    def fits(self, wanted: ResourcesSpec) -> bool:
        """Whether there is enough for a job now."""
        return self.devices(wanted) is not None

    def devices(self, wanted: ResourcesSpec) -> list[int] | None:
        """The devices that a job would get, already shared ones first; None if it does not fit."""
        if wanted.memory_gb is not None and wanted.memory_gb > self._free_memory():
            return None
        fitting = [gpu for gpu in self._devices if self._fits(gpu, wanted)]
        if len(fitting) < wanted.gpus:
            return None
        return sorted(gpu.index for gpu in sorted(fitting, key=self._shared_first)[: wanted.gpus])

    def take(self, job: str, wanted: ResourcesSpec) -> list[int]:
        """Give a job its devices until `give_back`; ValueError if it does not fit."""
        devices = self.devices(wanted)
        if devices is None:
            raise ValueError(f"job {job} does not fit")
        self._taken[job] = (wanted, devices)
        return devices

    def give_back(self, job: str) -> None:
        """Free what a job took."""
        self._taken.pop(job, None)

    def _jobs_on(self, gpu: Device) -> list[ResourcesSpec]:
        return [wanted for wanted, devices in self._taken.values() if gpu.index in devices]

    def _is_exclusive(self, gpu: Device) -> bool:
        return any(not wanted.share_gpu for wanted in self._jobs_on(gpu))

    def _fits(self, gpu: Device, wanted: ResourcesSpec) -> bool:
        others = self._jobs_on(gpu)
        if others and not (wanted.share_gpu and all(other.share_gpu for other in others)):
            return False
        if wanted.gpu_memory_gb is None:
            return True
        if gpu.memory_gb is None:
            return not others
        return wanted.gpu_memory_gb <= gpu.memory_gb - sum(other.gpu_memory_gb or 0 for other in others)

    def _shared_first(self, gpu: Device) -> tuple[bool, int]:
        return not self._jobs_on(gpu), gpu.index

    def _free_memory(self) -> float:
        if self._memory_gb is None:
            return float("inf")
        return self._memory_gb - sum(wanted.memory_gb or 0 for wanted, _ in self._taken.values())
