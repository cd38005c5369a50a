"""What the documentation tells receivers of webhooks is true."""

import time
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def headers(body: bytes, at: float) -> dict[str, str]:
    signature = Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(at, UTC), body.decode())
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(at)), "webhook-signature": signature}


def test_the_five_lines_of_the_documentation_tell_true_messages_from_false_and_old_ones(page: Any) -> None:
    [code] = page("webhooks").blocks("py")
    names: dict[str, Any] = {}
    exec(compile(code, "docs/webhooks.md", "exec"), names)
    check, body, now = names["is_from_hone"], b'{"type":"webhook.test"}', time.time()
    assert check(SECRET, headers(body, now), body)
    assert not check(SECRET, headers(body, now), body + b" ")
    assert not check(SECRET, headers(body, now - 400), body)
