"""The queue: durable on return, handed out once, retried on time, settled with the delivery or not at all."""

from __future__ import annotations

import asyncio
import errno
import subprocess
import sys

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gk.core.database import Database, StorageFull
from gk.mail import queue as queue_module
from gk.mail.queue import RETRY_MINUTES, SPOOL_BYTES, Queue, Result, Submission, next_attempt


@pytest.fixture
def database(tmp_path):
    database = Database.open(tmp_path)
    yield database
    database.close()


@pytest.fixture
def queue(database, tmp_path):
    return Queue(database, tmp_path / "spool", clock=lambda: 1000.0)


def letter(number: int = 0, recipients: int = 1, size: int = 100) -> Submission:
    people = [(f"r{n}@example.test", n) for n in range(recipients)]
    return Submission("sender@example.test", people, b"Subject: %d\r\n\r\n" % number + b"x" * size, "test")


async def test_twenty_submitters_at_once_lose_nothing(queue):
    async def one(start):
        return [await queue.submit(letter(start + n)) for n in range(50)]

    numbers = [number for part in await asyncio.gather(*(one(1000 * s) for s in range(20))) for number in part]
    assert len(set(numbers)) == 1000
    claimed = []
    while part := await queue.claim(64, now=1000.0):
        claimed += part
    assert sorted(item.id for item in claimed) == sorted(numbers)
    assert len({item.data for item in claimed}) == 1000
    assert [item.id for item in claimed] == sorted(item.id for item in claimed)  # oldest first


async def test_two_claims_never_hand_out_the_same_recipient(queue):
    for number in range(40):
        await queue.submit(letter(number, recipients=3))
    parts = await asyncio.gather(*(queue.claim(17, now=1000.0) for _ in range(10)))
    ids = [recipient.id for part in parts for item in part for recipient in item.recipients]
    assert len(ids) == len(set(ids)) == 120


async def test_retry_after_2_4_8_16_32_minutes_then_no_more(queue):
    await queue.submit(letter())
    now, waits = 1000.0, []
    while True:
        (item,) = await queue.claim(10, now)
        (recipient,) = item.recipients
        due = next_attempt(recipient.attempts, now)
        if due is None:
            break
        await queue.settle_now([Result(recipient.id, "pending", "450 busy", due)])
        assert await queue.claim(10, due - 1) == []
        assert await queue.next_due() == due
        waits.append((due - now) / 60)
        now = due
    assert tuple(waits) == RETRY_MINUTES == (2, 4, 8, 16, 32)
    await queue.settle_now([Result(recipient.id, "bounced", "450 busy")])
    assert await queue.next_due() is None
    (outcome,) = await queue.history(item.id)
    assert (outcome.status, outcome.attempts, outcome.reply) == ("bounced", 6, "450 busy")


async def test_what_was_planned_by_a_clock_that_was_years_ahead_is_due(queue):
    """A machine starts in 2036 and is put right: what came in meanwhile must not wait until 2036."""
    now = queue.clock()
    queue.clock = lambda: now + 10 * 365 * 86_400
    await queue.submit(letter(1))
    queue.clock = lambda: now
    await queue.submit(letter(2))
    (first,) = await queue.claim(10, now)
    (second,) = await queue.claim(10, now)
    assert first.created == now and second.created > now + 86_400
    later = [Result(recipient.id, "pending", "", now + 1920) for queued in (first, second) for recipient in queued.recipients]
    await queue.settle_now(later)
    assert await queue.claim(10, now) == [], "an attempt that is really planned for later waits"
    assert (await queue.status(now))["oldest_seconds"] == 0


async def test_a_message_is_dropped_with_its_last_recipient_not_before(queue, database):
    number = await queue.submit(letter(recipients=3))
    (item,) = await queue.claim(10, 1000.0)
    first, second, third = item.recipients
    await queue.settle_now([Result(first.id, "sent"), Result(second.id, "failed", "550 no")])
    row = "SELECT status, data IS NULL FROM queue WHERE id = ?"
    assert database.read_now(lambda r: r.driver.execute(row, (number,)).fetchone()) == ("pending", 0)
    await queue.settle_now([Result(third.id, "pending", "", 2000.0)])
    (again,) = await queue.claim(10, 2000.0)
    assert [recipient.id for recipient in again.recipients] == [third.id]
    assert again.data == item.data
    await queue.settle_now([Result(third.id, "sent")])
    assert database.read_now(lambda r: r.driver.execute(row, (number,)).fetchone()) == ("done", 1)
    status = await queue.status()
    assert status == {"pending": 0, "sending": 0, "sent": 2, "failed": 1, "bounced": 0, "oldest_seconds": 0}


async def test_status_tells_the_age_of_the_oldest_unfinished_message(queue):
    await queue.submit(letter())
    assert (await queue.status(now=1090.5))["oldest_seconds"] == 90


async def test_size_decides_between_row_and_spool_file(queue, tmp_path):
    body = len(b"Subject: 0\r\n\r\n")
    await queue.submit(letter(size=SPOOL_BYTES - body - 1))
    assert not (tmp_path / "spool").exists()
    await queue.submit(letter(size=SPOOL_BYTES - body))
    assert len(list((tmp_path / "spool").iterdir())) == 1
    small, large = await queue.claim(10, 1000.0)
    assert len(small.data) == SPOOL_BYTES - 1 and small.spool is None
    assert large.data is None and large.spool.stat().st_size == SPOOL_BYTES


async def test_claim_is_bounded_by_octets_but_always_hands_out_one(queue, monkeypatch):
    monkeypatch.setattr(queue_module, "CLAIM_BYTES", 1000)
    for number in range(5):
        await queue.submit(letter(number, size=600))
    assert [len(await queue.claim(100, 1000.0)) for _ in range(6)] == [1, 1, 1, 1, 1, 0]


async def test_failed_submission_leaves_no_spool_file(queue, tmp_path, monkeypatch):
    async def full(fn):
        raise StorageFull("no space left")

    monkeypatch.setattr(queue.database, "write", full)
    with pytest.raises(StorageFull):
        await queue.submit(letter(size=SPOOL_BYTES))
    assert list((tmp_path / "spool").iterdir()) == []


async def test_full_disk_while_finishing_a_spool_is_storage_full(queue, monkeypatch):
    spool = queue.spool()
    spool.write(b"x" * SPOOL_BYTES)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(queue_module.os, "fsync", full)
    with pytest.raises(StorageFull):
        spool.finish()
    spool.discard()
    spool.discard()
    assert list(queue.spool_folder.path.iterdir()) == []


async def test_recover_keeps_adopted_files_and_removes_orphans(queue, tmp_path, database):
    adopted = queue.spool()
    adopted.write(b"x" * SPOOL_BYTES)
    await queue.submit(letter()._replace(data=adopted.finish()))
    queue.spool().write(b"y" * SPOOL_BYTES)
    await queue.claim(10, 1000.0)
    after = Queue(database, tmp_path / "spool", clock=lambda: 5000.0)
    assert await after.recover() == 1
    assert [path.name for path in (tmp_path / "spool").iterdir()] == [adopted.path.name]
    (item,) = await after.claim(10, 5000.0)
    assert item.spool.read_bytes() == b"x" * SPOOL_BYTES


async def test_recover_leaves_what_another_process_is_just_putting_in(queue, tmp_path):
    """A command beside the server has written the file and not yet the row; once such a file was cleared away as an orphan."""
    (tmp_path / "spool").mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as command:  # noqa: ASYNC220
        theirs, dead = tmp_path / "spool" / f"{command.pid}-aa.eml", tmp_path / "spool" / "4194999-aa.eml"
        theirs.write_bytes(b"theirs")
        dead.write_bytes(b"of a process that was killed")
        await queue.recover()
        assert theirs.exists() and not dead.exists()
        command.kill()
        command.wait()
    await queue.recover()
    assert not theirs.exists()


async def test_recover_names_the_files_that_are_missing(queue, tmp_path):
    await queue.submit(letter(size=SPOOL_BYTES))
    (file,) = (tmp_path / "spool").iterdir()
    file.unlink()
    with structlog.testing.capture_logs() as logs:
        await queue.recover()
    assert [entry["file"] for entry in logs if entry["event"] == "queue.file_missing"] == [str(file)]


async def test_settling_in_a_transaction_that_fails_settles_nothing(queue, database):
    await queue.submit(letter(size=SPOOL_BYTES))
    (item,) = await queue.claim(10, 1000.0)

    def failing(tx):
        queue.settle(tx, [Result(item.recipients[0].id, "sent")])
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await database.write(failing)
    await queue.tidy()
    assert (await queue.status())["sending"] == 1 and item.spool.exists()
    await queue.settle_now([Result(item.recipients[0].id, "sent")])
    await queue.claim(10, 1000.0)  # tidies by the way
    assert not item.spool.exists()


async def test_prune_forgets_settled_messages_after_thirty_days(queue):
    await queue.submit(letter(1))
    waiting = await queue.submit(letter(2))
    first, second = await queue.claim(10, 1000.0)
    await queue.settle_now([Result(first.recipients[0].id, "sent")])
    assert await queue.prune(now=1000.0 + 29 * 86400) == 0
    assert await queue.prune(now=1000.0 + 31 * 86400) == 1
    assert [outcome.queue_id for outcome in await queue.history()] == [waiting] == [second.id]


async def test_an_unknown_status_is_an_error_and_changes_nothing(queue):
    await queue.submit(letter())
    (item,) = await queue.claim(10, 1000.0)
    with pytest.raises(ValueError, match="not a status"):
        await queue.settle_now([Result(item.recipients[0].id, "snet")])
    assert (await queue.status())["sending"] == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["sent", "failed", "bounced", "pending", "crash"])), max_size=20))
def test_recipients_are_neither_lost_nor_doubled(tmp_path_factory, steps):
    """Whatever happens in whatever order: every recipient is in exactly one state, and ends exactly once."""
    folder = tmp_path_factory.mktemp("queue")

    async def story():
        database = Database.open(folder)
        queue = Queue(database, folder / "spool", clock=lambda: 1000.0)
        expected, ended, clock = 0, 0, 1000.0
        for count, outcome in steps:
            await queue.submit(letter(recipients=count))
            expected += count
            clock += 10_000
            claimed = [r.id for item in await queue.claim(3, clock) for r in item.recipients]
            if outcome == "crash":
                assert await queue.recover() == len(claimed)
            else:
                await queue.settle_now([Result(id, outcome, "", clock + 60) for id in claimed])
                ended += len(claimed) if outcome != "pending" else 0
            status = await queue.status(clock)
            assert status["pending"] + status["sending"] + ended == expected
            assert status["sent"] + status["failed"] + status["bounced"] == ended
        database.close()

    asyncio.run(story())
