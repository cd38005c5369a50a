"""Simulated claims, worked out by hand."""

from service.domain.queue import ClaimedJob, Demand, Machine, WaitingJob, estimate_starts

CPU = Demand()
ONE_GPU, TWO_GPUS = Demand(gpus=1), Demand(gpus=2)


def worker(name: str = "w", slots: int = 1, gpus: int = 0, busy: int = 0, taken: int = 0) -> Machine:
    return Machine(name, slots, (80,) * gpus, 1000, slots - busy, gpus - taken)


def test_a_free_slot_is_taken_at_once_and_the_next_job_starts_when_the_first_ends() -> None:
    queue = [WaitingJob("a", CPU, 10), WaitingJob("b", CPU, 5), WaitingJob("c", CPU, 1)]
    assert estimate_starts([worker()], [], queue) == {"a": 0, "b": 10, "c": 15}


def test_two_slots_claim_jobs_as_they_become_free() -> None:
    queue = [WaitingJob(name, CPU, seconds) for name, seconds in (("a", 10), ("b", 3), ("c", 3), ("d", 3))]
    assert estimate_starts([worker(slots=2)], [], queue) == {"a": 0, "b": 0, "c": 3, "d": 6}


def test_a_running_job_must_end_first() -> None:
    assert estimate_starts([worker(busy=1)], [ClaimedJob("w", 0, 42)], [WaitingJob("a", CPU, 1)]) == {"a": 42}


def test_behind_a_job_of_unknown_length_no_start_is_known() -> None:
    assert estimate_starts([worker(busy=1)], [ClaimedJob("w", 0, None)], [WaitingJob("a", CPU, 1)]) == {}
    assert estimate_starts([worker()], [], [WaitingJob("a", CPU, None), WaitingJob("b", CPU, 1)]) == {"a": 0}


def test_a_small_job_passes_a_large_one_that_does_not_fit_yet() -> None:
    queue = [WaitingJob("large", TWO_GPUS, 5), WaitingJob("small", ONE_GPU, 100)]
    starts = estimate_starts([worker(slots=2, gpus=2, busy=1, taken=1)], [ClaimedJob("w", 1, 10)], queue)
    assert starts == {"small": 0, "large": 100}  # both GPUs are free only when the small one has ended


def test_a_job_that_no_machine_can_run_has_no_start_and_holds_no_other_job_back() -> None:
    vast = Demand(memory_bytes=2000)
    queue = [WaitingJob("large", TWO_GPUS, 5), WaitingJob("vast", vast, 5), WaitingJob("a", CPU, 5)]
    assert estimate_starts([worker(gpus=1)], [], queue) == {"a": 0}


def test_a_machine_that_does_not_say_its_memory_counts_as_large_enough() -> None:
    unknown = Machine("w", 1, (0,), 0, 1, 1)
    assert estimate_starts([unknown], [], [WaitingJob("a", Demand(1, 80, 500), None)]) == {"a": 0}
    assert not worker(gpus=1).could_run(Demand(1, 81))


def test_without_a_machine_nothing_starts() -> None:
    assert estimate_starts([], [ClaimedJob("dead", 0, 3)], [WaitingJob("a", CPU, 1)]) == {}
