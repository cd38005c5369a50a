"""Commands about workers and the queue."""

from typing import Annotated

import typer

from hone.cli.connect import Data, Key, Url, connect


def workers(url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """List workers: devices, memory, versions, jobs, last heartbeat."""
    from hone.cli import show_workers

    with connect(url, key, data_dir) as client:
        show_workers.workers(client.workers().data)


def drain(
    worker_id: Annotated[str, typer.Argument(help="a worker's id")],
    undo: Annotated[bool, typer.Option("--undo", help="let it claim jobs again")] = False,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Let a worker finish its jobs and claim no more."""
    with connect(url, key, data_dir) as client:
        worker = client.undrain(worker_id) if undo else client.drain(worker_id)
    runs = f"it runs {', '.join(job.id for job in worker.jobs)}" if worker.jobs else "it runs nothing"
    typer.echo(f"{worker_id} {'claims no more jobs' if worker.draining else 'claims jobs again'}; {runs}")


def queue(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="largest number of jobs")] = 20,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """List queued jobs in the order of claims: why each waits, and when it might start."""
    from hone.cli import show_workers

    with connect(url, key, data_dir) as client:
        page = client.queue(limit=limit)
    show_workers.queue(page)
    if page.has_more:
        typer.echo("There are more jobs: --limit shows up to 1000.", err=True)
