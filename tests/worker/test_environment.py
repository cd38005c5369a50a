"""Which variables of the environment reach the processes of a job."""

from pathlib import Path

import pytest

from worker.environment import of_rewards_and_tools, of_trainers
from worker.fork_server import ForkServer
from worker.trainer_process import TrainerProcess
from worker.training.processes.child import ChildProcess

FIRST = {"specs": [], "processes": 1, "deadline_seconds": 1.0}
SECRETS = (
    *("DATABASE_URL", "REDIS_URL", "STORAGE_URL", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD", "LDAP"),
    *("HONE_API_KEY", "AZURE_STORAGE_KEY", "OPENAI_API_KEY", "WANDB_API_KEY", "HTTPX_SECRET", "TORCHLIGHT", "PATHS"),
)
NEEDED = ("PATH", "HOME", "OMP_NUM_THREADS", "LC_ALL", "LD_LIBRARY_PATH", "HONE_DATA_DIR", "PYTHONPATH")
OF_TRAINERS = ("HF_TOKEN", "HF_HOME", "CUDA_VISIBLE_DEVICES", "NCCL_DEBUG", "TORCHINDUCTOR_CACHE_DIR", "https_proxy")


def test_each_kind_of_process_gets_what_it_needs_and_no_secret() -> None:
    everything = dict.fromkeys((*SECRETS, *NEEDED, *OF_TRAINERS), "x")
    assert set(of_rewards_and_tools(everything)) == set(NEEDED)
    assert set(of_trainers(everything)) == {*NEEDED, *OF_TRAINERS}


def test_an_operator_names_more() -> None:
    environment = {"WANDB_API_KEY": "x", "A": "1", "HONE_TRAINER_ENVIRONMENT": "WANDB_API_KEY, B,"}
    assert of_trainers(environment) == {"WANDB_API_KEY": "x"}


def of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/environ").read_text().split("\0")


def test_the_processes_themselves_have_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://hone:password@db/hone")
    monkeypatch.setenv("HF_TOKEN", "token-of-the-hub")
    server, executed = ForkServer(), TrainerProcess()
    forked, child = TrainerProcess(server), ChildProcess("worker.training.rewards.server", FIRST)
    try:
        trainers = [of(pid) for pid in (server.pid, executed.pid, forked.pid)]
        assert not any("password" in line for lines in [*trainers, of(child.process.pid)] for line in lines)
        assert all("HF_TOKEN=token-of-the-hub" in lines for lines in trainers)
        assert not any("token-of-the-hub" in line for line in of(child.process.pid))
    finally:
        child.kill()
        forked.kill()
        executed.kill()
        server.close()
