"""Webhooks as receivers see them: signed, at least once, each endpoint on its own."""

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import func, select, update
from standardwebhooks import Webhook as Verifier

from hone.documents import WebhookChange
from hone.documents.status import Failure
from hone.documents.webhook_events import ENDS, WebhookEvent
from hone.errors import Conflict
from service import commands
from service.dispatcher.rounds import Dispatcher
from service.dispatcher.webhook_sender import Sender
from service.domain.jobs import JobEvent
from service.domain.specs import JobSpec
from service.local.embedded import Servers
from service.messaging import broker
from service.messaging.wakeups import Listener, Publisher
from service.persistence import claims, deliveries, jobs, outbox, webhooks
from service.persistence.database import Database
from service.persistence.tables import Delivery, Outbox, Webhook

Make = Callable[..., JobSpec]
ALL: list[WebhookEvent] = ["fine_tuning.job.running", "fine_tuning.job.paused", *ENDS]


@contextmanager
def sending(servers: Servers, *, private: bool = True) -> Iterator[None]:
    """The dispatcher's thread."""
    database, stop = Database(servers.database_url), threading.Event()
    sender = Sender(database, Listener(servers.redis_url), lambda: True, private=private)
    thread = threading.Thread(target=sender.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        Publisher(servers.redis_url).publish({deliveries.CHANNEL})  # it need not wait for its next round to see that
        thread.join(60)
        database.close()
        assert not thread.is_alive()


def wait_until_somebody_listens(servers: Servers) -> None:
    deadline = time.monotonic() + 60
    with Redis.from_url(servers.redis_url) as redis:
        while not redis.pubsub_numpat():
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture
def ringing(embedded: Servers, database: Database) -> Iterator[Database]:
    """The same empty database, whose commits wake the sender."""
    made = Database(embedded.database_url, after_commit=Publisher(embedded.redis_url).publish)
    yield made
    made.close()


@pytest.fixture
def sender(embedded: Servers, database: Database) -> Iterator[None]:
    with sending(embedded):
        yield


def add(database: Database, url: str, *events: WebhookEvent, owner: str = "ada") -> Webhook:
    with database.transaction() as session:
        return commands.create_webhook(session, owner, url, events or ENDS, private=True)


def cancelled(database: Database, spec: JobSpec, owner: str = "ada") -> str:
    """A job that has ended."""
    with database.transaction() as session:
        job_id = commands.submit(session, commands.Requester(owner), spec, []).id
    with database.transaction() as session:
        commands.cancel(session, owner, job_id)
    return job_id


def log(database: Database, webhook: Webhook) -> list[Delivery]:
    with database.transaction() as session:
        return deliveries.page(session, webhook.id, None, 100)


def until(database: Database, webhook: Webhook, holds: Callable[[Delivery], bool], seconds: float = 60) -> Delivery:
    """The newest delivery, once that holds."""
    deadline = time.monotonic() + seconds
    while not holds(newest := log(database, webhook)[0]):
        assert time.monotonic() < deadline, (newest.attempts, newest.status_code, newest.error)
        time.sleep(0.02)
    return newest


def taken(delivery: Delivery) -> bool:
    return delivery.delivered_at is not None


def answered(status: int, delivery: Delivery) -> bool:
    return delivery.status_code == status


def let_time_pass(database: Database) -> None:
    """All that waits for its next attempt is due."""
    with database.transaction() as session:
        session.execute(update(Delivery).where(Delivery.next_at.is_not(None)).values(next_at=func.now()))


def test_the_end_of_a_job_is_told_at_once_and_in_openais_words(
    ringing: Database, spec: Make, receiver: Any, embedded: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "service.dispatcher.webhook_sender.ROUND_SECONDS", 100_000.0
    )  # nothing is found by looking for it
    add(ringing, receiver.url)
    began = int(time.time())
    with sending(embedded):
        wait_until_somebody_listens(embedded)
        job_id = cancelled(ringing, spec())
        [message] = receiver.wait(1)
    payload = message.payload
    assert payload.pop("id").startswith("evt_") and began <= payload.pop("created_at") <= time.time()
    assert payload == {"object": "event", "type": "fine_tuning.job.cancelled", "data": {"id": job_id}}
    assert message.headers["content-type"] == "application/json"


def test_the_signature_is_what_standard_webhooks_says(
    database: Database, spec: Make, receiver: Any, sender: None
) -> None:
    webhook = add(database, receiver.url)
    cancelled(database, spec())
    [message] = receiver.wait(1)
    assert Verifier(webhook.secret).verify(message.body, message.headers) == message.payload
    key = base64.b64decode(webhook.secret.removeprefix("whsec_"))
    signed = f"{message.id}.{message.headers['webhook-timestamp']}.".encode() + message.body
    by_hand = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert message.headers["webhook-signature"] == f"v1,{by_hand}"


def test_each_event_that_was_asked_for_is_told_and_no_other(database: Database, spec: Make) -> None:
    every, ends = add(database, "http://127.0.0.1:1/", *ALL), add(database, "http://127.0.0.1:1/")
    with database.transaction() as session:
        job = commands.submit(session, commands.Requester("ada"), spec(), [])
        assert claims.claim(session, "worker-1", 0, lease_seconds=30) is not None
        jobs.move(session, job, JobEvent.PAUSE)
        jobs.move(session, job, JobEvent.STOP)
        jobs.move(session, job, JobEvent.RESUME)
        assert claims.claim(session, "worker-1", 0, lease_seconds=30) is not None
        jobs.fail(session, job, Failure(category="user", message="bad rows"))
    sent = [delivery.type.rpartition(".")[2] for delivery in reversed(log(database, every))]
    assert sent == ["running", "paused", "running", "failed"]
    assert [delivery.type for delivery in log(database, ends)] == ["fine_tuning.job.failed"]


def test_what_did_not_happen_is_not_told(database: Database, spec: Make) -> None:
    webhook = add(database, "http://127.0.0.1:1/", *ALL)
    with database.transaction() as session:
        job_id = commands.submit(session, commands.Requester("ada"), spec(), []).id
    with pytest.raises(ZeroDivisionError), database.transaction() as session:
        commands.cancel(session, "ada", job_id)
        1 / 0  # noqa: B018 - the transaction fails
    assert log(database, webhook) == []


def test_nobody_hears_of_anothers_jobs_and_a_disabled_webhook_of_none(database: Database, spec: Make) -> None:
    theirs, disabled = add(database, "http://127.0.0.1:1/", owner="grace"), add(database, "http://127.0.0.1:1/")
    with database.transaction() as session:
        commands.change_webhook(session, "ada", disabled.id, WebhookChange(enabled=False), private=True)
    cancelled(database, spec())
    assert log(database, theirs) == [] and log(database, disabled) == []


def test_an_answer_of_500_is_retried_later_with_the_same_id_until_it_is_200(
    database: Database, spec: Make, receiver: Any, sender: None
) -> None:
    answers = iter([500, 503, 200])
    receiver.answer = lambda _: next(answers)
    webhook = add(database, receiver.url)
    cancelled(database, spec())
    for attempt, status in ((1, 500), (2, 503)):
        failed = until(database, webhook, partial(answered, status))
        assert failed.attempts == attempt and failed.error == f"answered {status}, not 2xx" and not taken(failed)
        assert failed.next_at is not None
        delay = failed.next_at - failed.created_at
        assert timedelta(seconds=5 * 4 ** (attempt - 1)) <= delay
        let_time_pass(database)
    done = until(database, webhook, taken)
    assert done.attempts == 3 and done.next_at is None and done.status_code == 200 and done.error is None
    assert {message.id for message in receiver.messages} == {done.id} and len(receiver.messages) == 3


def test_a_redirect_is_a_failure_and_is_not_followed(
    database: Database, spec: Make, receiver: Any, sender: None
) -> None:
    receiver.answer = lambda _: 307
    webhook = add(database, receiver.url)
    cancelled(database, spec())
    assert until(database, webhook, lambda row: row.error is not None).status_code == 307
    assert [message.path for message in receiver.messages] == ["/hook"]


def test_an_endpoint_that_is_gone_is_disabled(database: Database, spec: Make, receiver: Any, sender: None) -> None:
    receiver.answer = lambda _: 410
    webhook = add(database, receiver.url)
    cancelled(database, spec())
    assert until(database, webhook, lambda row: row.error is not None).next_at is None
    with database.transaction() as session:
        assert not webhooks.get(session, webhook.id, "ada").enabled
        with pytest.raises(Conflict):
            commands.test_webhook(session, "ada", webhook.id)


def test_after_72_hours_a_delivery_is_given_up_and_can_be_sent_again_by_hand(
    database: Database, spec: Make, receiver: Any, sender: None
) -> None:
    receiver.answer = lambda _: 500
    webhook = add(database, receiver.url)
    cancelled(database, spec())
    until(database, webhook, lambda row: row.error is not None)
    with database.transaction() as session:
        session.execute(update(Delivery).values(created_at=func.now() - timedelta(hours=72)))
    let_time_pass(database)
    given_up = until(database, webhook, lambda row: row.attempts == 2 and row.next_at is None)
    receiver.answer = lambda _: 200
    with database.transaction() as session:
        commands.redeliver(session, "ada", webhook.id, given_up.id)
    assert until(database, webhook, taken).id == given_up.id == receiver.messages[-1].id


def test_a_slow_endpoint_delays_neither_others_nor_doorbells(
    database: Database, spec: Make, receiver: Any, other: Any, sender: None, embedded: Servers
) -> None:
    released = threading.Event()

    def slow(_: Any) -> int:
        released.wait(60)
        return 200

    receiver.answer = slow
    slow_one, quick_one = add(database, receiver.url), add(database, other.url)
    for _ in range(3):
        cancelled(database, spec())
    try:
        assert len(other.wait(3)) == 3
        until(database, quick_one, taken)
        assert len(receiver.messages) == 1 and not any(map(taken, log(database, slow_one)))
        with database.transaction() as session:
            outbox.add(session, outbox.TRAIN, {})
        Dispatcher(database, broker.celery(embedded.redis_url)).doorbells.send()
        with database.transaction() as session:
            assert session.scalar(select(func.count()).select_from(Outbox)) == 0
    finally:
        released.set()
    assert len({message.id for message in receiver.wait(3)}) == 3


def test_an_endpoint_that_does_not_answer_in_time_has_failed(
    database: Database, spec: Make, receiver: Any, sender: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.dispatcher.webhook_sender.ATTEMPT_SECONDS", 0.3)
    released = threading.Event()
    receiver.answer = lambda _: 200 if released.wait(1) else 503
    webhook = add(database, receiver.url)
    cancelled(database, spec())
    failed = until(database, webhook, lambda row: row.error is not None)
    [entry] = failed.attempt_log
    assert entry["error"] == failed.error == "no answer within 0.3 s" and entry["status_code"] is None
    assert 0.3 <= entry["seconds"] < 30


def test_nothing_is_sent_to_a_private_address_unless_the_operator_allows_it(
    database: Database, spec: Make, receiver: Any, embedded: Servers
) -> None:
    webhook = add(database, receiver.url.replace("127.0.0.1", "localhost"))
    with sending(embedded, private=False):
        cancelled(database, spec())
        refused = until(database, webhook, lambda row: row.error is not None)
    assert "HONE_WEBHOOK_ALLOW_PRIVATE" in str(refused.error) and receiver.messages == []
    with sending(embedded):
        let_time_pass(database)
        until(database, webhook, taken)
    assert receiver.messages[0].headers["host"].startswith("localhost:")


def test_two_senders_make_each_delivery_once(database: Database, spec: Make, receiver: Any, embedded: Servers) -> None:
    webhook = add(database, receiver.url)
    for _ in range(20):
        cancelled(database, spec())
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(sending(embedded))
        receiver.wait(20)
        until(database, webhook, lambda _: all(map(taken, log(database, webhook))))
    assert len(receiver.messages) == len({message.id for message in receiver.messages}) == 20


def test_a_late_word_of_an_attempt_that_was_given_up_changes_nothing(database: Database, spec: Make) -> None:
    webhook = add(database, "http://127.0.0.1:1/")
    cancelled(database, spec())
    claimed = []
    for _ in range(2):
        let_time_pass(database)
        with database.transaction() as session:
            claimed += deliveries.claim(session, [], 10)
    for due, status in ((claimed[1], 200), (claimed[0], 500)):
        with database.transaction() as session:
            deliveries.record(session, due, deliveries.Outcome(status, None, 0.5))
    [delivery] = log(database, webhook)
    assert taken(delivery) and delivery.next_at is None and delivery.status_code == 200
    assert [(entry["attempt"], entry["status_code"]) for entry in delivery.attempt_log] == [(1, 500), (2, 200)]


def test_to_send_one_again_that_is_being_sent_sends_it_again_afterwards(database: Database, spec: Make) -> None:
    webhook = add(database, "http://127.0.0.1:9/")
    cancelled(database, spec())
    with database.transaction() as session:
        [first] = deliveries.claim(session, [], 10)
    with database.transaction() as session:
        deliveries.send_again(session, deliveries.get(session, webhook.id, first.id))
    with database.transaction() as session:
        deliveries.record(session, first, deliveries.Outcome(204, None, 0.5))
    with database.transaction() as session:
        [second] = deliveries.claim(session, [], 10)
        deliveries.record(session, second, deliveries.Outcome(204, None, 0.5))
    (delivery,) = log(database, webhook)
    assert taken(delivery) and delivery.next_at is None and delivery.attempts == 2
    assert [entry["attempt"] for entry in delivery.attempt_log] == [1, 2]


def test_every_attempt_is_kept_with_its_answer_newest_last(
    database: Database, spec: Make, receiver: Any, sender: None
) -> None:
    answers = iter([500, 503, 307, 204])
    receiver.answer = lambda _: next(answers)
    webhook = add(database, receiver.url)
    cancelled(database, spec())
    for status in (500, 503, 307):
        until(database, webhook, partial(answered, status))
        let_time_pass(database)
    kept = until(database, webhook, taken).attempt_log
    assert [(entry["attempt"], entry["status_code"]) for entry in kept] == [(1, 500), (2, 503), (3, 307), (4, 204)]
    assert [entry["error"] for entry in kept] == [*(f"answered {n}, not 2xx" for n in (500, 503, 307)), None]
    begun = [datetime.fromisoformat(entry["at"]).timestamp() for entry in kept]
    assert begun == sorted(begun) and begun[-1] == pytest.approx(time.time(), abs=10)
    assert all(0 < entry["seconds"] < 5 for entry in kept)


def test_of_very_many_attempts_the_latest_fifty_are_kept(database: Database, spec: Make) -> None:
    webhook = add(database, "http://127.0.0.1:1/")
    cancelled(database, spec())
    for _ in range(51):
        let_time_pass(database)
        with database.transaction() as session:
            [due] = deliveries.claim(session, [], 10)
            deliveries.record(session, due, deliveries.Outcome(None, "refused", 0.1))
    [delivery] = log(database, webhook)
    assert [entry["attempt"] for entry in delivery.attempt_log] == [*range(2, 52)] and delivery.attempts == 51


def test_a_job_moves_while_its_webhook_is_being_removed(database: Database, spec: Make) -> None:
    webhook = add(database, "http://127.0.0.1:1/")
    with database.transaction() as session:
        job_id = commands.submit(session, commands.Requester("ada"), spec(), []).id

    def move() -> None:
        with database.transaction() as session:
            commands.cancel(session, "ada", job_id)

    moving = threading.Thread(target=move)
    with database.transaction() as session:
        commands.delete_webhook(session, "ada", webhook.id)
        session.flush()
        moving.start()
        time.sleep(0.3)
    moving.join(60)
    with database.transaction() as session:
        assert jobs.get(session, job_id, "ada").status == "cancelled"
        assert session.scalar(select(func.count()).select_from(Delivery)) == 0
