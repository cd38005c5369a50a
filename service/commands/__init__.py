"""What a user can do: one function each, to be called inside one transaction."""

from service.commands.checkpoints import delete_checkpoint, promote
from service.commands.jobs import cancel, change, delete, pause, resume
from service.commands.keys import create_key, create_login_link, end_session, log_in, revoke_key, start_session
from service.commands.submissions import Requester, clone, extend, retry, submit
from service.commands.webhooks import change_webhook, create_webhook, delete_webhook, redeliver, test_webhook

__all__ = [
    "Requester",
    "cancel",
    "change",
    "change_webhook",
    "clone",
    "create_key",
    "create_login_link",
    "create_webhook",
    "delete",
    "delete_checkpoint",
    "delete_webhook",
    "end_session",
    "extend",
    "log_in",
    "pause",
    "promote",
    "redeliver",
    "resume",
    "retry",
    "revoke_key",
    "start_session",
    "submit",
    "test_webhook",
]
