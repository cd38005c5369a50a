"""Claims played forward, worked out by hand."""

from service.domain.queue import Demand, Machine, Running, Waiting, starts

CPU = Demand()
ONE_GPU, TWO_GPUS = Demand(gpus=1), Demand(gpus=2)


def worker(name: str = "w", slots: int = 1, gpus: int = 0, busy: int = 0, taken: int = 0) -> Machine:
    return Machine(name, slots, (80,) * gpus, 1000, slots - busy, gpus - taken)


def test_a_free_slot_is_taken_at_once_and_the_next_job_starts_when_the_first_ends() -> None:
    line = [Waiting("a", CPU, 10), Waiting("b", CPU, 5), Waiting("c", CPU, 1)]
    assert starts([worker()], [], line) == {"a": 0, "b": 10, "c": 15}


def test_two_slots_take_the_line_as_they_become_free() -> None:
    line = [Waiting(name, CPU, seconds) for name, seconds in (("a", 10), ("b", 3), ("c", 3), ("d", 3))]
    assert starts([worker(slots=2)], [], line) == {"a": 0, "b": 0, "c": 3, "d": 6}


def test_what_runs_must_end_first() -> None:
    assert starts([worker(busy=1)], [Running("w", 0, 42)], [Waiting("a", CPU, 1)]) == {"a": 42}


def test_behind_a_length_that_is_not_known_nothing_is_known() -> None:
    assert starts([worker(busy=1)], [Running("w", 0, None)], [Waiting("a", CPU, 1)]) == {}
    assert starts([worker()], [], [Waiting("a", CPU, None), Waiting("b", CPU, 1)]) == {"a": 0}


def test_a_small_job_passes_a_large_one_that_does_not_fit_yet() -> None:
    line = [Waiting("large", TWO_GPUS, 5), Waiting("small", ONE_GPU, 100)]
    found = starts([worker(slots=2, gpus=2, busy=1, taken=1)], [Running("w", 1, 10)], line)
    assert found == {"small": 0, "large": 100}  # both GPUs are free only when the small one has ended


def test_what_no_machine_could_run_has_no_start_and_holds_nobody_back() -> None:
    line = [Waiting("large", TWO_GPUS, 5), Waiting("vast", Demand(memory_bytes=2000), 5), Waiting("a", CPU, 5)]
    assert starts([worker(gpus=1)], [], line) == {"a": 0}


def test_a_machine_that_does_not_say_its_memory_is_taken_to_have_enough() -> None:
    unknown = Machine("w", 1, (0,), 0, 1, 1)
    assert starts([unknown], [], [Waiting("a", Demand(1, 80, 500), None)]) == {"a": 0}
    assert not worker(gpus=1).could_run(Demand(1, 81))


def test_without_a_machine_nothing_starts() -> None:
    assert starts([], [Running("dead", 0, 3)], [Waiting("a", CPU, 1)]) == {}
