"""Messages on their way: sent once, repeated under the same id, tried again, given up; and one channel apart from another."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from controller.informers import notifier as informer
from controller.notify.channels import Channels, NotifierSecrets
from controller.notify.undelivered import Undelivered
from controller.store import notifications
from tests.integration.notify_world import PREFIX, Receiver, RecordedTopics, desk, receiver, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.store.notifications import Claimed
    from tests.conftest import Database
    from tests.integration.notify_world import Desk

SLACK: dict[str, Any] = {"slack": {"urlSecret": "oncall"}}
LATER = timedelta(minutes=20)


@pytest.fixture
def slack() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def office(database: Database, slack: Receiver) -> Iterator[Desk]:
    with desk(database, oncall=slack.url) as made:
        yield made


def test_a_message_goes_out_once(office: Desk, slack: Receiver) -> None:
    office.due(office.notifier("oncall", **SLACK))
    deliverer = office.deliverer()
    assert office.round(deliverer) == 1
    assert office.round(deliverer) == 0

    (got,) = slack.received
    assert got.path == "/services/T0/B0/the-secret-part"
    assert got.headers["Idempotency-Key"] == "nt-oncall-1"
    assert got.body["text"] == (
        "flights failed: load: Run flights-0192 of DAG flights failed after 3 min 20 s, at 2026-03-02 08:03:20 UTC."
    )
    texts = [block["text"]["text"] for block in got.body["blocks"]]
    assert texts[0] == "flights failed: load"
    assert texts[2] == "```load: UserError: ValueError: a &lt;bad&gt; row &amp; more```"
    assert texts[3].startswith("`setpoint explain run/flights-0192`  <https://pipelines.example.com/apis/")
    assert office.pending() == 0
    assert office.state("nt-oncall")[:2] == (0, None)
    assert office.state("nt-oncall")[3] is not None


def test_two_dispatchers_at_once_send_each_message_once(office: Desk, slack: Receiver) -> None:
    office.due(office.notifier("oncall", **SLACK), 20)
    deliverers = [office.deliverer(), office.deliverer()]
    while office.pending():
        office.round(*deliverers)
    assert sorted(slack.ids()) == sorted(f"nt-oncall-{n}" for n in range(1, 21))


def test_a_crash_between_sending_and_marking_repeats_the_same_message(
    office: Desk, slack: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.due(office.notifier("oncall", **SLACK))
    with monkeypatch.context() as patch:

        def crash(*_: object) -> bool:
            raise psycopg.OperationalError("the connection is lost")

        patch.setattr(notifications, "sent", crash)
        office.round(office.deliverer())
    assert (slack.ids(), office.pending()) == (["nt-oncall-1"], 1)

    survivor = office.deliverer()
    assert office.round(survivor) == 0, "its lease still runs"
    office.clock.by += informer.LEASE
    assert office.round(survivor) == 1
    first, second = slack.received
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert first.body == second.body
    assert office.pending() == 0


def test_who_is_slower_than_his_lease_marks_nothing(office: Desk) -> None:
    office.due(office.notifier("oncall", **SLACK))
    with office.pool.connection() as connection:
        now = office.clock.now(connection)
        (slow,) = notifications.claim(connection, now, informer.LEASE, [], 1, 1)
        (fast,) = notifications.claim(connection, now + informer.LEASE, informer.LEASE, [], 1, 1)
        assert (slow.id, slow.tries, fast.tries) == (fast.id, 1, 2)
        assert not notifications.sent(connection, slow, now)
        assert notifications.sent(connection, fast, now)
        assert not notifications.sent(connection, fast, now)


@pytest.mark.parametrize("status", [400, 403, 404, 410, 500, 503, 301])
def test_a_refusal_is_tried_again(office: Desk, slack: Receiver, status: int) -> None:
    slack.answers = [(status, {"Location": "http://169.254.169.254/latest/meta-data"})]
    office.due(office.notifier("oncall", **SLACK))
    deliverer = office.deliverer()
    office.round(deliverer)
    failures, reason, error, sent = office.state("nt-oncall")
    assert (failures, reason, sent) == (1, "DeliveryFailed", None)
    assert error == f"127.0.0.1 answered {status}: no_service"
    assert office.round(deliverer) == 0

    office.clock.by += LATER
    assert office.round(deliverer) == 1
    assert slack.ids() == ["nt-oncall-1"] * 2
    assert office.state("nt-oncall")[:2] == (0, None)


def test_who_asks_for_time_gets_it(office: Desk, slack: Receiver) -> None:
    slack.answers = [(429, {"Retry-After": "1800"})]
    office.due(office.notifier("oncall", **SLACK), 5)
    deliverer = office.deliverer()
    office.round(deliverer)
    sent = len(slack.received)
    for _ in range(2):
        office.clock.by += timedelta(minutes=14)
        assert office.round(deliverer) == 0, "nothing at all goes to the channel meanwhile"
    office.clock.by += timedelta(minutes=3)
    while office.pending():
        office.clock.by += timedelta(minutes=1)
        office.round(deliverer)
    assert len(slack.received) == 6
    assert sent <= informer.EACH_LIMIT


def test_a_channel_that_is_dead_is_tried_by_one_message_at_a_time(office: Desk, slack: Receiver) -> None:
    slack.answers = [(500, {})] * 6
    office.due(office.notifier("oncall", **SLACK), 100)
    deliverer = office.deliverer()
    office.round(deliverer)
    before = len(slack.received)
    assert before <= informer.EACH_LIMIT
    for _ in range(3):
        office.clock.by += timedelta(minutes=1)
        assert office.round(deliverer) == 1


def test_a_channel_that_hangs_holds_up_no_other(office: Desk, slack: Receiver) -> None:
    with receiver() as dead:
        dead.hangs = threading.Event()
        office.secrets.known[PREFIX + "dead"] = dead.url
        office.due(office.notifier("dead", slack={"urlSecret": "dead"}), 50)
        office.due(office.notifier("oncall", **SLACK), 10)
        deliverer = office.deliverer()

        def all_but_the_dead() -> bool:
            deliverer.look()
            return len(slack.received) == 10

        wait_until(all_but_the_dead)
        assert len(dead.received) <= informer.EACH_LIMIT
        dead.hangs.set()
        wait_until(lambda: not deliverer.sending())


def test_what_nobody_took_for_a_day_is_given_up_and_told(office: Desk, slack: Receiver) -> None:
    slack.answers = [(500, {})] * 2
    office.due(office.notifier("oncall", **SLACK))
    deliverer = office.deliverer()
    office.round(deliverer)
    office.clock.by += timedelta(hours=25)
    office.round(deliverer)
    office.clock.by += timedelta(hours=25)
    assert office.round(deliverer) == 0
    assert len(slack.received) == 2
    ((kind, name, reason, message),) = office.execute("SELECT kind, name, reason, message FROM event")
    assert (kind, name, reason) == ("Notifier", "oncall", "GaveUp")
    assert message.startswith("RunFailed of flights-0192 was not told after 2 tries: 127.0.0.1 answered 500")


def test_a_secret_that_is_missing_and_then_created(office: Desk, slack: Receiver) -> None:
    uid = office.notifier("new", slack={"urlSecret": "new"})
    deliverer = office.deliverer()
    deliverer.check()
    missing = f"the secret {PREFIX}new does not exist or is empty; create it in Secrets Manager"
    assert office.state(uid)[:3] == (1, "SecretMissing", missing)
    office.clock.by += timedelta(minutes=1)
    office.due(uid)
    office.round(deliverer)
    assert office.state(uid)[1] == "SecretMissing"

    office.secrets.known[PREFIX + "new"] = slack.url
    deliverer.check()
    assert office.state(uid)[:2] == (0, None)
    office.clock.by += timedelta(minutes=2)
    assert office.round(deliverer) == 1
    assert slack.ids() == ["nt-new-1"]


def test_a_secret_that_changed_is_read_again_when_it_no_longer_works(office: Desk, slack: Receiver) -> None:
    office.due(office.notifier("oncall", **SLACK), 2)
    deliverer = office.deliverer()
    with receiver() as old:
        old.answers = [(404, {})] * 2
        office.secrets.known[PREFIX + "oncall"] = old.url
        office.round(deliverer)
    office.secrets.known[PREFIX + "oncall"] = slack.url
    office.clock.by += timedelta(seconds=30)
    while office.pending():
        office.clock.by += timedelta(seconds=30)
        office.round(deliverer)
    assert sorted(slack.ids()) == ["nt-oncall-1", "nt-oncall-2"]


def test_neither_log_nor_row_holds_the_secret(office: Desk, slack: Receiver, capfd: pytest.CaptureFixture[str]) -> None:
    slack.answers = [(500, {})]
    office.secrets.known[PREFIX + "bad"] = "not a url the-secret-part"
    office.due(office.notifier("oncall", **SLACK))
    office.due(office.notifier("bad", slack={"urlSecret": "bad"}))
    office.round(office.deliverer())
    rows = office.execute(
        "SELECT to_jsonb(n)::text FROM notification n UNION SELECT to_jsonb(s)::text FROM notifier_state s"
    )
    told = capfd.readouterr()
    assert "did not go out" in told.out + told.err
    for text in (told.out, told.err, *(row[0] for row in rows)):
        assert "the-secret-part" not in text


@pytest.mark.parametrize(
    ("url", "error"),
    [
        pytest.param("http://example.com/hook", "only https is used", id="not encrypted"),
        pytest.param("https://169.254.169.254/latest", "where no receiver may be", id="instance metadata"),
        pytest.param("https://169.254.170.2/v2/credentials", "where no receiver may be", id="task credentials"),
        pytest.param("https://[fd00:ec2::254]/latest", "where no receiver may be", id="instance metadata, IPv6"),
        pytest.param("https://[::ffff:169.254.169.254]/latest", "where no receiver may be", id="IPv4 in IPv6"),
        pytest.param("https://2852039166/latest", "where no receiver may be", id="an address as one number"),
        pytest.param("https://[fe80::1]/", "where no receiver may be", id="link-local"),
        pytest.param("https://0.0.0.0/", "where no receiver may be", id="unspecified"),
        pytest.param("file:///etc/passwd", "no URL of a webhook", id="a file"),
        pytest.param("https://", "no URL of a webhook", id="no host"),
        pytest.param("https://host:port/", "no URL of a webhook", id="no port"),
        pytest.param("http://127.0.0.1:1/\r\nX: y", "no URL of a webhook", id="a line break"),
        pytest.param("http://127.0.0.1:1/hook", "cannot be reached", id="nobody there"),
        pytest.param("https://nowhere.invalid/", "cannot be resolved", id="no such host"),
    ],
)
def test_where_a_webhook_may_not_lead(office: Desk, url: str, error: str) -> None:
    office.secrets.known[PREFIX + "oncall"] = url
    office.due(office.notifier("oncall", **SLACK))
    office.round(office.deliverer())
    assert error in office.state("nt-oncall")[2]


def test_what_breaks_in_a_channel_stays_there(office: Desk) -> None:
    class Broken(Channels):
        def send(self, claimed: Claimed) -> None:
            raise ZeroDivisionError(claimed.id)

    office.due(office.notifier("oncall", **SLACK))
    office.round(office.deliverer(Broken(NotifierSecrets(office.secrets, PREFIX, lambda: 0.0), RecordedTopics())))
    assert office.state("nt-oncall")[:3] == (1, "DeliveryFailed", "ZeroDivisionError while it was sent")


def test_a_message_that_no_receiver_takes_holds_up_no_other(office: Desk) -> None:
    topics = RecordedTopics()

    class Picky(Channels):
        def send(self, claimed: Claimed) -> None:
            if claimed.id.endswith("-1"):
                raise Undelivered("it is malformed")
            super().send(claimed)

    office.due(office.notifier("topic", sns={"topicArn": "arn:aws:sns:eu-west-1:123456789012:t"}), 10)
    deliverer = office.deliverer(Picky(NotifierSecrets(office.secrets, PREFIX, lambda: 0.0), topics))
    for _ in range(40):
        office.round(deliverer)
        office.clock.by += timedelta(seconds=5)
    assert sorted(id_ for _, id_ in topics.published) == sorted(f"nt-topic-{n}" for n in range(2, 11))


def test_the_thread_delivers_a_burst_while_it_leads(office: Desk, slack: Receiver) -> None:
    office.due(office.notifier("oncall", **SLACK), 200)
    deliverer = office.deliverer()
    deliverer.start()
    wait_until(lambda: office.pending() == 0)
    deliverer.stop(10)
    assert sorted(slack.ids()) == sorted(f"nt-oncall-{n}" for n in range(1, 201))


def test_what_is_done_is_swept(office: Desk) -> None:
    office.due(office.notifier("oncall", **SLACK), 2)
    office.execute("UPDATE notification SET sent_at = now() WHERE id = 'nt-oncall-1'")
    with office.pool.connection() as connection:
        now = office.clock.now(connection)
        assert notifications.sweep(connection, now - timedelta(days=1), 10) == 0
        assert notifications.sweep(connection, now + timedelta(days=1), 10) == 1
        assert notifications.backlog(connection, now)[0] == 1
