"""Many responses scored in processes that can be killed: a hang, a crash or an exception costs its own item only."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Self

from service.domain.rewards import AnyReward
from worker.training.rewards.child import START_SECONDS, Child, State
from worker.training.rewards.registry import names

SERVER = "worker.training.rewards.server"
Outcome = tuple[Any, str | None]
"""A value, or what went wrong: `math: no answer within 5.0 s`."""
BATCH = 32
"""Items that a child is given at once: enough to hide the way there and back, few enough to share out evenly."""


@dataclass(frozen=True, slots=True)
class Item:
    """One response to score."""

    prompt: str
    response: str
    row: dict[str, Any]
    """All columns of its row; they must be JSON."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a response earned."""

    total: float
    """Sum of weight * part; 0 after an error."""
    parts: dict[str, float]
    """Unweighted, by name of the reward, in the order of the specs; 0 where the reward has not answered."""
    error: str | None
    """What went wrong: `math: no answer within 5.0 s`."""


class RewardPool:
    """Processes that score with the same rewards. They start in the background; one caller at a time."""

    def __init__(self, specs: Sequence[AnyReward], *, processes: int = 1, deadline_seconds: float = 5.0) -> None:
        self._specs = list(specs)
        self._names = names(self._specs)
        first = {"specs": [spec.model_dump() for spec in self._specs]}
        self._processes = Processes(SERVER, first, self._names, processes if self._specs else 0, deadline_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes."""
        self._processes.close()

    def score(self, items: Sequence[Item]) -> list[Scored]:
        """The scores of the items, in their order. RuntimeError if a process cannot even start."""
        if not self._specs:
            return [Scored(0.0, {}, None) for _ in items]
        outcomes = self._processes.ask([[item.prompt, item.response, item.row] for item in items])
        return [self._scored(each) for each in outcomes]

    def _scored(self, outcomes: list[Outcome]) -> Scored:
        values = [value or 0.0 for value, _ in outcomes] + [0.0] * (len(self._names) - len(outcomes))
        errors = [error for _, error in outcomes if error]
        total = 0.0 if errors else sum(spec.weight * value for spec, value in zip(self._specs, values, strict=True))
        return Scored(total, dict(zip(self._names, values, strict=True)), "; ".join(errors) or None)


class Processes:
    """Processes that do the same with items: a hang, a crash or an exception costs its own item only."""

    def __init__(
        self, module: str, first: dict[str, Any], names: list[str], count: int, deadline_seconds: float
    ) -> None:
        """Each runs `module`, is told `first`, and says of each item as many things as there are names."""
        self._module, self._first, self._names = module, first, names
        self._deadline_seconds = float(deadline_seconds)
        self._children = [Child(module, first) for _ in range(count)]

    def close(self) -> None:
        """End all of them."""
        for child in self._children:
            child.kill()
        self._children = []

    def ask(self, items: Sequence[list[Any]]) -> list[list[Outcome]]:
        """What is said of each item: all of it, or what there was up to an error that ended its process."""
        for i, child in enumerate(self._children):
            if child.process.poll() is not None:
                self._replace(i)  # died between two calls, for instance for want of memory: no item's fault
        round_ = _Round(items, self._names, len(self._children))
        try:
            while round_.unfinished:
                self._share_out(round_)
                self._listen(round_)
        finally:
            self._drop_unfinished()
        return round_.outcomes

    def _share_out(self, round_: "_Round") -> None:
        for i, child in enumerate(self._children):
            if child.state is State.IDLE and round_.waiting:
                child.give(round_.take(i))

    def _listen(self, round_: "_Round") -> None:
        """Wait until some child says something or is out of time, and act on it."""
        now = time.monotonic()
        active = [child for child in self._children if child.state is not State.IDLE]
        ready = wait([child.fileno() for child in active], max(0.0, min(map(self._due, active)) - now))
        for i, child in enumerate(self._children):
            if child.fileno() in ready:
                self._hear(i, child, round_)
            elif child in active and time.monotonic() > self._due(child):
                self._lose(i, f"no answer within {self._deadline_seconds} s", round_)

    def _due(self, child: Child) -> float:
        return child.since + (START_SECONDS if child.state is State.STARTING else self._deadline_seconds)

    def _hear(self, i: int, child: Child, round_: "_Round") -> None:
        lines = child.read()
        if lines is None:
            self._lose(i, f"its process {child.how_it_ended()}", round_)
        elif child.state is State.STARTING:
            child.state = State.IDLE if lines else State.STARTING
        elif sum(round_.record(i, *line) for line in lines):
            child.since = time.monotonic()
            child.state = State.BUSY if round_.held[i] else State.IDLE

    def _lose(self, i: int, what: str, round_: "_Round") -> None:
        """Blame the reward that the child was busy with, and give its other items to a new child."""
        child = self._children[i]
        if child.state is State.STARTING:
            raise RuntimeError(f"{self._module} did not start ({what}): {child.last_words()}")
        round_.lose(i, what)
        self._replace(i)

    def _replace(self, i: int) -> None:
        self._children[i].kill()
        self._children[i] = Child(self._module, self._first)

    def _drop_unfinished(self) -> None:
        """After an interrupt, a child may still be about to answer: its lines would be taken for the next items'."""
        for i, child in enumerate(self._children):
            if child.state is State.BUSY:
                self._replace(i)


class _Round:
    """One call of `score`: which item waits, which is where, and what is known."""

    def __init__(self, items: Sequence[list[Any]], names: list[str], children: int) -> None:
        self._items = items
        self._names = names
        self._batch = max(1, min(BATCH, -(-len(items) // children)))
        self.waiting = deque(range(len(items)))
        self.held: list[deque[int]] = [deque() for _ in range(children)]
        """The items that each child has, the current one first."""
        self.outcomes: list[list[Outcome]] = [[] for _ in items]
        """For each item, what is known so far."""

    @property
    def unfinished(self) -> bool:
        """Whether any item is still waiting or with a child."""
        return bool(self.waiting or any(self.held))

    def take(self, child: int) -> list[list[Any]]:
        """The next batch for an idle child."""
        self.held[child].extend(self.waiting.popleft() for _ in range(min(self._batch, len(self.waiting))))
        return [self._items[i] for i in self.held[child]]

    def record(self, child: int, value: Any, error: str | None) -> bool:
        """Note what the child said of its current item; whether that was the last thing."""
        outcomes = self.outcomes[self.held[child][0]]
        name = self._names[len(outcomes)]
        outcomes.append((value, None if error is None else f"{name}: {error}"))
        if len(outcomes) < len(self._names):
            return False
        self.held[child].popleft()
        return True

    def lose(self, child: int, what: str) -> None:
        """Give up the child's current item; the others wait again, in front."""
        self.record(child, None, what)
        if self.held[child] and self.outcomes[self.held[child][0]]:
            self.held[child].popleft()  # rewards after the one that was lost stay unasked
        self.waiting.extendleft(reversed(self.held[child]))
        self.held[child].clear()
