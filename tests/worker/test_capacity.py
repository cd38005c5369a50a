"""Which devices a job gets."""

import pytest

from service.domain.specs import ResourcesSpec
from worker.capacity import Capacity, Device


def wants(**fields: object) -> ResourcesSpec:
    return ResourcesSpec.model_validate(fields)


def test_two_jobs_never_share_a_device_unless_both_asked() -> None:
    capacity = Capacity([Device(0, 80), Device(1, 80)])
    sharing = wants(gpus=1, gpu_memory_gb=30, share_gpu=True)
    assert capacity.take("a", wants(gpus=1)) == [0]
    assert capacity.take("b", sharing) == [1] and capacity.take("c", sharing) == [1]
    assert capacity.devices(wants(gpus=1)) is None
    assert capacity.devices(sharing) is None  # 20 of 80 GB are left


def test_a_shared_device_is_filled_before_an_idle_one_is_touched() -> None:
    capacity = Capacity([Device(0, 80), Device(3, 80)])
    sharing = wants(gpus=1, gpu_memory_gb=10, share_gpu=True)
    capacity.take("a", wants(gpus=1))
    capacity.take("b", sharing)
    capacity.give_back("a")
    assert capacity.devices(sharing) == [3]


def test_devices_with_too_little_memory_are_passed_over() -> None:
    capacity = Capacity([Device(0, 24), Device(1, 80)])
    assert capacity.devices(wants(gpus=1, gpu_memory_gb=40)) == [1]
    assert capacity.devices(wants(gpus=2, gpu_memory_gb=40)) is None


def test_memory_of_the_host_is_shared_out() -> None:
    capacity = Capacity([], memory_gb=16)
    capacity.take("a", wants(memory_gb=10))
    assert not capacity.fits(wants(memory_gb=10)) and capacity.fits(wants(memory_gb=6)) and capacity.fits(wants())
    capacity.give_back("a")
    assert capacity.fits(wants(memory_gb=16))


def test_one_attempt_of_a_job_gives_back_nothing_of_the_next() -> None:
    capacity = Capacity([Device(0), Device(1)])
    assert capacity.take("job, attempt 1", wants(gpus=1)) == [0] and capacity.take("job, attempt 2", wants(gpus=1)) == [
        1
    ]
    capacity.give_back("job, attempt 1")
    assert capacity.take("another, attempt 1", wants(gpus=1)) == [0] and capacity.devices(wants(gpus=1)) is None


def test_what_does_not_fit_cannot_be_taken() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Capacity([]).take("a", wants(gpus=1))
