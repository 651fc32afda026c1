"""Durability: kill -9 under load, full disks, other programs in the same folder. What was acknowledged is there, exactly once."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from storage_worker import deliver_due, prepare

from gk.core.database import Database, StorageFull
from gk.mail import maildir
from gk.mail.mailbox import Delivery, Flag, Mailboxes
from gk.mail.queue import Queue, Submission

WORKER = Path(__file__).with_name("storage_worker.py")
KILLS = 24


def run_until_killed(folder: Path, first: int, chance: random.Random) -> list[int]:
    """Start the worker, let it acknowledge something, kill it at a random moment; what it had acknowledged."""
    process = subprocess.Popen([sys.executable, WORKER, folder, str(first)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    head = process.stdout.readline()
    time.sleep(chance.uniform(0.0, 0.15))
    process.kill()
    rest = process.stdout.read()
    process.wait()
    assert head, "the worker died by itself"
    return [int(line) for line in (head + rest).split(b"\n")[:-1]]


async def drain(folder: Path) -> tuple[Counter[str], set[str], set[str]]:
    """Restart once more, deliver what is left; (subjects in the inbox, file names of the index, files on the disk)."""
    database = Database.open(folder)
    queue, mailboxes = Queue(database, folder / "spool"), Mailboxes(database, folder / "mail")
    await queue.recover()
    await mailboxes.recover()
    while await deliver_due(queue, mailboxes, 200):
        pass
    inbox = await mailboxes.folders.get(1, "INBOX")
    await mailboxes.sync.mailbox(inbox.id)
    view = await mailboxes.views.get(inbox.id)
    subjects: Counter[str] = Counter()
    for start in range(0, len(view.entries), 500):
        for data in await mailboxes.bodies.read_many(inbox, view.entries[start : start + 500]):
            assert data is not None
            subjects[re.search(rb"Subject: (mail \d+)\r\n", data)[1].decode()] += 1
    left = await queue.status()
    assert left["pending"] == left["sending"] == left["failed"] == 0
    assert list(mailboxes.storage.path(inbox).joinpath("tmp").iterdir()) == []
    await queue.tidy()
    assert list((folder / "spool").iterdir()) == []
    await mailboxes.close()
    files = set(maildir.scan(mailboxes.storage.path(inbox)).values())
    database.close()
    return subjects, {entry.filename for entry in view.entries}, files


def test_kill_9_under_load_leaves_every_acknowledged_mail_exactly_once(tmp_path):
    prepare(tmp_path)
    chance = random.Random(5321)
    acknowledged: list[int] = []
    for round_number in range(KILLS):
        acknowledged += run_until_killed(tmp_path, (round_number + 1) * 100_000, chance)
    subjects, indexed, files = asyncio.run(drain(tmp_path))
    assert len(acknowledged) > 20 * KILLS, "too little load to mean anything"
    assert [number for number in acknowledged if subjects[f"mail {number}"] != 1] == []
    assert [subject for subject, count in subjects.items() if count != 1] == []
    assert indexed == files


@pytest.fixture
async def office(tmp_path):
    """(queue, mailboxes) of one person, on a fresh folder."""
    prepare(tmp_path)
    database = Database.open(tmp_path)
    mailboxes = Mailboxes(database, tmp_path / "mail")
    yield Queue(database, tmp_path / "spool"), mailboxes
    await mailboxes.close()
    database.close()


def mail(number: int, size: int = 400) -> bytes:
    return b"Subject: mail %d\r\nMessage-ID: <%d@x>\r\n\r\n%b\r\n" % (number, number, b"x" * size)


def item(number: int, **changes) -> Delivery:
    return Delivery(1, mail(number), maildir.delivery_name(1000.0, number, 1))._replace(**changes)


@pytest.mark.parametrize("step", ["_write", "os.fsync", "os.rename", "sync_folder"])
async def test_disk_full_at_any_step_of_a_batch_leaves_nothing_half_written(office, monkeypatch, step):
    """ENOSPC from each system call in turn: the whole batch fails with StorageFull, and a later attempt succeeds."""
    _, mailboxes = office
    inbox = await mailboxes.folders.get(1, "INBOX")
    maildir.make(mailboxes.storage.path(inbox))
    settled: list[int] = []
    countdown = iter([False] * 3 + [True] * 100) if step != "sync_folder" else iter([True] * 100)
    target, name = (maildir.os, step.removeprefix("os.")) if "." in step else (maildir, step)
    real = getattr(target, name)

    def failing(*args, **kwargs):
        if next(countdown):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(target, name, failing)
    with pytest.raises(StorageFull):
        await mailboxes.ingest.deliver([item(n) for n in range(8)], lambda tx, outcomes: settled.append(1))
    monkeypatch.undo()
    assert maildir.scan(mailboxes.storage.path(inbox)) == {}
    assert list(mailboxes.storage.path(inbox).joinpath("tmp").iterdir()) == []
    assert (await mailboxes.folders.status(inbox.id)).messages == 0 and settled == []
    await mailboxes.ingest.deliver([item(n) for n in range(8)], lambda tx, outcomes: settled.append(1))
    assert (await mailboxes.folders.status(inbox.id)).messages == 8 and settled == [1]


async def test_failing_transaction_takes_its_files_back(office):
    _, mailboxes = office
    inbox = await mailboxes.folders.get(1, "INBOX")

    def failing(tx, outcomes):
        raise StorageFull("no space left")

    with pytest.raises(StorageFull):
        await mailboxes.ingest.deliver([item(1), item(2)], failing)
    assert maildir.scan(mailboxes.storage.path(inbox)) == {}
    counts = mailboxes.storage.database.read_now(lambda r: r.driver.execute("SELECT count(*) FROM content").fetchone())
    assert counts == (0,)


@pytest.fixture
def small_disk(mounted):
    return mounted("size=12m")


async def test_a_really_full_disk_loses_nothing_that_was_acknowledged(small_disk):
    """Submit and deliver until the disk is full; make room; everything that was acknowledged arrives, exactly once."""
    prepare(small_disk)
    database = Database.open(small_disk)
    queue, mailboxes = Queue(database, small_disk / "spool"), Mailboxes(database, small_disk / "mail")
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 4_000_000)
    acknowledged = []
    with pytest.raises(StorageFull):
        for number in range(100_000):
            await queue.submit(Submission("", [("alice@example.test", 1)], mail(number, 20_000), "test"))
            acknowledged.append(number)
            if number % 5 == 4:
                await deliver_due(queue, mailboxes)
    assert acknowledged
    ballast.unlink()
    await queue.recover()
    for _ in range(100):
        try:
            if not await deliver_due(queue, mailboxes):
                break
        except StorageFull:
            pytest.fail("there is room again")
    inbox = await mailboxes.folders.get(1, "INBOX")
    await mailboxes.sync.mailbox(inbox.id)
    view = await mailboxes.views.get(inbox.id)
    bodies = await mailboxes.bodies.read_many(inbox, view.entries)
    found = Counter(int(re.search(rb"Subject: mail (\d+)", data)[1]) for data in bodies)
    assert [number for number in acknowledged if found[number] != 1] == []
    assert max(found.values()) == 1
    await mailboxes.close()
    database.close()


async def test_large_upload_on_a_full_disk_is_storage_full_and_leaves_no_file(small_disk):
    prepare(small_disk)
    database = Database.open(small_disk)
    queue = Queue(database, small_disk / "spool")
    spool = queue.spool()
    with pytest.raises(StorageFull):
        for _ in range(400):
            spool.write(b"x" * 65_536)
    spool.discard()
    assert list((small_disk / "spool").iterdir()) == []
    assert await queue.submit(Submission("", [("alice@example.test", 1)], mail(1), "test"))
    database.close()


async def test_sync_keeps_a_delivery_that_is_still_in_the_queue_single(office):
    """A crash between files and rows, then another program moves the leftover, then sync runs, then the queue delivers again."""
    queue, mailboxes = office
    inbox = await mailboxes.folders.get(1, "INBOX")
    number = await queue.submit(Submission("", [("alice@example.test", 1)], mail(7), "test"))
    (queued,) = await queue.claim(1, time.time() + 1)
    base = maildir.delivery_name(queued.created, number, queued.recipients[0].id)
    home = mailboxes.storage.path(inbox)
    maildir.make(home)
    (home / "new" / base).write_bytes(b"Return-Path: <>\r\n" + mail(7))  # the crash
    assert await mailboxes.sync.mailbox(inbox.id) is False
    assert (await mailboxes.folders.status(inbox.id)).messages == 0
    await queue.recover()
    assert await deliver_due(queue, mailboxes) == 1
    await mailboxes.sync.mailbox(inbox.id)
    assert (await mailboxes.folders.status(inbox.id)).messages == 1
    assert list(maildir.scan(home)) == [base]


async def test_expunged_mail_does_not_come_back_after_a_crash(office):
    """The row is gone, the process dies before the file goes; neither sync nor a restart brings the mail back."""
    _, mailboxes = office
    inbox = await mailboxes.folders.get(1, "INBOX")
    entry = await mailboxes.ingest.append(inbox.id, mail(1), Flag.DELETED)
    mailboxes.storage.tasks.behind = lambda work: work.close()  # the crash: what should run behind never does
    assert await mailboxes.entries.expunge(inbox.id) == [entry.uid]
    del mailboxes.storage.tasks.behind
    assert len(maildir.scan(mailboxes.storage.path(inbox))) == 1
    mailboxes.storage.clock = lambda: time.time() + 86_400
    await mailboxes.sync.mailbox(inbox.id)
    assert (await mailboxes.folders.status(inbox.id)).messages == 0
    await mailboxes.recover()
    assert maildir.scan(mailboxes.storage.path(inbox)) == {}


async def test_a_symbolic_link_in_the_maildir_leads_nowhere(office, tmp_path):
    _, mailboxes = office
    inbox = await mailboxes.folders.get(1, "INBOX")
    home = mailboxes.storage.path(inbox)
    maildir.make(home)
    os.symlink("/etc/passwd", home / "new" / "1.M1P1.evil")
    await mailboxes.sync.mailbox(inbox.id)
    assert (await mailboxes.folders.status(inbox.id)).messages == 0


def test_a_file_is_read_to_its_end_whatever_the_index_thinks_of_its_length(tmp_path, monkeypatch):
    """An editor made it longer or shorter, it has bare line feeds, or the kernel gives less than was asked for."""
    whole = bytes(range(256)) * 20
    file = tmp_path / "mail"
    file.write_bytes(whole)
    read, asked = os.read, []
    monkeypatch.setattr(os, "read", lambda handle, count: asked.append(count) or read(handle, min(count, 999)))
    for size in (None, 0, 1, 998, 5000, 5119, 5120, 5121, 9000):
        assert maildir.read(file, size=size) == whole
        for limit in (0, 1, 999, 1000, 5119, 5120, 5121):
            assert maildir.read(file, limit, size) == whole[:limit]
    monkeypatch.setattr(os, "read", lambda handle, count: asked.append(count) or read(handle, count))
    asked.clear()
    assert maildir.read(file, size=5120) == whole
    assert asked == [5121]  # one call
