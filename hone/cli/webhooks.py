"""Commands about webhooks."""

from typing import Annotated

import typer

from hone.cli.connect import Data, Key, Url, connect

WebhookId = Annotated[str, typer.Argument(help="a webhook's id, as `hone webhooks` shows it")]


def webhooks(url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """List webhooks."""
    from hone.cli import show

    with connect(url, key, data_dir) as client:
        show.webhooks(client.webhooks.list(limit=100).data)


def add_webhook(
    address: Annotated[str, typer.Argument(help="URL to post to: http or https")],
    event: Annotated[
        list[str] | None, typer.Option(help="event to send, repeatable; default: succeeded, failed and cancelled")
    ] = None,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """Let Hone post job events to a URL. Prints the webhook's id and, only now, the secret that signs messages."""
    with connect(url, key, data_dir) as client:
        webhook = client.webhooks.create(address, events=event or None)
    typer.echo(f"{webhook.id}\t{webhook.secret}")


def test_webhook(webhook_id: WebhookId, url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """Send a signed test message; `hone webhook-log` shows its outcome."""
    with connect(url, key, data_dir) as client:
        typer.echo(client.webhooks.test(webhook_id).id)


def webhook_log(
    webhook_id: WebhookId,
    delivery_id: Annotated[
        str | None, typer.Argument(help="show only this delivery: each attempt, and the message as it was sent")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="largest number of deliveries")] = 20,
    again: Annotated[str | None, typer.Option(help="send this delivery again first")] = None,
    url: Url = None,
    key: Key = None,
    data_dir: Data = None,
) -> None:
    """List messages to a webhook, newest first, or show one of them."""
    from hone.cli import show

    with connect(url, key, data_dir) as client:
        if again is not None:
            client.webhooks.redeliver(webhook_id, again)
        if delivery_id is None:
            show.deliveries(client.webhooks.deliveries(webhook_id, limit=limit).data)
        else:
            show.delivery(client.webhooks.delivery(webhook_id, delivery_id))


def remove_webhook(webhook_id: WebhookId, url: Url = None, key: Key = None, data_dir: Data = None) -> None:
    """Delete a webhook with its log and its unsent messages."""
    with connect(url, key, data_dir) as client:
        client.webhooks.delete(webhook_id)
    typer.echo(f"{webhook_id} is removed")
