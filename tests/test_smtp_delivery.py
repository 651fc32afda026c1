"""The delivery worker: exactly once, a fate for each recipient, reports that others can read, and storage that fails."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import comes

from gk.accounts.directory import Account, Directory
from gk.core.config import Settings
from gk.core.database import Database, DatabaseError, StorageFull, Transaction
from gk.core.hub import Hub
from gk.mail.entries import Entry
from gk.mail.folders import MailboxError
from gk.mail.ingest import Delivery
from gk.mail.mailbox import Mailboxes
from gk.mail.queue import Queue, Result, Submission
from gk.office import Office
from gk.smtp import delivery
from gk.smtp.delivery import DeliveryWorker, pause, reply_verdict
from gk.smtp.outside import OutsideWorld

TEXT = "From: carol@elsewhere.example\r\nMessage-ID: <{0}@elsewhere.example>\r\nSubject: {0}\r\n\r\nBonjour.\r\n"


class House:
    """alice and bob, a queue, a worker that is asked to work, and a clock that is moved by hand."""

    def __init__(self, folder: Path, relay: tuple[str, int] | None = None, **mail: Any) -> None:
        self.folder, self.now = folder, 1_700_000_000.0
        self.settings = Settings(data=folder, hostname="mx.example.test", mail=mail)
        self.relay = relay
        self.people: dict[str, Account] = {}

    async def open(self) -> House:
        self.database = Database.open(self.folder)
        self.hub = Hub(self.database)
        self.directory = Directory(self.database, self.hub)
        self.mailboxes = Mailboxes(self.database, self.folder / "mail", self.settings)
        self.queue = Queue(self.database, self.folder / "spool", lambda: self.now)
        self.worker = DeliveryWorker(
            self.settings, self.queue, self.mailboxes, self.directory, self.hub, self.relay, lambda: self.now
        )  # fmt: skip
        if not await self.directory.domains():
            await self.directory.add_domain("example.test")
            for name in ("alice", "bob"):
                await self.directory.add_account(f"{name}@example.test", name=name.title())
        self.people = {account.address.partition("@")[0]: account for account in await self.directory.accounts()}
        return self

    async def close(self) -> None:
        await self.worker.stop()
        await self.mailboxes.close()
        await asyncio.to_thread(self.database.close)

    async def submit(
        self, subject: str, *to: str, sender: str = "carol@elsewhere.example", data: bytes | Path | None = None
    ) -> int:
        recipients = [(f"{who}@example.test", self.people[who].id) if who in self.people else (who, None) for who in to]
        account = self.people.get(sender.partition("@")[0])
        content = data if data is not None else TEXT.format(subject).encode()
        return await self.queue.submit(Submission(sender, recipients, content, "smtp", account.id if account else None))

    async def deliver(self) -> None:
        while await self.worker.rounds.once() is not None:
            await asyncio.gather(*self.worker.rounds.remote.talks)

    async def inbox(self, who: str) -> list[bytes]:
        try:
            box = await self.mailboxes.folders.get(self.people[who].id, "INBOX")
        except MailboxError:
            return []
        return [await self.mailboxes.bodies.raw(entry, box) for entry in (await self.mailboxes.views.get(box.id)).entries]

    async def subjects(self, who: str) -> list[str]:
        return [str(email.message_from_bytes(mail)["Subject"]) for mail in await self.inbox(who)]

    async def statuses(self) -> dict[str, int]:
        return {
            state: count for state, count in (await self.queue.status(self.now)).items() if count and state != "oldest_seconds"
        }


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    opened = await House(tmp_path).open()
    yield opened
    await opened.close()


@pytest.fixture
async def outside(tmp_path: Path) -> AsyncIterator[OutsideWorld]:
    world = OutsideWorld(tmp_path / "outside")
    await world.start()
    yield world
    await world.stop()


@pytest.fixture
async def connected(tmp_path: Path, outside: OutsideWorld) -> AsyncIterator[House]:
    opened = await House(tmp_path, outside.address).open()
    yield opened
    await opened.close()


# here


async def test_return_path_is_the_envelope_sender_and_comes_first(house: House) -> None:
    await house.submit("one", "alice")
    await house.submit("two", "alice", sender="")
    await house.deliver()
    first, second = await house.inbox("alice")
    assert first.startswith(b"Return-Path: <carol@elsewhere.example>\r\nFrom:")
    assert second.startswith(b"Return-Path: <>\r\n")
    assert await house.statuses() == {"sent": 2}


async def test_order_is_kept_and_a_hundred_and_one_need_two_batches(house: House) -> None:
    for number in range(101):
        await house.submit(f"n{number}", "alice")
    assert await house.worker.rounds.once()
    assert len(await house.inbox("alice")) == 100
    await house.deliver()
    assert await house.subjects("alice") == [f"n{number}" for number in range(101)]


@pytest.mark.parametrize("moment", ["before", "after files", "after commit"])
async def test_exactly_once_through_a_crash(tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies at this moment; the next one takes over. (tests/test_crash.py does it with kill -9.)"""

    class Killed(BaseException):
        pass

    first = await House(tmp_path).open()
    for number in range(5):
        await first.submit(f"n{number}", "alice", "bob")
    real = first.mailboxes.ingest.deliver

    async def deliver(items: list[Delivery], also: Callable[[Transaction, list[Any]], None]) -> list[Any]:
        def dying(tx: Transaction, outcomes: list[Any]) -> None:
            also(tx, outcomes)
            if moment == "after files":
                raise Killed

        if moment == "before":
            raise Killed
        await real(items, dying)
        raise Killed

    async def left_behind(storage: object, arrivals: object) -> None:
        pass

    first.mailboxes.ingest.deliver = deliver  # type: ignore[method-assign, assignment]
    monkeypatch.setattr("gk.mail.ingest.take_back", left_behind)
    with pytest.raises(Killed):
        await first.worker.rounds.once()
    first.database.close()

    second = await House(tmp_path).open()
    await second.queue.recover()
    await second.deliver()
    for who in ("alice", "bob"):
        assert await second.subjects(who) == [f"n{number}" for number in range(5)]
    assert await second.statuses() == {"sent": 10}
    assert len(list((tmp_path / "mail").rglob("*.gk*"))) == 10, "and no file too many"
    await second.close()


async def test_large_message_from_the_spool_and_the_spool_is_empty_afterwards(house: House) -> None:
    spool = house.queue.spool()
    spool.write(TEXT.format("large").encode() + b"x" * 70 + b"\r\n")
    for _ in range(100):
        spool.write((b"y" * 78 + b"\r\n") * 100)
    await house.submit("large", "alice", "bob", data=spool.finish())
    await house.deliver()
    assert [len(mail) for mail in await house.inbox("alice")] == [len(mail) for mail in await house.inbox("bob")]
    assert (await house.inbox("alice"))[0].endswith(b"y" * 78 + b"\r\n")
    await house.queue.tidy()
    assert list((house.folder / "spool").iterdir()) == []


# a fate for each recipient


async def test_over_quota_waits_and_is_told_in_the_end_while_the_others_get_theirs(tmp_path: Path) -> None:
    house = await House(tmp_path, quota_bytes=100_000).open()
    await house.submit("filling", "alice", data=b"Subject: filling\r\n\r\n" + b"x" * 90_000 + b"\r\n")
    await house.deliver()
    await house.submit(
        "too much", "alice", "bob", sender="bob@example.test", data=b"Subject: too much\r\n\r\n" + b"x" * 20_000 + b"\r\n"
    )
    await house.deliver()
    assert await house.subjects("bob") == ["too much"]
    assert await house.statuses() == {"pending": 1, "sent": 2}
    tries = 0
    while (await house.queue.status(house.now))["pending"]:
        house.now = await house.queue.next_due() or house.now
        await house.deliver()
        tries += 1
    assert tries == 5
    assert await house.subjects("alice") == ["filling"]
    assert await house.subjects("bob") == ["too much", "Undelivered: too much"]
    assert (await house.statuses())["bounced"] == 1
    await house.close()


async def test_room_made_in_time_is_enough(tmp_path: Path) -> None:
    house = await House(tmp_path, quota_bytes=100_000).open()
    await house.submit("filling", "alice", data=b"Subject: filling\r\n\r\n" + b"x" * 95_000 + b"\r\n")
    await house.deliver()
    await house.submit("later", "alice", data=b"Subject: later\r\n\r\n" + b"x" * 20_000 + b"\r\n")
    await house.deliver()
    box = await house.mailboxes.folders.get(house.people["alice"].id, "INBOX")
    await house.mailboxes.entries.store(box.id, [1], "add", 8)
    await house.mailboxes.entries.expunge(box.id)
    house.now = await house.queue.next_due() or house.now
    await house.deliver()
    assert await house.subjects("alice") == ["later"]
    await house.close()


async def test_account_that_vanished_between_250_and_delivery(house: House) -> None:
    await house.submit("too late", "alice", "bob", sender="bob@example.test")
    await house.submit("from a stranger", "alice")
    await house.directory.delete_account("alice@example.test")
    await house.deliver()
    assert await house.subjects("bob") == ["too late", "Undelivered: too late"]
    assert (await house.statuses()) == {"sent": 2, "bounced": 1, "failed": 1}, "a stranger cannot be told: nothing goes outside"


async def test_rfc5321_6_1_null_sender_is_never_told(house: House) -> None:
    await house.submit("a report", "alice", sender="")
    await house.directory.delete_account("alice@example.test")
    await house.deliver()
    assert await house.statuses() == {"failed": 1}
    assert len(await house.queue.history()) == 1


async def test_sender_that_is_an_alias_is_told_where_it_leads(connected: House) -> None:
    await connected.directory.add_alias("team@example.test", "alice@example.test")
    await connected.submit("hello", "nobody@outside.example", sender="team@example.test")
    await connected.deliver()
    assert await connected.subjects("alice") == ["Undelivered: hello"]


async def test_sender_outside_is_told_where_there_is_an_outside(connected: House, outside: OutsideWorld) -> None:
    await connected.submit("hello", "alice")
    await connected.directory.delete_account("alice@example.test")
    await connected.deliver()
    (kept,) = outside.messages()
    assert (kept.sender, kept.recipients) == ("", ("carol@elsewhere.example",))


async def test_one_report_for_all_mailboxes_that_refused_a_message(house: House) -> None:
    """Each of them once made a report of its own: a mail to a hundred full mailboxes was a hundred mails to its sender."""
    await house.directory.add_account("erin@example.test", name="Erin")
    house.people["erin"] = (await house.directory.accounts())[-1]
    await house.submit("hello", "alice", "bob", sender="erin@example.test")
    for name in ("alice", "bob"):
        await house.directory.delete_account(f"{name}@example.test")
    await house.deliver()
    (report,) = await house.inbox("erin")
    assert report.count(b"Final-Recipient:") == 2


async def test_nobody_delivers_outside_without_a_relay(house: House) -> None:
    await house.submit("hello", "dave@outside.example", sender="alice@example.test")
    await house.deliver()
    assert await house.subjects("alice") == ["Undelivered: hello"]


# reports


async def test_rfc3464_the_report_is_read_by_the_standard_library(connected: House) -> None:
    await connected.submit("Été", "nobody@outside.example", "alice", sender="bob@example.test")
    await connected.deliver()
    (raw,) = await connected.inbox("bob")
    report = email.message_from_bytes(raw, policy=email.policy.default)
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    assert report["Return-Path"] == "<>"
    assert report["Auto-Submitted"] == "auto-replied"
    assert "bob@example.test" in str(report["To"])
    assert str(report["In-Reply-To"]) == "<Été@elsewhere.example>" or report["Message-ID"]
    _, status, original = report.iter_parts()
    per_message, *per_recipient = status.get_payload()
    assert per_message["Reporting-MTA"] == "dns; mx.example.test"
    assert [(one["Final-Recipient"], one["Action"], one["Status"]) for one in per_recipient] == [
        ("rfc822; nobody@outside.example", "failed", "5.1.1")
    ]
    assert original.get_content_type() in ("text/rfc822-headers", "message/rfc822")


async def test_one_report_for_all_recipients_of_one_attempt(connected: House) -> None:
    await connected.submit("hello", "nobody@a.example", "nobody@b.example", "dave@c.example", sender="bob@example.test")
    await connected.deliver()
    (raw,) = await connected.inbox("bob")
    assert raw.count(b"Final-Recipient:") == 2
    assert (await connected.statuses()) == {"sent": 2, "bounced": 2}


async def test_a_report_that_cannot_be_made_holds_nothing_up(connected: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> bytes:
        raise ValueError("a bug")

    monkeypatch.setattr(delivery, "bounce", broken)
    await connected.submit("hello", "nobody@a.example", sender="bob@example.test")
    await connected.deliver()
    assert await connected.statuses() == {"failed": 1}


# outside


async def test_each_recipient_gets_the_reply_meant_for_it(connected: House, outside: OutsideWorld) -> None:
    number = await connected.submit("hello", "dave@a.example", "nobody@a.example", "busy@a.example", sender="bob@example.test")
    await connected.deliver()
    found = {outcome.address: (outcome.status, outcome.reply[:5]) for outcome in await connected.queue.history(number)}
    assert found == {
        "dave@a.example": ("sent", "2.0.0"),
        "nobody@a.example": ("bounced", "5.1.1"),
        "busy@a.example": ("pending", "4.2.1"),
    }
    (kept,) = outside.messages()
    assert kept.recipients == ("dave@a.example",)
    assert kept.sender == "bob@example.test"


async def test_a_relay_that_is_down_is_tried_again_and_found(tmp_path: Path) -> None:
    world = OutsideWorld(tmp_path / "outside")
    await world.start()
    address = world.address
    await world.stop()
    house = await House(tmp_path, address).open()
    await house.submit("hello", "dave@a.example", sender="bob@example.test")
    await house.deliver()
    assert await house.statuses() == {"pending": 1}
    await world.start()
    house.worker.rounds.remote.relay = world.address
    house.now = await house.queue.next_due() or house.now
    await house.deliver()
    assert await house.statuses() == {"sent": 1}
    assert len(world.messages()) == 1
    await world.stop()
    await house.close()


async def test_a_relay_that_refuses_the_message_itself(tmp_path: Path) -> None:
    class Picky(OutsideWorld):
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            return "554 5.6.0 Not this one"

    world = Picky(tmp_path / "outside")
    await world.start()
    house = await House(tmp_path, world.address).open()
    await house.submit("hello", "dave@a.example", "nobody@a.example", "erin@a.example", sender="bob@example.test")
    await house.deliver()
    assert await house.statuses() == {"sent": 1, "bounced": 3}
    (raw,) = await house.inbox("bob")
    assert (raw.count(b"Status: 5.6.0"), raw.count(b"Status: 5.1.1"), raw.count(b"Final-Recipient:")) == (2, 1, 3)
    await world.stop()
    await house.close()


async def test_international_addresses_need_smtputf8_on_the_way(connected: House, outside: OutsideWorld) -> None:
    await connected.queue.submit(
        Submission("žofie@example.test", [("dave@bücher.example", None)], TEXT.format("x").encode(), "web", smtputf8=True)
    )
    await connected.submit("y", "dave@bücher.example", sender="bob@example.test")
    await connected.deliver()
    assert {(kept.sender, kept.recipients) for kept in outside.messages()} == {
        ("žofie@example.test", ("dave@xn--bcher-kva.example",)),
        ("bob@example.test", ("dave@xn--bcher-kva.example",)),
    }


@pytest.mark.parametrize(
    ("code", "text", "fate", "status"),
    [
        (250, "2.0.0 Ok", "sent", "2.0.0"),
        (250, "Ok", "sent", "2.0.0"),
        (421, "4.3.2 later", "later", "4.3.2"),
        (450, "", "later", "4.0.0"),
        (550, "5.1.1 no\nsuch", "never", "5.1.1"),
        (554, "no", "never", "5.0.0"),
    ],
)
def test_replies(code: int, text: str, fate: str, status: str) -> None:
    verdict = reply_verdict(None, code, text)  # type: ignore[arg-type]
    assert (verdict.fate, verdict.status) == (fate, status)
    assert "\n" not in verdict.text


async def test_a_relay_that_hangs_up_instead_of_saying_goodbye_gets_nothing_twice(tmp_path: Path) -> None:
    """Its 250 stands. What happened at QUIT was once taken for a failure of the whole conversation."""
    taken = []

    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 rude.example\r\n")
        async for line in reader:
            if line.startswith(b"QUIT"):
                writer.transport.abort()
                return
            if line.startswith(b"DATA"):
                writer.write(b"354 Go on\r\n")
                taken.append(await reader.readuntil(b"\r\n.\r\n"))
            writer.write(b"550 5.1.1 No\r\n" if b"nobody" in line else b"250 2.0.0 Ok\r\n")

    server = await asyncio.start_server(rude, "127.0.0.1", 0)
    house = await House(tmp_path, server.sockets[0].getsockname()).open()
    await house.submit("hello", "dave@a.example", "nobody@a.example", sender="bob@example.test")
    await house.deliver()
    assert await house.statuses() == {"sent": 2, "bounced": 1}, "dave, and bob's report"
    assert len(taken) == 1
    server.close()
    await house.close()


# storage that fails, and the unforeseen


def large(house: House, text: str) -> Path:
    """A message with a file of its own."""
    spool = house.queue.spool()
    spool.write(TEXT.format(text).encode() + (b"y" * 78 + b"\r\n") * 5000)
    return spool.finish()


@pytest.mark.parametrize("how", ["missing", "cut off"])
@pytest.mark.parametrize("to", ["alice", "dave@a.example"])
async def test_a_stored_message_that_is_damaged_waits_and_its_sender_is_told_in_the_end(
    connected: House, outside: OutsideWorld, how: str, to: str
) -> None:
    """Not half a message, not "the mailbox does not exist", and nobody else waits for it."""
    file = large(connected, "precious")
    number = await connected.submit("precious", to, sender="bob@example.test", data=file)
    await connected.submit("beside it", "alice")
    whole = file.read_bytes()
    file.unlink()
    if how == "cut off":
        file.write_bytes(whole[:4096])
    await connected.deliver()
    assert await connected.subjects("alice") == ["beside it"] and outside.messages() == []
    (outcome,) = await connected.queue.history(number)
    assert outcome.status == "pending" and outcome.reply.startswith("4.3.0 ") and "stored message" in outcome.reply
    while due := await connected.queue.next_due():
        connected.now = due
        await connected.deliver()
    assert (await connected.queue.history(number))[0].status == "bounced"
    (report,) = await connected.inbox("bob")
    assert b"5.3.0" in report and (b"precious" in report) == (how == "cut off")
    assert outside.messages() == []


async def test_a_stored_message_that_is_brought_back_in_time_arrives(house: House) -> None:
    file = large(house, "precious")
    await house.submit("precious", "alice", data=file)
    away = file.rename(house.folder / "away")
    await house.deliver()
    away.rename(file)
    house.now = await house.queue.next_due() or house.now
    await house.deliver()
    assert await house.subjects("alice") == ["precious"]


async def test_one_mailbox_that_cannot_be_written_holds_up_nobody_else(house: House) -> None:
    """Somebody put a file where alice's folder was: her mail waits for the day it is repaired, bob's does not."""
    await house.submit("one", "alice", "bob")
    await house.deliver()
    folder = house.folder / "mail" / str(house.people["alice"].id)
    aside = folder.rename(house.folder / "aside")
    folder.write_text("what is this?")
    for _ in range(10):  # more often than there are attempts
        await house.submit("two", "alice", "bob", sender="bob@example.test")
        await house.deliver()
        house.now += 61
    assert await house.subjects("bob") == ["one"] + ["two"] * 10
    assert (await house.statuses())["pending"] == 10, "our own disk makes no bounce"
    folder.unlink()
    aside.rename(folder)
    await house.deliver()
    assert await house.subjects("alice") == ["one"] + ["two"] * 10


async def test_a_clock_that_is_put_back_delays_by_an_hour_at_most(house: House) -> None:
    await house.submit("before", "alice")
    house.now -= 3000.0
    await house.submit("after", "alice")
    await house.deliver()
    assert await house.subjects("alice") == ["after"]
    house.now += 3000.0
    await house.deliver()
    assert await house.subjects("alice") == ["after", "before"]
    await house.submit("from the future", "alice")
    house.now -= 10 * 365 * 86_400.0
    await house.deliver()
    assert await house.subjects("alice") == ["after", "before", "from the future"]


@pytest.mark.parametrize("error", [StorageFull("no space"), DatabaseError("broken"), OSError(5, "Input/output error")])
async def test_our_own_disk_never_makes_a_bounce(house: House, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    await house.submit("hello", "alice", sender="bob@example.test")

    async def fail(items: object, also: object) -> list[Entry]:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(house.mailboxes.ingest, "deliver", fail)
        for _ in range(10):  # more often than there are attempts
            await house.deliver()
            house.now += 61
            assert await house.statuses() == {"pending": 1}
    await house.deliver()
    assert await house.subjects("alice") == ["hello"]
    assert await house.subjects("bob") == []


async def test_a_fate_that_could_not_be_written_is_written_later_and_nothing_is_sent_twice(
    connected: House, outside: OutsideWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connected.submit("hello", "dave@a.example", sender="bob@example.test")
    real = connected.database.write
    failing = True

    async def write(work: Callable[[Transaction], Any]) -> Any:
        if failing and getattr(work, "func", None) is delivery.enter:
            raise StorageFull("no space")
        return await real(work)

    monkeypatch.setattr(connected.database, "write", write)
    assert await connected.worker.rounds.once()
    await asyncio.gather(*connected.worker.rounds.remote.talks)
    assert await connected.statuses() == {"sending": 1}
    with pytest.raises(StorageFull):
        await connected.worker.rounds.once()
    failing = False
    await connected.deliver()
    assert await connected.statuses() == {"sent": 1}
    assert len(outside.messages()) == 1


async def test_one_message_that_cannot_be_handled_does_not_hold_up_its_batch(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("good one", "poison", "good two"):
        await house.submit(name, "alice", sender="bob@example.test")
    real = house.mailboxes.ingest.deliver

    async def fragile(items: list[Delivery], also: Any) -> Any:
        if any(
            b"Subject: poison" in item.data and b"Undelivered" not in item.data for item in items if isinstance(item.data, bytes)
        ):
            raise RuntimeError("a bug")
        return await real(items, also)

    monkeypatch.setattr(house.mailboxes.ingest, "deliver", fragile)
    await house.deliver()
    assert await house.subjects("alice") == ["good one", "good two"]
    assert await house.statuses() == {"pending": 1, "sent": 2}
    while (await house.queue.status(house.now))["pending"]:
        house.now = await house.queue.next_due() or house.now
        await house.deliver()
    assert await house.subjects("bob") == ["Undelivered: poison"]


# the running worker


async def test_the_worker_wakes_for_what_comes_and_for_what_is_due(tmp_path: Path, outside: OutsideWorld) -> None:
    house = await House(tmp_path, outside.address).open()
    await house.worker.start()

    async def until(states: dict[str, int]) -> None:
        async def there() -> bool:
            return await house.statuses() == states

        await comes(there)

    await house.submit("one", "alice")
    await until({"sent": 1})
    await house.submit("two", "busy@a.example", sender="alice@example.test")
    await until({"sent": 1, "pending": 1})
    outside.verdict = lambda address: "250 2.1.5 Ok"
    house.now += 121
    house.hub.publish("queue")
    await until({"sent": 2})
    await house.close()


async def test_start_takes_up_what_a_crash_left_behind(house: House) -> None:
    await house.submit("left", "alice")
    assert len(await house.queue.claim(10, house.now)) == 1
    await house.deliver()
    assert await house.statuses() == {"sending": 1}, "nobody else takes it"
    await house.worker.start()

    async def delivered() -> bool:
        return await house.statuses() == {"sent": 1}

    await comes(delivered)


async def test_stop_ends_the_task_by_itself(house: House) -> None:
    await house.worker.start()
    task = house.worker._task
    assert task is not None
    await asyncio.sleep(0)
    await house.worker.stop(60)
    assert task.done() and not task.cancelled()


async def test_stop_in_the_middle_leaves_nothing_half_done(house: House) -> None:
    await house.worker.start()
    for number in range(300):
        await house.submit(f"n{number}", "alice")
    await house.worker.stop(60)
    states = await house.statuses()
    assert states.get("sent", 0) == len(await house.inbox("alice"))
    await house.queue.recover()
    await house.deliver()
    assert await house.subjects("alice") == [f"n{number}" for number in range(300)]


def test_giving_way_has_an_end() -> None:
    assert pause(0.1, 100, 0) > 0
    assert pause(0.1, 5, 0) == 0
    assert pause(0.1, 100, 6) == 0
    assert pause(100, 100_000, 0) <= 0.5
    assert pause(0, 0, 0) == 0


async def test_the_outside_world_keeps_files_that_a_mail_program_opens(outside: OutsideWorld, connected: House) -> None:
    for number in range(3):
        await connected.submit(f"n{number}", "dave@a.example", sender="bob@example.test")
    await connected.deliver()
    files = sorted(outside.folder.glob("*.eml"))
    assert [path.name for path in files] == ["0001.eml", "0002.eml", "0003.eml"]
    mail = email.message_from_bytes(files[0].read_bytes())
    assert (mail["X-Envelope-From"], mail["X-Envelope-To"]) == ("bob@example.test", "dave@a.example")
    assert mail["Subject"] in ("n0", "n1", "n2")


async def test_a_command_without_a_server_does_not_wait_for_what_is_to_be_tried_later(tmp_path: Path) -> None:
    """`gk ask` delivers what it has sent; a mail that is tried again in two minutes once made every command last ten seconds."""
    now = 1_700_000_000.0
    office = Office.open(Settings(data=tmp_path), clock=lambda: now)
    await office.directory.add_domain("example.test")
    alice = await office.directory.add_account("alice@example.test")
    letters = [Submission("", [(alice.address, alice.id)], TEXT.format(name).encode(), "test") for name in ("later", "now")]
    await office.queue.submit(letters[0])
    (item,) = await office.queue.claim(10, now)
    await office.queue.settle_now([Result(item.recipients[0].id, "pending", "4.2.2 full", now + 120)])
    await office.queue.submit(letters[1])
    assert not await office.deliver(seconds=3600)
    status = await office.queue.status(now)
    assert (status["pending"], status["sent"]) == (1, 1)
    await office.close()
