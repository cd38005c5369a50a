import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.domain.rewards import AnyReward, ExactReward, FormatReward, MathReward, NumericReward, RegexReward
from worker.training.rewards.pool import Item, RewardPool, Score
from worker.training.rewards.server import outcome

ROOT = Path(__file__).parents[4]
EXPONENTIAL = RegexReward(pattern="^(a+)+$")
HANGS = Item("", "a" * 60 + "b", {})
"""`EXPONENTIAL` takes years for it, and holds the interpreter's lock meanwhile."""


def item(text: str, answer: Any = "7") -> Item:
    return Item("prompt", f"<think>a</think><answer>{text}</answer>", {"answer": answer})


def children(pid: int) -> list[int]:
    """The reward processes of a parent."""
    return [child for child in processes() if parent_of(child) == pid and "rewards.server" in command_line(child)]


def forks() -> list[int]:
    """The processes in which the rewards of this process's only pool run."""
    (server,) = children(os.getpid())
    return children(server)


def processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def parent_of(pid: int) -> int:
    return int((status(pid) or ["", "0"])[1])


def status(pid: int) -> list[str]:
    """Fields of /proc/PID/stat behind the name: state, parent, ...; none if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def command_line(pid: int) -> str:
    """Empty for a process that is gone, or dead and not yet waited for."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def when_hanging(child: int, act: Callable[[], None]) -> threading.Thread:
    """Wait in a thread until the process has used 0.2 s more of processor time, then do something."""
    before = ticks(child)

    def watch() -> None:
        eventually(lambda: ticks(child) > before + 20)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def ticks(pid: int) -> int:
    return int((status(pid) or ["0"] * 13)[11])


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_scores_come_in_the_order_of_the_items() -> None:
    with RewardPool([NumericReward(tolerance=0)], processes=2) as pool:
        scores = pool.score([item(str(i % 5), 3) for i in range(200)])
    assert [each.total for each in scores] == [float(i % 5 == 3) for i in range(200)]


def test_the_total_is_the_weighted_sum_of_the_parts() -> None:
    specs: list[AnyReward] = [MathReward(weight=2), FormatReward(weight=0.5), RegexReward(pattern="z", weight=-1)]
    with RewardPool(specs) as pool:
        right, wrong = pool.score([item("14/2"), item("z")])
    assert right == Score(2.5, {"math": 1.0, "format": 1.0, "regex": 0.0}, None)
    assert wrong == Score(-0.5, {"math": 0.0, "format": 1.0, "regex": 1.0}, None)
    assert list(right.parts) == ["math", "format", "regex"]


def test_a_pool_without_rewards_or_items_has_nothing_to_do() -> None:
    with RewardPool([]) as pool:
        assert pool.score([item("7")]) == [Score(0.0, {}, None)]
    with RewardPool([ExactReward()]) as pool:
        assert pool.score([]) == []


def test_a_hang_costs_its_own_item_only() -> None:
    items = [Item("", "aaa", {}), HANGS, Item("", "aab", {}), HANGS, Item("", "a", {})]
    with RewardPool([RegexReward(pattern="a"), EXPONENTIAL], deadline_seconds=0.3) as pool:
        scores = pool.score(items)
    assert [each.total for each in scores] == [2, 0, 1, 0, 2]
    assert scores[1] == Score(0.0, {"regex": 1.0, "regex_2": 0.0}, "regex_2: no answer within 0.3 s")
    assert [each.error is None for each in scores] == [True, False, True, False, True]


def test_a_crash_costs_its_own_item_only() -> None:
    with RewardPool([EXPONENTIAL], processes=1, deadline_seconds=60) as pool:
        pool.score([Item("", "a", {})])
        (fork,) = forks()
        killer = when_hanging(fork, lambda: os.kill(fork, signal.SIGKILL))
        scores = pool.score([Item("", "a", {}), HANGS, Item("", "aa", {})])
        killer.join()
    assert [each.total for each in scores] == [1, 0, 1]
    assert scores[1].error == "regex: its process was ended by signal 9"


def test_items_that_hang_hang_side_by_side() -> None:
    """So they cost one deadline, and the others wait for none of them."""
    hanging = 5
    with RewardPool([EXPONENTIAL], processes=1, deadline_seconds=2.0) as pool:
        pool.score([Item("", "a", {})])
        scores: list[Score] = []
        items = [HANGS, Item("", "a", {})] * hanging
        caller = threading.Thread(target=lambda: scores.extend(pool.score(items)))
        caller.start()
        side_by_side = eventually(lambda: len(forks()) >= hanging or not caller.is_alive()) and caller.is_alive()
        caller.join()
    assert side_by_side
    assert [score.total for score in scores] == [0, 1] * hanging
    assert {score.error for score in scores} == {"regex: no answer within 2.0 s", None}


def test_more_items_than_may_hang_are_given_up_early() -> None:
    code = (
        "from worker.training.processes.forks import MAX_FORKS, Forks\n"
        "def hang(item):\n"
        "    while True: pass\n"
        "index, [[value, error]] = next(Forks([hang], 2, 600.0, []).run([[0]] * (MAX_FORKS + 1)))\n"
        "print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip().endswith("s, and 15 others hang too")


def test_when_the_process_that_forks_dies_its_unfinished_items_are_scored_again() -> None:
    with RewardPool([EXPONENTIAL], processes=1, deadline_seconds=1) as pool:
        pool.score([Item("", "a", {})])
        (server,), (fork,) = children(os.getpid()), forks()
        killer = when_hanging(fork, lambda: os.kill(server, signal.SIGKILL))
        scores = pool.score([Item("", "a", {}), HANGS, Item("", "b", {})])
        killer.join()
    assert [score.total for score in scores] == [1, 0, 0]
    assert [score.error for score in scores] == [None, "regex: no answer within 1.0 s", None]


def test_a_process_that_died_between_two_calls_costs_nothing() -> None:
    with RewardPool([ExactReward()]) as pool:
        assert pool.score([item("7")])[0].total == 1
        (child,) = children(os.getpid())
        os.kill(child, signal.SIGKILL)
        assert eventually(lambda: status(child)[0] == "Z")
        assert pool.score([item("7")]) == [Score(1.0, {"exact": 1.0}, None)]


def test_an_exception_costs_its_own_item_only() -> None:
    with RewardPool([NumericReward(), FormatReward()]) as pool:
        scores = pool.score([item("7"), item("7", "blue"), item("8")])
    assert [each.total for each in scores] == [2, 0, 1]
    assert scores[1].parts == {"numeric": 0.0, "format": 1.0}
    assert scores[1].error is not None
    assert scores[1].error.startswith("numeric: ValueError: the row's answer 'blue' is not a number")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), None, "1", 10**400])
def test_what_is_no_finite_number_is_an_error(value: Any) -> None:
    number, error = outcome(lambda *_: value, "", "", {})
    assert number is None
    assert "Error" in error


def test_true_counts_as_one() -> None:
    assert outcome(lambda *_: True, "", "", {}) == [1.0, None]


def test_more_than_a_pipe_holds_goes_through() -> None:
    long = Item("p" * 100_000, f"{'r' * 100_000}<answer>7</answer>", {"answer": "7", "more": "x" * 100_000})
    with RewardPool([ExactReward()]) as pool:
        assert [each.total for each in pool.score([long] * 40)] == [1.0] * 40


def test_text_that_no_encoding_has_reaches_the_reward() -> None:
    with RewardPool([ExactReward()]) as pool:
        assert pool.score([item("\ud800\0\n\u2028", "\ud800\0\n\u2028")])[0].total == 1


@pytest.fixture
def interrupt() -> Iterator[Callable[[], None]]:
    """A Ctrl-C that also arrives where SIGINT is ignored, as in a shell's background job."""
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_an_interrupted_call_leaves_no_scores_for_the_next(interrupt: Callable[[], None]) -> None:
    with RewardPool([EXPONENTIAL], processes=1, deadline_seconds=60) as pool:
        pool.score([Item("", "a", {})])
        (fork,) = forks()
        watcher = when_hanging(fork, interrupt)
        with pytest.raises(KeyboardInterrupt):
            pool.score([Item("", "a", {}), HANGS])
        watcher.join()
        assert [each.total for each in pool.score([Item("", "b", {}), Item("", "a", {})])] == [0, 1]


def test_closing_leaves_no_process() -> None:
    pool = RewardPool([EXPONENTIAL], processes=2)
    pool.score([Item("", "a", {})] * 4)
    (server,), both = children(os.getpid()), forks()
    assert len(both) == 2
    pool.close()
    assert eventually(lambda: not any(map(command_line, [server, *both])))


def test_the_processes_end_with_their_parent_even_in_the_middle_of_a_hang() -> None:
    code = (
        "from service.domain.rewards import RegexReward\n"
        "from worker.training.rewards.pool import Item, RewardPool\n"
        f"pool = RewardPool([RegexReward(pattern={EXPONENTIAL.pattern!r})], processes=1, deadline_seconds=600)\n"
        "pool.score([Item('', 'a', {})])\n"
        "print('ready', flush=True)\n"
        f"pool.score([Item('', {HANGS.response!r}, {{}})])\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        (server,) = children(parent.pid)
        (fork,) = children(server)
        when_hanging(fork, parent.kill).join()
    assert eventually(lambda: not command_line(server) and not command_line(fork))


def test_a_process_has_its_own_session_and_no_open_file_of_its_parent() -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    with RewardPool([ExactReward()]) as pool:
        pool.score([item("7")])
        (child,) = children(os.getpid())
        assert os.getsid(child) == child
        opened = {str(link.readlink()) for link in Path(f"/proc/{child}/fd").iterdir()}
        assert str(Path(f"/proc/self/fd/{writer}").readlink()) not in opened
    os.close(reader)
    os.close(writer)


def test_a_process_never_imports_torch() -> None:
    code = "import sys, worker.training.rewards.server, worker.training.rewards.pool; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_process_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with RewardPool([ExactReward()]) as pool, pytest.raises(RuntimeError, match=r"did not start .*exited with 1"):
        pool.score([item("7")])
