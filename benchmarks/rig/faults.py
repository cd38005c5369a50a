"""Everything that a service has to survive, one function each: breaks something and says what, or finds nothing to."""

import signal
from collections.abc import Callable
from random import Random

from rig.parts import Part, send
from rig.service import STALL_MARGIN, Service
from service.failpoints import POINTS, STORAGE

Fault = Callable[[Service, Random], str | None]


def _kill(name: str) -> Fault:
    def fault(service: Service, random: Random) -> str | None:
        part = _one(service, name, random)
        part.send(signal.SIGKILL)
        return f"SIGKILL {part.name} (pid {part.pid})"

    return fault


def stop_worker(service: Service, random: Random) -> str | None:
    """As Kubernetes and SLURM do: what it runs is saved and handed back."""
    part = _one(service, "worker", random)
    part.send(signal.SIGTERM)
    return f"SIGTERM {part.name} (pid {part.pid})"


def _stall(name: str) -> Fault:
    def fault(service: Service, random: Random) -> str | None:
        part, seconds = _one(service, name, random), _longer_than_lease(service, random)
        service.stall(part.pid, seconds)
        return f"SIGSTOP {part.name} (pid {part.pid}) for {seconds:.1f} s"

    return fault


def _one(service: Service, name: str, random: Random) -> Part:
    return service.parts[random.choice([part for part in service.parts if part.startswith(name)])]


def _longer_than_lease(service: Service, random: Random) -> float:
    """Mostly: a shorter one must do no harm either."""
    return random.uniform(0.5, 1.0) if random.random() < 0.2 else service.lease + STALL_MARGIN


def kill_trainer(service: Service, random: Random) -> str | None:
    """One that runs at the moment."""
    pids = service.trainers()
    return f"SIGKILL trainer (pid {pid})" if pids and send(pid := random.choice(pids), signal.SIGKILL) else None


def stall_trainer(service: Service, random: Random) -> str | None:
    """It is slow, not dead: its worker beats on."""
    pids, seconds = service.trainers(), random.uniform(0.5, service.lease + 1)
    if not pids:
        return None
    service.stall(pid := random.choice(pids), seconds)
    return f"SIGSTOP trainer (pid {pid}) for {seconds:.1f} s"


def flush_redis(service: Service, random: Random) -> str | None:
    """Its memory is empty."""
    try:
        service.flush_redis()
    except OSError:
        return None
    return "FLUSHALL"


def cut_network(service: Service, random: Random) -> str | None:
    """Connections of a worker break and are refused."""
    return _network(service, random, "cut")


def hang_network(service: Service, random: Random) -> str | None:
    """Connections of a worker stay open, and nothing passes."""
    return _network(service, random, "hanging")


def _network(service: Service, random: Random, state: str) -> str:
    name, seconds = random.choice(sorted(service.proxies)), _longer_than_lease(service, random)
    proxy = service.proxies[name]
    proxy.become("cut" if state == "cut" else "hanging")
    service.heal_in(seconds, lambda: proxy.become("open"))
    return f"network of {name} {state} for {seconds:.1f} s"


def fill_disk(service: Service, random: Random) -> str | None:
    """Not a byte left where checkpoints go."""
    if not service.has_disk:
        return None
    seconds = random.uniform(0.5, 2.0)
    service.fill_disk(seconds)
    return f"full disk for {seconds:.1f} s"


KINDS: dict[str, Fault] = {
    "kill API": _kill("api"),
    "kill dispatcher": _kill("dispatcher"),
    "kill worker": _kill("worker"),
    "kill trainer": kill_trainer,
    "kill Postgres": _kill("postgres"),
    "kill Redis": _kill("redis"),
    "flush Redis": flush_redis,
    "stop worker": stop_worker,
    "stall API": _stall("api"),
    "stall dispatcher": _stall("dispatcher"),
    "stall worker": _stall("worker"),
    "stall trainer": stall_trainer,
    "cut network": cut_network,
    "hang network": hang_network,
    "full disk": fill_disk,
}


def random_failpoints(service: Service, random: Random, part: Part) -> str:
    """Some for a part that is about to start. Trainers have their worker's; an exception in one ends its job."""
    rules = []
    for name in random.sample(_points_of(part), k=2):
        actions = ["kill", "stall", "error", "timeout"]
        if name in TRAINER:
            actions = ["kill"]
        elif name in STORAGE:
            actions = ["kill", "stall"]
        skip = service.visits(name) + random.choice([0, 1, 3, 8])
        rules.append(f"{name}={random.choice(actions)}@{skip}")
    return ";".join(rules)


TRAINER = ("trainer.read", "step.begun", "step.reported", "checkpoint.written", "checkpoint.renamed")
OTHERS = {
    "api": ("request.", "submit.", "commit."),
    "dispatcher": ("outbox.", "lost."),
}


def _points_of(part: Part) -> list[str]:
    """The failpoints that it comes by."""
    elsewhere = tuple(prefix for prefixes in OTHERS.values() for prefix in prefixes)
    mine = OTHERS.get(part.name)
    return [name for name in POINTS if (name.startswith(mine) if mine else not name.startswith(elsewhere))]
