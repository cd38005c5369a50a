"""The `hone` command. Commands import what they need when they run: `hone --help` answers at once."""

from collections.abc import Callable
from typing import Annotated

import typer

from hone.cli import backup, jobs, keys, manage, operator, transfer, webhooks, workers
from hone.cli.errors import Cli

app = Cli(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from hone.cli.versions import lines

        typer.echo("\n".join(lines()))
        raise typer.Exit


@app.callback()
def hone(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Post-train language models as durable jobs: SFT, PPO, GRPO and more."""


PANELS: dict[str, list[Callable[..., None]]] = {
    "Start": [operator.up, operator.demo],
    "Jobs": [jobs.submit, jobs.jobs, jobs.show, jobs.watch, jobs.logs, jobs.presets],
    "Change a job": [
        manage.cancel,
        manage.pause,
        manage.resume,
        manage.retry,
        manage.extend,
        manage.clone,
        manage.set_,
        manage.delete,
    ],
    "Files and checkpoints": [transfer.pull, transfer.promote, transfer.drop, transfer.upload],
    "Webhooks": [
        webhooks.webhooks,
        webhooks.add_webhook,
        webhooks.test_webhook,
        webhooks.webhook_log,
        webhooks.remove_webhook,
    ],
    "Operate": [
        operator.login,
        keys.create_key,
        keys.keys,
        keys.revoke_key,
        operator.migrate,
        workers.workers,
        workers.drain,
        workers.queue,
        backup.backup,
        backup.restore,
    ],
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(command.__name__.strip("_").replace("_", "-"), rich_help_panel=panel)(command)
