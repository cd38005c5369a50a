"""What the README tells receivers of webhooks is true."""

import time
from datetime import UTC, datetime
from typing import Any, get_args

from standardwebhooks import Webhook

from service.domain.webhooks import WebhookEvent

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def headers(body: bytes, at: float) -> dict[str, str]:
    signature = Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(at, UTC), body.decode())
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(at)), "webhook-signature": signature}


def test_the_five_lines_of_the_readme_tell_true_messages_from_false_and_old_ones(readme: Any) -> None:
    [code] = readme.blocks("py")
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    check, body, now = names["is_from_hone"], b'{"type":"webhook.test"}', time.time()
    assert check(SECRET, headers(body, now), body)
    assert not check(SECRET, headers(body, now), body + b" ")
    assert not check(SECRET, headers(body, now - 400), body)


def test_the_readme_names_every_event(readme: Any) -> None:
    missing = set(get_args(WebhookEvent)) - set(readme.spans())
    assert not missing, f"README.md, section 'Webhooks', does not name {missing}"
