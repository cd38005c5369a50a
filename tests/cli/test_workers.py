"""Workers and the queue on the command line."""

from typing import Any


def test_workers_are_listed_drained_and_let_go(hone: Any, server: Any) -> None:
    line = next(line for line in hone("workers").stdout.splitlines() if "\talive\t" in line)
    worker, _, slots, devices, memory, versions, *_ = line.split("\t")
    assert (slots, devices) == ("1", "cpu") and memory.endswith("GiB") and "torch" in versions
    assert f"{worker} claims nothing more" in hone("drain", worker).stdout
    assert f"{worker}\tdraining" in hone("workers").stdout
    assert f"{worker} claims jobs again" in hone("drain", worker, "--undo").stdout


def test_the_queue_is_listed_with_reasons(hone: Any, server: Any) -> None:
    job = server.submit(resources={"gpus": 8})
    line = next(line for line in hone("queue").stdout.splitlines() if job["id"] in line)
    assert line.endswith("no worker that is alive has 8 GPUs") and "unknown" in line
    hone("cancel", job["id"])
