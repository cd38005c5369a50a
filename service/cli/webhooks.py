"""Commands about webhooks."""

from typing import Annotated

import typer

from service.cli.connect import Data, Key, Url, connect

WebhookId = Annotated[str, typer.Argument(help="a webhook's id, as `hone webhooks` shows it")]


def webhooks(url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """List webhooks: addresses that are told of jobs."""
    from service.cli import show

    with connect(url, key, data_dir) as client:
        show.webhooks(client.webhooks.list(limit=100).data)


def add_webhook(
    address: Annotated[str, typer.Argument(help="where to send: http or https")],
    event: Annotated[
        list[str] | None, typer.Option(help="of what it is told, repeatable; default: the three ends of a job")
    ] = None,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Have an address told of your jobs; prints the webhook's id and, this once, the secret that signs."""
    with connect(url, key, data_dir) as client:
        made = client.webhooks.create(address, events=event or None)
    typer.echo(f"{made.id}\t{made.secret}")


def test_webhook(webhook_id: WebhookId, url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """Send a signed message that tells of nothing; `hone webhook-log` shows what became of it."""
    with connect(url, key, data_dir) as client:
        typer.echo(client.webhooks.test(webhook_id).id)


def webhook_log(
    webhook_id: WebhookId,
    delivery_id: Annotated[
        str | None, typer.Argument(help="show this delivery alone: each attempt, and the message as it was sent")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="how many, newest first")] = 20,
    again: Annotated[str | None, typer.Option(help="first send this delivery once more")] = None,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Show what was sent to a webhook, or one delivery with each attempt and the message as it was sent."""
    from service.cli import show

    with connect(url, key, data_dir) as client:
        if again is not None:
            client.webhooks.redeliver(webhook_id, again)
        if delivery_id is None:
            show.deliveries(client.webhooks.deliveries(webhook_id, limit=limit).data)
        else:
            show.delivery(client.webhooks.delivery(webhook_id, delivery_id))


def remove_webhook(webhook_id: WebhookId, url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """Forget a webhook, its log and what was still to be sent to it."""
    with connect(url, key, data_dir) as client:
        client.webhooks.delete(webhook_id)
    typer.echo(f"{webhook_id} is removed")
