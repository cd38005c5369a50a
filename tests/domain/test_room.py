"""Which devices a job gets."""

import pytest

from service.domain.room import Gpu, Room
from service.domain.specs import ResourcesSpec


def wants(**fields: object) -> ResourcesSpec:
    return ResourcesSpec.model_validate(fields)


def test_two_jobs_never_share_a_device_unless_both_asked() -> None:
    room = Room([Gpu(0, 80), Gpu(1, 80)])
    sharing = wants(gpus=1, gpu_memory_gb=30, share_gpu=True)
    assert room.take("a", wants(gpus=1)) == [0]
    assert room.take("b", sharing) == [1] and room.take("c", sharing) == [1]
    assert room.devices(wants(gpus=1)) is None
    assert room.devices(sharing) is None  # 20 of 80 GB are left


def test_a_shared_device_is_filled_before_an_idle_one_is_touched() -> None:
    room = Room([Gpu(0, 80), Gpu(3, 80)])
    sharing = wants(gpus=1, gpu_memory_gb=10, share_gpu=True)
    room.take("a", wants(gpus=1))
    room.take("b", sharing)
    room.give_back("a")
    assert room.devices(sharing) == [3]


def test_devices_with_too_little_memory_are_passed_over() -> None:
    room = Room([Gpu(0, 24), Gpu(1, 80)])
    assert room.devices(wants(gpus=1, gpu_memory_gb=40)) == [1]
    assert room.devices(wants(gpus=2, gpu_memory_gb=40)) is None


def test_memory_of_the_host_is_shared_out() -> None:
    room = Room([], memory_gb=16)
    room.take("a", wants(memory_gb=10))
    assert not room.fits(wants(memory_gb=10)) and room.fits(wants(memory_gb=6)) and room.fits(wants())
    room.give_back("a")
    assert room.fits(wants(memory_gb=16))


def test_one_attempt_of_a_job_gives_back_nothing_of_the_next() -> None:
    room = Room([Gpu(0), Gpu(1)])
    assert room.take("job, attempt 1", wants(gpus=1)) == [0] and room.take("job, attempt 2", wants(gpus=1)) == [1]
    room.give_back("job, attempt 1")
    assert room.take("another, attempt 1", wants(gpus=1)) == [0] and room.devices(wants(gpus=1)) is None


def test_what_does_not_fit_cannot_be_taken() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Room([]).take("a", wants(gpus=1))
