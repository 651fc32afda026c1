"""Mailboxes: names that attack, promises of RFC 3501 and 7162, other programs in the folder, and a model that must agree."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from conftest import comes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from storage_worker import prepare

from gk.core.database import Database
from gk.mail import entries, mailbox, maildir
from gk.mail.folders import check_name, parents
from gk.mail.mailbox import (
    BadName,
    Delivery,
    Flag,
    MailboxError,
    Mailboxes,
    MailboxExists,
    MailboxNotFound,
    MessageGone,
    OverQuota,
)


@pytest.fixture
async def mailboxes(tmp_path):
    prepare(tmp_path)
    database = Database.open(tmp_path)
    mailboxes = Mailboxes(database, tmp_path / "mail")
    yield mailboxes
    await mailboxes.close()
    database.close()


def mail(number: int = 1, head: str = "") -> bytes:
    return f"Subject: mail {number}\r\nMessage-ID: <{number}@x>\r\n{head}\r\nbody {number}\r\n".encode()


# --- names ---------------------------------------------------------------------------------------------------------------

HOSTILE = [
    "", "/", "a//b", "/a", "a/", ".", "..", "../INBOX", "a/../b", "a/./b", "a\r\nb", "a\x00b", "a\x7fb", "a\x85b", "a\u2028b",
    "\u202egpj", "\ufeffx", "\ud800", "a*", "%", "#news", " a", "a ", "a/ b", "x" * 201, "/".join("a" * 17), "é" * 501,
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
async def test_cve_2026_0394_hostile_mailbox_names_are_refused_and_touch_no_disk(mailboxes, name, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    if name != "a/":  # RFC 3501 §6.3.3: a trailing separator only announces children
        with pytest.raises(BadName):
            await mailboxes.folders.create(1, name)
    with pytest.raises((BadName, MailboxNotFound)):
        await mailboxes.folders.rename(1, name, "b")
    with pytest.raises(BadName):
        await mailboxes.folders.rename(1, "Sent", name)
    with pytest.raises(MailboxNotFound):
        await mailboxes.folders.get(1, name)
    assert [path for path in sorted(tmp_path.rglob("*")) if "gk.db" not in path.name] == [
        path for path in before if "gk.db" not in path.name
    ]


@given(st.text(max_size=60))
def test_a_checked_name_is_stable_printable_and_bounded(text):
    try:
        name = check_name(text)
    except BadName as error:
        assert str(error).isprintable()
        return
    assert check_name(name) == name
    assert not any(level in {"", ".", ".."} for level in name.split("/"))
    assert all(check_name(parent) == parent for parent in parents(name))
    assert "\r" not in name and "\n" not in name and "\0" not in name


async def test_cve_2026_42394_names_at_the_bound_are_taken_and_one_past_it_refused(mailboxes):
    assert (await mailboxes.folders.create(1, "x" * 200)).name == "x" * 200
    assert (await mailboxes.folders.create(1, "/".join("a" * 16))).name.count("/") == 15
    with pytest.raises(BadName):
        await mailboxes.folders.create(1, "x" * 201)
    with pytest.raises(BadName):
        await mailboxes.folders.rename(1, "x" * 200, "/".join("b" * 17))


async def test_cve_2026_42394_composed_and_decomposed_names_are_one_folder(mailboxes):
    await mailboxes.folders.create(1, "Cafe\u0301")
    with pytest.raises(MailboxExists):
        await mailboxes.folders.create(1, "Caf\u00e9")
    assert (await mailboxes.folders.get(1, "iNbOx")).name == "INBOX"


# --- folders (RFC 3501 §6.3) ---------------------------------------------------------------------------------------------


async def test_rfc3501_create_makes_parents_and_delete_leaves_children(mailboxes):
    await mailboxes.folders.create(1, "a/b/c")
    await mailboxes.folders.delete(1, "a/b")
    names = [box.name for box in await mailboxes.folders.list(1)]
    assert "a" in names and "a/b/c" in names and "a/b" not in names
    with pytest.raises(MailboxNotFound):
        await mailboxes.folders.delete(1, "a/b")


async def test_rfc3501_uidvalidity_grows_when_a_name_is_used_again(mailboxes):
    seen = []
    for _ in range(3):
        seen.append((await mailboxes.folders.create(1, "again")).uidvalidity)
        await mailboxes.folders.delete(1, "again")
    assert seen == sorted(set(seen)) and seen[0] > 0


async def test_rfc3501_subscription_outlives_the_mailbox(mailboxes):
    await mailboxes.folders.create(1, "gone")
    await mailboxes.folders.delete(1, "gone")
    assert "gone" in await mailboxes.subscriptions.names(1)
    await mailboxes.subscriptions.set(1, "gone", False)
    assert "gone" not in await mailboxes.subscriptions.names(1)


async def test_rfc3501_renaming_the_inbox_moves_its_mail_and_leaves_an_empty_one(mailboxes):
    inbox = await mailboxes.folders.get(1, "INBOX")
    await mailboxes.folders.create(1, "INBOX/child")
    await mailboxes.ingest.append(inbox.id, mail())
    await mailboxes.folders.rename(1, "INBOX", "Old")
    old, new = await mailboxes.folders.get(1, "Old"), await mailboxes.folders.get(1, "INBOX")
    assert (old.messages, new.messages) == (1, 0)
    assert new.uidvalidity > old.uidvalidity
    assert (await mailboxes.folders.get(1, "INBOX/child")).name == "INBOX/child"


async def test_rename_takes_children_along_and_all_or_nothing(mailboxes):
    await mailboxes.folders.create(1, "a/b")
    await mailboxes.folders.create(1, "z/b")
    with pytest.raises(MailboxExists):
        await mailboxes.folders.rename(1, "a", "z")
    await mailboxes.folders.create(1, "deep/" + "/".join("x" * 14))
    with pytest.raises(BadName):
        await mailboxes.folders.rename(1, "deep", "one/two/three")
    assert {"a/b", "z/b", "deep"} <= {box.name for box in await mailboxes.folders.list(1)}
    assert "one" not in {box.name for box in await mailboxes.folders.list(1)}


async def test_folders_of_two_people_do_not_meet(mailboxes):
    mailboxes.storage.database.write_now(lambda tx: tx.driver.execute(
        "INSERT INTO account (id, domain_id, address, created) VALUES (2, 1, 'bob@example.test', 0)") and None)
    await mailboxes.defaults.ensure(2)
    mine, theirs = await mailboxes.folders.get(1, "INBOX"), await mailboxes.folders.get(2, "INBOX")
    entry = await mailboxes.ingest.append(mine.id, mail())
    assert await mailboxes.entries.locate(2, [entry.id]) == {}
    with pytest.raises(MailboxError):
        await mailboxes.transfers.move(mine.id, [entry.uid], theirs.id)


# --- entries -------------------------------------------------------------------------------------------------------------


async def test_concurrent_appends_get_distinct_ascending_uids(mailboxes):
    inbox = await mailboxes.folders.get(1, "INBOX")
    entries = await asyncio.gather(*(mailboxes.ingest.append(inbox.id, mail(n)) for n in range(60)))
    view = await mailboxes.views.get(inbox.id)
    assert sorted(entry.uid for entry in entries) == view.uids == list(range(1, 61))
    for entry in entries:
        assert b"Subject: mail" in await mailboxes.bodies.raw(entry, inbox)


async def test_uids_are_never_used_again(mailboxes):
    inbox = await mailboxes.folders.get(1, "INBOX")
    for _ in range(3):
        entry = await mailboxes.ingest.append(inbox.id, mail(), Flag.DELETED)
        await mailboxes.entries.expunge(inbox.id)
    assert entry.uid == 3
    assert (await mailboxes.ingest.append(inbox.id, mail())).uid == 4


async def test_an_older_view_is_not_disturbed_by_changes(mailboxes):
    inbox = await mailboxes.folders.get(1, "INBOX")
    for number in range(3):
        await mailboxes.ingest.append(inbox.id, mail(number))
    old = await mailboxes.views.get(inbox.id)
    before = [tuple(entry) for entry in old.entries]
    await mailboxes.entries.store(inbox.id, [2], "add", Flag.DELETED)
    await mailboxes.entries.expunge(inbox.id)
    await mailboxes.ingest.append(inbox.id, mail(9))
    assert [tuple(entry) for entry in old.entries] == before and old.uids == [1, 2, 3]
    assert (await mailboxes.views.get(inbox.id)).uids == [1, 3, 4]


async def test_many_who_ask_for_a_mailbox_at_once_read_it_once(mailboxes, monkeypatch):
    """After a restart: twenty devices, one large mailbox."""
    inbox = await mailboxes.folders.get(1, "INBOX")
    await mailboxes.ingest.append(inbox.id, mail())
    reads, refresh = [], entries.refresh
    monkeypatch.setattr(entries, "refresh", lambda *given: reads.append(1) or refresh(*given))
    views = entries.Views(mailboxes.storage)
    found = await asyncio.gather(*(views.get(inbox.id) for _ in range(20)))
    assert len(reads) == 1 and all(view is found[0] for view in found)
    await mailboxes.ingest.append(inbox.id, mail(2))
    assert (await views.get(inbox.id)).uids == [1, 2]


async def test_rfc7162_changes_since_a_modification_sequence(mailboxes):
    inbox = await mailboxes.folders.get(1, "INBOX")
    for number in range(4):
        await mailboxes.ingest.append(inbox.id, mail(number))
    mark = (await mailboxes.views.get(inbox.id)).highest_modseq
    await mailboxes.entries.store(inbox.id, [1, 2], "add", Flag.SEEN)
    await mailboxes.entries.store(inbox.id, [3], "set", Flag.DELETED)
    await mailboxes.entries.store(inbox.id, [1], "add", Flag.SEEN)  # changes nothing
    await mailboxes.entries.expunge(inbox.id)
    changes = await mailboxes.views.changes(inbox.id, mark, [1, 2, 3])
    assert [entry.uid for entry in changes.entries] == [1, 2]
    assert changes.vanished_uids == [3]
    assert changes.highest_modseq == mark + 3 == (await mailboxes.views.get(inbox.id)).highest_modseq


async def test_two_processes_see_each_other_through_the_modification_sequence(mailboxes, tmp_path):
    other_database = Database.open(tmp_path)
    other = Mailboxes(other_database, tmp_path / "mail")
    inbox = await mailboxes.folders.get(1, "INBOX")
    assert (await other.views.get(inbox.id)).uids == (await mailboxes.views.get(inbox.id)).uids == []
    both = await asyncio.gather(*((mailboxes, other)[n % 2].ingest.append(inbox.id, mail(n)) for n in range(20)))
    assert sorted(entry.uid for entry in both) == list(range(1, 21))
    await other.entries.store(inbox.id, [5], "add", Flag.FLAGGED)
    assert (await mailboxes.views.get(inbox.id)).find(5).flags == Flag.FLAGGED
    await other.close()
    other_database.close()


async def test_recent_is_claimed_by_one_session_only(mailboxes):
    inbox = await mailboxes.folders.get(1, "INBOX")
    for number in range(3):
        await mailboxes.ingest.append(inbox.id, mail(number))
    assert (await mailboxes.folders.status(inbox.id)).recent == 3
    assert await mailboxes.entries.claim_recent(inbox.id, 3, keep=True) == 1  # EXAMINE
    assert await mailboxes.entries.claim_recent(inbox.id, 3) == 1
    assert await mailboxes.entries.claim_recent(inbox.id, 3) == 4
    await mailboxes.ingest.append(inbox.id, mail(9))
    assert (await mailboxes.folders.status(inbox.id)).recent == 1


async def test_internal_date_keeps_its_offset(mailboxes):
    inbox = await mailboxes.folders.get(1, "INBOX")
    when = datetime(2026, 2, 28, 23, 30, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))
    entry = await mailboxes.ingest.append(inbox.id, mail(), internal_date=when)
    assert (entry.internal_date, entry.internal_offset) == (when.timestamp(), -210)


@pytest.mark.parametrize("keywords", [["two words"], ["a" * 101], ["é"], ["a\r\n"], ["("], [""], [f"k{n}" for n in range(65)]])
async def test_keywords_are_bounded_atoms(mailboxes, keywords):
    inbox = await mailboxes.folders.get(1, "INBOX")
    entry = await mailboxes.ingest.append(inbox.id, mail())
    with pytest.raises(MailboxError):
        await mailboxes.entries.store(inbox.id, [entry.uid], "add", 0, keywords)
    with pytest.raises(MailboxError):
        await mailboxes.ingest.append(inbox.id, mail(), keywords=keywords)
    assert (await mailboxes.folders.status(inbox.id)).messages == 1


async def test_bare_newlines_are_served_with_crlf_and_sizes_agree(mailboxes):
    inbox = await mailboxes.folders.get(1, "INBOX")
    appended = await mailboxes.ingest.append(inbox.id, b"Subject: a\n\nb\n")
    (mailboxes.storage.path(inbox) / "new" / "1.M1P1.other").write_bytes(b"Subject: a\n\nb\n")
    await mailboxes.sync.mailbox(inbox.id)
    view = await mailboxes.views.get(inbox.id)
    assert len(view.entries) == 2 and view.entries[0].id == appended.id
    for entry in view.entries:
        data = await mailboxes.bodies.raw(entry, inbox)
        assert data == b"Subject: a\r\n\r\nb\r\n" and entry.size == len(data)


def left_behind(number: int) -> str:
    """The name of a file whose writer, a process of ours, was killed."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    return f"new/17953831{number:02}.M952448P{gone.pid}N{number}X6b68e8.gk"


async def test_kill_9_between_file_and_row_is_found_again_though_nothing_stirs(mailboxes, monkeypatch):
    """APPEND was not acknowledged, but the mail is here: it is adopted once its writer is known to be gone."""
    monkeypatch.setattr(mailbox, "WATCH", 0.0)
    monkeypatch.setattr(mailbox, "UNRIPE", 0.0)
    inbox = await mailboxes.folders.get(1, "INBOX")
    home = mailboxes.storage.path(inbox)
    maildir.make(home)
    (home / left_behind(1)).write_bytes(mail())
    await mailboxes.watch.look()
    assert (await mailboxes.folders.status(inbox.id)).messages == 0, "too early to say"
    monkeypatch.setattr(mailbox, "ABANDONED", -1)

    async def found():
        await mailboxes.watch.look()  # a comparison that took long is not repeated at once
        return (await mailboxes.folders.status(inbox.id)).messages

    assert await comes(found) == 1


async def test_kill_9_in_the_middle_of_a_copy_leaves_no_second_message(mailboxes, monkeypatch):
    monkeypatch.setattr(mailbox, "ABANDONED", -1)
    inbox = await mailboxes.folders.get(1, "INBOX")
    entry = await mailboxes.ingest.append(inbox.id, mail())
    home = mailboxes.storage.path(inbox)
    (file,) = (home / "new").iterdir()
    os.link(file, home / left_behind(2))
    await mailboxes.sync.mailbox(inbox.id)
    assert list((home / "new").iterdir()) == [file] and (await mailboxes.folders.status(inbox.id)).messages == 1
    assert await mailboxes.bodies.raw(entry, inbox) == mail()


async def test_append_from_a_file_may_lose_the_file_afterwards(mailboxes, tmp_path):
    inbox = await mailboxes.folders.get(1, "INBOX")
    upload = tmp_path / "upload.eml"
    upload.write_bytes(mail())
    entry = await mailboxes.ingest.append(inbox.id, upload)
    upload.unlink()
    assert await mailboxes.bodies.raw(entry, inbox) == mail()


async def test_forgotten_expunges_are_bounded_and_mislead_nobody_who_is_behind(mailboxes, tmp_path, monkeypatch):
    """The notes of what was expunged are pruned; a view and a session from before the cut still learn of all that went."""
    monkeypatch.setattr("gk.mail.folders.EXPUNGED", 10)
    inbox, database = await mailboxes.folders.get(1, "INBOX"), mailboxes.storage.database
    for number in range(40):
        await mailboxes.ingest.append(inbox.id, mail(number), Flag.DELETED if number < 36 else 0)
    away = Mailboxes(database, tmp_path / "mail")
    before = await away.views.get(inbox.id)
    for uid in range(1, 37):
        await mailboxes.entries.expunge(inbox.id, [uid])
        (notes,) = database.read_now(lambda r: r.driver.execute("SELECT count(*) FROM expunged").fetchone())
        assert notes <= 10
    assert (await away.views.get(inbox.id)).uids == (await mailboxes.views.get(inbox.id)).uids == [37, 38, 39, 40]
    changes = await mailboxes.views.changes(inbox.id, before.highest_modseq, before.uids)
    assert changes.vanished_uids == list(range(1, 37)) and changes.entries == []
    near = await mailboxes.views.changes(inbox.id, changes.highest_modseq - 1, [37, 38, 39, 40])
    assert near.vanished_uids == [36]
    await away.close()


async def test_quota_refuses_append_copy_and_delivery(mailboxes):
    mailboxes.quota.octets = 3 * len(mail())
    inbox = await mailboxes.folders.get(1, "INBOX")
    for number in range(3):
        await mailboxes.ingest.append(inbox.id, mail(number))
    with pytest.raises(OverQuota):
        await mailboxes.ingest.append(inbox.id, mail())
    with pytest.raises(OverQuota):
        await mailboxes.transfers.copy(inbox.id, [1], (await mailboxes.folders.get(1, "Archive")).id)
    (outcome,) = await mailboxes.ingest.deliver([Delivery(1, mail(), maildir.delivery_name(1, 1, 1))])
    assert isinstance(outcome, OverQuota)
    mailboxes.quota.octets = 5 * len(mail())  # room for two of these three
    outcomes = await mailboxes.ingest.deliver([Delivery(1, mail(n), maildir.delivery_name(1, n, 1)) for n in (1, 2, 3)])
    assert [isinstance(outcome, OverQuota) for outcome in outcomes] == [False, False, True]
    await mailboxes.transfers.move(inbox.id, [1], (await mailboxes.folders.get(1, "Archive")).id)  # moving takes no room
    await mailboxes.entries.store(inbox.id, [2], "add", Flag.DELETED)
    await mailboxes.entries.expunge(inbox.id)
    assert await mailboxes.ingest.append(inbox.id, mail())


async def test_a_delivery_to_a_deleted_mailbox_does_not_hurt_its_neighbours(mailboxes):
    await mailboxes.folders.create(1, "doomed")
    doomed = Delivery(1, mail(1), maildir.delivery_name(1, 1, 1), mailbox="doomed")
    both = [doomed, Delivery(1, mail(2), maildir.delivery_name(1, 2, 1))]
    real = mailboxes.storage.in_thread

    async def racing(work, *args):
        done = await real(work, *args)
        if getattr(work, "__name__", "") == "prepare":
            await mailboxes.folders.delete(1, "doomed")
        return done

    mailboxes.storage.in_thread = racing
    first, second = await mailboxes.ingest.deliver(both)
    assert isinstance(first, MailboxNotFound) and second.uid == 1
    contents = mailboxes.storage.database.read_now(lambda r: r.driver.execute("SELECT count(*) FROM content").fetchone())
    assert contents == (1,)


async def test_an_item_that_cannot_be_delivered_does_not_hurt_its_neighbours(mailboxes, tmp_path):
    name = maildir.delivery_name
    outcomes = await mailboxes.ingest.deliver([
        Delivery(1, tmp_path / "vanished.eml", name(1, 1, 1)),
        Delivery(1, mail(), name(1, 2, 1), mailbox="../x"),
        Delivery(99, mail(), name(1, 3, 1)),
        Delivery(1, mail(), name(1, 4, 1)),
    ])
    assert [type(outcome).__name__ for outcome in outcomes] == ["MessageGone", "MailboxNotFound", "MailboxNotFound", "Entry"]


async def test_a_cancelled_caller_leaves_a_whole_delivery(mailboxes):
    inbox = await mailboxes.folders.get(1, "INBOX")
    for number in range(20):
        task = asyncio.create_task(mailboxes.ingest.append(inbox.id, mail(number)))
        await asyncio.sleep(0.0003 * number)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, AssertionError)):
            await task
            raise AssertionError("was faster")
    await mailboxes.close()
    view = await mailboxes.views.get(inbox.id)
    assert set(maildir.scan(mailboxes.storage.path(inbox)).values()) == {entry.filename for entry in view.entries}
    assert (await mailboxes.folders.status(inbox.id)).messages == len(view.entries)


async def test_message_gone_is_said_not_crashed(mailboxes):
    inbox = await mailboxes.folders.get(1, "INBOX")
    entry = await mailboxes.ingest.append(inbox.id, mail(), Flag.DELETED)
    await mailboxes.entries.expunge(inbox.id)
    await comes(lambda: not maildir.scan(mailboxes.storage.path(inbox)))  # the file goes behind the answer
    with pytest.raises(MessageGone):
        await mailboxes.bodies.raw(entry, inbox)
    assert await mailboxes.bodies.read_many(inbox, [entry]) == [None]
    await mailboxes.folders.delete(1, "Junk")
    with pytest.raises(MailboxNotFound):
        await mailboxes.folders.get(1, "Junk")


async def test_threads_follow_references_and_a_hostile_list_of_them_is_bounded(mailboxes):
    inbox = await mailboxes.folders.get(1, "INBOX")
    await mailboxes.ingest.append(inbox.id, mail(1))
    await mailboxes.ingest.append(inbox.id, mail(2, "References: " + " ".join(f"<{n}@y>" for n in range(5000)) + " <1@x>\r\n"))
    await mailboxes.ingest.append(inbox.id, mail(3, "In-Reply-To: <2@x>\r\n"))
    await mailboxes.ingest.append(inbox.id, mail(4))
    query = "SELECT thread_id FROM message ORDER BY uid"
    threads = mailboxes.storage.database.read_now(lambda r: r.driver.execute(query).fetchall())
    assert threads[0] == threads[1] == threads[2] != threads[3]


async def test_the_watch_finds_what_another_program_delivers(mailboxes, monkeypatch):
    monkeypatch.setattr("gk.mail.mailbox.WATCH", 0.02)
    inbox = await mailboxes.folders.get(1, "INBOX")
    maildir.make(mailboxes.storage.path(inbox))
    mailboxes.watch.start()
    (mailboxes.storage.path(inbox) / "new" / "1.M1P1.procmail").write_bytes(mail())

    async def found():
        return (await mailboxes.folders.status(inbox.id)).messages

    await comes(found)
    assert (await mailboxes.views.get(inbox.id)).entries[0].filename == "new/1.M1P1.procmail"


# --- a model -------------------------------------------------------------------------------------------------------------

FLAGS = st.integers(0, 31)
PICK = st.integers(0, 7)
OPERATIONS = st.sampled_from(["set", "add", "remove"])


class Model(RuleBasedStateMachine):
    """Two folders, used by gk and by another program at once, against a dictionary. After every step all of it agrees."""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="gk-model-"))
        prepare(self.folder)
        self.database = Database.open(self.folder)
        self.mailboxes = Mailboxes(self.database, self.folder / "mail")
        self.boxes = [self.run(self.mailboxes.folders.get(1, name)) for name in ("INBOX", "Archive")]
        for box in self.boxes:
            maildir.make(self.mailboxes.storage.path(box))
        self.truth: list[dict[int, tuple[bytes, int]]] = [{}, {}]  # UID → (message, flags)
        self.modseq = [0, 0]
        self.number = 0

    def run(self, work):
        return self.loop.run_until_complete(work)

    def settle(self) -> None:
        """Let everything that runs behind finish, as `close` does."""
        tasks = self.mailboxes.storage.tasks
        self.run(tasks.finish())
        tasks.closing.clear()

    def uid(self, where: int, pick: int) -> int | None:
        uids = sorted(self.truth[where])
        return uids[pick % len(uids)] if uids else None

    @rule(where=st.integers(0, 1), flags=FLAGS)
    def append(self, where, flags):
        self.number += 1
        entry = self.run(self.mailboxes.ingest.append(self.boxes[where].id, mail(self.number), flags))
        self.truth[where][entry.uid] = (mail(self.number), flags)

    @rule(where=st.integers(0, 1), count=st.integers(1, 3))
    def deliver(self, where, count):
        items = []
        for _ in range(count):
            self.number += 1
            key = maildir.delivery_name(1.0, self.number, 1)
            items.append(Delivery(1, mail(self.number), key, mailbox=self.boxes[where].name))
        for item, entry in zip(items, self.run(self.mailboxes.ingest.deliver(items)), strict=True):
            self.truth[where][entry.uid] = (item.data, 0)

    @rule(where=st.integers(0, 1), picks=st.lists(PICK, max_size=3), operation=OPERATIONS, flags=FLAGS)
    def store(self, where, picks, operation, flags):
        uids = sorted({uid for pick in picks if (uid := self.uid(where, pick))})
        for entry in self.run(self.mailboxes.entries.store(self.boxes[where].id, [*uids, 9999], operation, flags)):
            data, old = self.truth[where][entry.uid]
            new = {"set": flags, "add": old | flags, "remove": old & ~flags}[operation]
            self.truth[where][entry.uid] = (data, new)
            assert entry.flags == new

    @rule(where=st.integers(0, 1), pick=PICK, moving=st.booleans(), same=st.booleans())
    def transfer(self, where, pick, moving, same):
        uid = self.uid(where, pick)
        if uid is None:
            return
        target = where if same else 1 - where
        work = self.mailboxes.transfers.move if moving else self.mailboxes.transfers.copy
        ((old, new),) = self.run(work(self.boxes[where].id, [uid, 9999], self.boxes[target].id))
        self.truth[target][new] = self.truth[where][old]
        if moving:
            del self.truth[where][old]

    @rule(where=st.integers(0, 1))
    def expunge(self, where):
        gone = self.run(self.mailboxes.entries.expunge(self.boxes[where].id))
        assert set(gone) == {uid for uid, (_, flags) in self.truth[where].items() if flags & Flag.DELETED}
        for uid in gone:
            del self.truth[where][uid]

    @rule(where=st.integers(0, 1), pick=PICK, flags=FLAGS)
    def another_program_sets_flags(self, where, pick, flags):
        self.settle()
        self.run(self.mailboxes.sync.mailbox(self.boxes[where].id))
        uid = self.uid(where, pick)
        if uid is None:
            return
        home = self.mailboxes.storage.path(self.boxes[where])
        entry = self.run(self.mailboxes.views.get(self.boxes[where].id)).find(uid)
        name = maildir.parse_name(entry.filename)
        os.rename(home / entry.filename, home / maildir.file_name(name.base, flags, name.others))
        self.run(self.mailboxes.sync.mailbox(self.boxes[where].id))
        self.truth[where][uid] = (self.truth[where][uid][0], flags)

    @rule(where=st.integers(0, 1), pick=PICK)
    def another_program_deletes(self, where, pick):
        self.settle()
        uid = self.uid(where, pick)
        if uid is None:
            return
        home = self.mailboxes.storage.path(self.boxes[where])
        entry = self.run(self.mailboxes.views.get(self.boxes[where].id)).find(uid)
        os.unlink(home / entry.filename)
        self.run(self.mailboxes.sync.mailbox(self.boxes[where].id))
        del self.truth[where][uid]

    @rule(where=st.integers(0, 1), flags=FLAGS)
    def another_program_delivers(self, where, flags):
        self.number += 1
        box = self.boxes[where]
        name = maildir.file_name(f"{self.number}.M1P1.mutt", flags)
        (self.mailboxes.storage.path(box) / name).write_bytes(mail(self.number).replace(b"\r\n", b"\n"))
        uid = self.run(self.mailboxes.folders.by_id(box.id)).uidnext
        self.run(self.mailboxes.sync.mailbox(box.id))
        self.truth[where][uid] = (mail(self.number), flags)

    @rule()
    def restart(self):
        """The process ends without closing anything; a new one takes over."""
        tasks = list(self.mailboxes.storage.tasks.running)
        for task in tasks:
            task.cancel()
        if tasks:
            self.run(asyncio.wait(tasks))
        self.mailboxes = Mailboxes(self.database, self.folder / "mail")
        self.run(self.mailboxes.recover())

    @precondition(lambda self: hasattr(self, "boxes"))
    @invariant()
    def all_of_it_agrees(self):
        for where, box in enumerate(self.boxes):
            view, truth = self.run(self.mailboxes.views.get(box.id)), self.truth[where]
            assert {entry.uid: entry.flags for entry in view.entries} == {uid: flags for uid, (_, flags) in truth.items()}
            assert view.uids == sorted(truth)
            status = self.run(self.mailboxes.folders.status(box.id))
            assert status.messages == len(truth)
            assert status.unseen == sum(not flags & Flag.SEEN for _, flags in truth.values())
            assert status.size == sum(len(data) for data, _ in truth.values())
            assert self.run(self.mailboxes.bodies.read_many(box, view.entries)) == [truth[uid][0] for uid in view.uids]
            assert view.highest_modseq >= self.modseq[where]
            self.modseq[where] = view.highest_modseq

    def teardown(self) -> None:
        if not hasattr(self, "boxes"):
            return
        self.settle()
        for where, box in enumerate(self.boxes):
            self.run(self.mailboxes.sync.mailbox(box.id))
            assert self.run(self.mailboxes.sync.mailbox(box.id)) is False
            self.all_of_it_agrees()
            files = maildir.scan(self.mailboxes.storage.path(box))
            assert len(files) == len(self.truth[where])
            view = self.run(self.mailboxes.views.get(box.id))
            assert {entry.filename for entry in view.entries} == set(files.values())
            assert all(maildir.parse_name(entry.filename).flags == entry.flags for entry in view.entries)
        orphans = "SELECT count(*) FROM content WHERE NOT EXISTS (SELECT 1 FROM message WHERE content_id = content.id)"
        assert self.database.read_now(lambda r: r.driver.execute(orphans).fetchone()) == (0,)
        self.run(self.mailboxes.close())
        self.database.close()
        self.loop.close()
        shutil.rmtree(self.folder)


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
