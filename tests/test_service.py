"""The mail service: what a person can do, what they cannot see, and that sent means queued."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError

from gk.accounts.address import Address, AddressError
from gk.accounts.directory import Directory
from gk.core.config import Settings
from gk.core.database import Database, StorageFull
from gk.core.hub import Hub
from gk.mail import letters, maildir, sending
from gk.mail.ingest import Delivery
from gk.mail.mailbox import Mailboxes
from gk.mail.queue import SPOOL_BYTES, Queue, Result
from gk.mail.search import Search
from gk.mail.service import (
    FolderNotFound,
    Invalid,
    Mail,
    MailError,
    MailService,
    NewAttachment,
    NotFound,
    Outgoing,
    OverQuota,
    Person,
    Refused,
)

NOON = 1704452400.0  # 5 January 2024, 11:00 UTC


class Office:
    """Alice, Bob and Carol, with an alias for Alice and a list of Alice and Bob."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.database = Database.open(folder)
        self.hub = Hub(self.database)
        self.directory = Directory(self.database, self.hub)
        chosen = Settings(data=folder, **settings)
        self.mailboxes = Mailboxes(self.database, folder / "mail", chosen)
        self.queue = Queue(self.database, folder / "spool")
        self.search = Search(self.database, self.mailboxes, folder / "search.db")
        self.service = MailService(self.mailboxes, self.queue, self.directory, self.search, chosen, clock=lambda: NOON)

    async def open(self) -> Office:
        await self.directory.add_domain("example.test")
        names = ("Alice", "Bob", "Carol")
        people = [await self.directory.add_account(f"{name.lower()}@example.test", None, name) for name in names]
        self.alice, self.bob, self.carol = (self.service.of(person) for person in people)
        await self.directory.add_alias("info@example.test", "alice@example.test")
        await self.directory.add_alias("team@example.test", "alice@example.test")
        await self.directory.add_alias("team@example.test", "bob@example.test")
        for person in people:
            await self.mailboxes.defaults.ensure(person.id)
        return self

    async def close(self) -> None:
        await self.search.close()
        await self.mailboxes.close()
        self.database.close()

    async def deliver(self) -> None:
        """What smtp/delivery does."""
        for item in await self.queue.claim(100, NOON + 1):
            data = item.data if item.data is not None else item.spool
            items = [Delivery(r.account_id, data, maildir.delivery_name(item.created, item.id, r.id)) for r in item.recipients]
            results = [Result(r.id, "sent", "250 2.0.0 delivered") for r in item.recipients]
            await self.mailboxes.ingest.deliver(items, lambda tx, outcomes, results=results: self.queue.settle(tx, results))

    async def put(
        self, mail: Mail, text: str = "", folder: str = "INBOX", when: float = NOON, flags: int = 0, **headers: str
    ) -> str:
        """A message in somebody's folder; its id."""
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in ({"From": "x@y.test"} | headers).items())
        box = await self.mailboxes.folders.get(mail.account.id, folder)
        data = f"{head}\r\n{text}\r\n".encode()
        entry = await self.mailboxes.ingest.append(box.id, data, flags, internal_date=datetime.fromtimestamp(when, UTC))
        return str(entry.id)


@pytest_asyncio.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    made = await Office(tmp_path).open()
    yield made
    await made.close()


def everything(mail: Mail, id: str) -> dict[str, Any]:
    """Every call that takes a message id."""
    return {
        "read_email": mail.read_email(id),
        "source": mail.source(id),
        "summaries": mail.summaries([id]),
        "attachment": mail.attachment(id, "2"),
        "html": mail.html(id),
        "thread": mail.thread(id),
        "move_email": mail.move_email([id], "Archive"),
        "delete_email": mail.delete_email([id]),
        "flag_email": mail.flag_email([id], "seen"),
        "prepare_reply": mail.prepare_reply(id, "x"),
        "prepare_forward": mail.prepare_forward(id),
        "reply_email": mail.reply_email(id, "x"),
        "forward_email": mail.forward_email(id, [Person(address="bob@example.test")]),
        "send reply": mail.send_email(Outgoing(to=["bob@example.test"], in_reply_to_id=id)),
        "send part": mail.send_email(
            Outgoing(to=["bob@example.test"], attachments=[NewAttachment(name="x", part_of=id, part="2")])
        ),
    }  # fmt: skip


async def test_ids_of_others_and_of_nobody_say_the_same(office: Office) -> None:
    theirs = await office.put(office.bob, "secret", Subject="Bob's")
    said: dict[str, list[str]] = {}
    for id in (theirs, "999999", "0", "-1", "x", "", "1 OR 1=1", "9" * 40):
        for name, work in everything(office.alice, id).items():
            if name == "send reply" and not id:  # that is a message which answers none
                work.close()
                continue
            with pytest.raises(NotFound) as caught:
                await work
            said.setdefault(name, []).append(str(caught.value))
    assert all(len(set(texts)) == 1 for texts in said.values()), said
    assert (await office.bob.read_email(theirs)).unread
    assert (await office.queue.status(NOON))["pending"] == 0


async def test_one_foreign_id_among_own_ones_changes_nothing(office: Office) -> None:
    own, theirs = await office.put(office.alice), await office.put(office.bob)
    for work in (
        office.alice.move_email([own, theirs], "Archive"),
        office.alice.delete_email([own, theirs]),
        office.alice.flag_email([own, theirs], "seen"),
    ):
        with pytest.raises(NotFound):
            await work
    mail = await office.alice.read_email(own)
    assert (mail.folder, mail.unread) == ("INBOX", True)


async def test_reading_changes_nothing(office: Office) -> None:
    id = await office.put(office.alice, "<p>hi</p>", Content_Type="text/html")
    before = (await office.mailboxes.folders.get(office.alice.account.id, "INBOX")).highest_modseq
    await office.alice.read_email(id)
    await office.alice.html(id)
    await office.alice.thread(id)
    await office.alice.list_emails()
    after = await office.mailboxes.folders.get(office.alice.account.id, "INBOX")
    assert (after.highest_modseq, after.unseen) == (before, 1)


# --- lists --------------------------------------------------------------------------------------------------------------------


async def pages(list_: Any, **arguments: Any) -> list[list[str]]:
    """Ids of every page."""
    found, cursor = [], None
    for _ in range(100):
        page = await list_(cursor=cursor, **arguments)
        found.append([mail.id for mail in page.items])
        cursor = page.next
        if cursor is None:
            return found
    raise AssertionError("the list never ends")


@pytest.mark.parametrize("unread_only", [False, True])
@pytest.mark.parametrize("few", [letters.FEW_UNREAD, -1], ids=["unread index", "date index"])
async def test_pages_cover_everything_once(office: Office, monkeypatch: pytest.MonkeyPatch, unread_only: bool, few: int) -> None:
    monkeypatch.setattr(letters, "FEW_UNREAD", few)
    dates = [NOON + n // 5 + 0.1 * (n // 10) for n in range(23)]  # some are equal
    ids = [await office.put(office.alice, when=date, flags=n % 2) for n, date in enumerate(dates)]
    wanted = [id for n, id in enumerate(ids) if not (unread_only and n % 2)]
    found = await pages(office.alice.list_emails, limit=4, unread_only=unread_only)
    assert list(itertools.chain(*found)) == wanted[::-1]
    assert all(len(page) == 4 for page in found[:-1])


async def test_pages_of_a_search_cover_everything_once(office: Office) -> None:
    ids = [await office.put(office.alice, "needle", when=NOON + n // 6) for n in range(20)]
    await office.put(office.alice, "straw")
    await office.put(office.bob, "needle")
    found = await pages(office.alice.search_emails, query="needle", limit=3)
    assert list(itertools.chain(*found)) == ids[::-1]


async def test_mail_that_arrives_does_not_shift_the_next_page(office: Office) -> None:
    ids = [await office.put(office.alice, when=NOON + n) for n in range(6)]
    first = await office.alice.list_emails(limit=3)
    await office.put(office.alice, when=NOON + 100)
    second = await office.alice.list_emails(limit=3, cursor=first.next)
    assert [mail.id for mail in second.items] == ids[2::-1]


async def test_lists_walk_along_an_index(office: Office) -> None:
    """No sorting, no scan: that is why a hundred thousand messages do not matter."""
    for n in range(3):
        await office.put(office.alice, when=NOON + n)
    box = await office.mailboxes.folders.get(office.alice.account.id, "INBOX")
    plans: list[list[str]] = []

    def explain(reader: Any) -> None:
        class Spy:
            def execute(self, query: str, values: Any) -> Any:
                plans.append([row[3] for row in reader.driver.execute("EXPLAIN QUERY PLAN " + query, values)])
                return reader.driver.execute(query, values)

        letters.listed(type("Reader", (), {"driver": Spy()})(), box, 50, letters.Place(NOON + 9, 7), since=1.0, before=NOON + 9)

    office.database.read_now(explain)
    choosing, reading = plans
    by_date = "ix_message_newest (mailbox_id=? AND internal_date>? AND internal_date<?)"
    assert choosing == [f"SEARCH message USING COVERING INDEX {by_date}"]
    assert reading[0] == "SEARCH m USING INTEGER PRIMARY KEY (rowid=?)"
    assert not any(step.startswith("SCAN m") or "TEMP B-TREE" in step for step in reading)


async def test_filters(office: Office) -> None:
    old = await office.put(office.alice, when=NOON - 86400, From='"Zoé" <zoe@far.test>')
    new = await office.put(office.alice, when=NOON, flags=1)
    day = datetime.fromtimestamp(NOON - 3600, UTC)
    assert [m.id for m in (await office.alice.list_emails(since=day)).items] == [new]
    assert [m.id for m in (await office.alice.list_emails(before=day)).items] == [old]
    assert [m.id for m in (await office.alice.list_emails(sender="ZOE")).items] == [old]
    assert [m.id for m in (await office.alice.search_emails(unread_only=True)).items] == [old]
    for wrong in ({"limit": 0}, {"cursor": "x"}, {"cursor": "1_2_3"}):
        with pytest.raises(Invalid):
            await office.alice.list_emails(**wrong)
    with pytest.raises(FolderNotFound):
        await office.alice.list_emails("a\0b")
    assert len((await office.alice.list_emails(limit=10**9)).items) == 2


async def test_json_contract(office: Office) -> None:
    people = {"From": "Bob <bob@example.test>", "To": "Alice <alice@example.test>"}
    id = await office.put(office.alice, "Bonjour", Subject="=?utf-8?q?=C3=89t=C3=A9?=", **people)
    (item,) = json.loads((await office.alice.list_emails()).model_dump_json())["items"]
    assert item == {
        "id": id, "folder": "INBOX", "from": {"name": "Bob", "address": "bob@example.test"}, "subject": "Été",
        "to": [{"name": "Alice", "address": "alice@example.test"}], "date": "2024-01-05T11:00:00Z",
        "unread": True, "flagged": False, "answered": False,
        "has_attachment": False, "snippet": "Bonjour", "thread_id": id, "size": item["size"],
    }  # fmt: skip
    opened = json.loads((await office.alice.read_email(id)).model_dump_json())
    assert opened["text"].strip() == "Bonjour" and opened["from"] == item["from"]


# --- sending ------------------------------------------------------------------------------------------------------------------


async def test_sent_is_queued_and_kept(office: Office) -> None:
    message = Outgoing(to=["Bob <bob@example.test>"], bcc=["carol@example.test"], subject="Été", text="hello")
    sent = await office.alice.send_email(message)
    copy = await office.alice.read_email(sent.id)
    assert (copy.folder, copy.unread, [p.address for p in copy.bcc]) == ("Sent", False, ["carol@example.test"])
    assert [(o.address, o.status) for o in copy.delivery] == [("bob@example.test", "pending"), ("carol@example.test", "pending")]
    (item,) = await office.queue.claim(10, NOON + 1)
    assert item.data is not None and b"carol" not in item.data.lower() and b"bcc" not in item.data.lower()
    assert (item.sender, item.origin, item.account_id) == ("alice@example.test", "web", office.alice.account.id)


async def test_the_copy_says_what_became_of_it(office: Office) -> None:
    sent = await office.alice.send_email(Outgoing(to=["bob@example.test"], text="x"))
    (item,) = await office.queue.claim(10, NOON + 1)
    await office.queue.settle_now([Result(item.recipients[0].id, "failed", "552 mailbox full")])
    (outcome,) = (await office.alice.read_email(sent.id)).delivery
    assert (outcome.status, outcome.reply) == ("failed", "552 mailbox full")
    await office.alice.move_email([sent.id], "Archive")
    assert (await office.alice.read_email(sent.id)).delivery == [outcome]


async def test_copy_and_queue_are_one_transaction(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> int:
        raise StorageFull("the disk is full")

    monkeypatch.setattr(sending, "insert", broken)
    large = "x y\n" * SPOOL_BYTES
    for text in ("x", large):
        with pytest.raises(StorageFull):
            await office.alice.send_email(Outgoing(to=["bob@example.test"], text=text))
    assert not office.queue.spool_folder.path.exists() or not list(office.queue.spool_folder.path.iterdir())
    assert await office.alice.count_emails("Sent") == 0
    monkeypatch.undo()
    assert (await office.queue.status(NOON))["pending"] == 0
    box = await office.mailboxes.folders.get(office.alice.account.id, "Sent")
    files = [*office.mailboxes.storage.path(box).rglob("new/*"), *office.mailboxes.storage.path(box).rglob("cur/*")]
    assert files == []


async def test_large_messages_go_to_the_spool_and_arrive(office: Office) -> None:
    content = bytes(range(256)) * (SPOOL_BYTES // 256)
    files = [NewAttachment.of("a.bin", "application/zip", content)]
    await office.alice.send_email(Outgoing(to=["bob@example.test"], attachments=files))
    assert len(list(office.queue.spool_folder.path.iterdir())) == 1
    await office.deliver()
    (mail,) = (await office.bob.list_emails()).items
    assert (await office.bob.attachment(mail.id, "2")).data == content


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        (["nobody@example.test"], "nobody with the address nobody@example.test"),
        (["x@elsewhere.test"], "other servers"),
        (["bob@example.test", "nobody@example.test", "x@elsewhere.test"], "nobody@example.test here. Mail to other servers"),
        (["fwd@example.test"], "away@elsewhere.test"),
    ],
)
async def test_refused_before_anything_is_queued(office: Office, to: list[str], reason: str) -> None:
    await office.directory.add_alias("fwd@example.test", "away@elsewhere.test")
    with pytest.raises(Refused, match=reason):
        await office.alice.send_email(Outgoing(to=to, text="x"))
    assert (await office.queue.status(NOON))["pending"] == 0 and await office.alice.count_emails("Sent") == 0


async def test_the_outside_world_is_reached_where_there_is_one(office: Office) -> None:
    office.service.outside = lambda address: address.domain == "outside.test"
    await office.alice.send_email(Outgoing(to=["x@outside.test"], text="x"))
    (item,) = await office.queue.claim(10, NOON + 1)
    assert [(r.address, r.account_id) for r in item.recipients] == [("x@outside.test", None)]
    with pytest.raises(Refused):
        await office.alice.send_email(Outgoing(to=["x@elsewhere.test"], text="x"))


async def test_each_person_gets_one_copy(office: Office) -> None:
    to = ["team@example.test", "alice@example.test", "ALICE+x@example.test", "info@example.test", "bob@example.test"]
    await office.carol.send_email(Outgoing(to=to, cc=["Bob@Example.Test"], text="x"))
    await office.deliver()
    assert [await mail.count_emails() for mail in (office.alice, office.bob, office.carol)] == [1, 1, 0]


async def test_too_many_too_large_no_recipient_no_room(tmp_path: Path) -> None:
    office = await Office(tmp_path, smtp={"max_recipients": 2, "max_message_bytes": 2000}, mail={"quota_bytes": 5000}).open()
    try:
        with pytest.raises(Invalid, match="no recipient"):
            await office.alice.send_email(Outgoing(text="x"))
        people = ["alice@example.test", "bob@example.test", "carol@example.test"]
        await office.alice.send_email(Outgoing(to=people[:2]))
        with pytest.raises(Refused, match="2 recipients"):
            await office.alice.send_email(Outgoing(to=people))
        with pytest.raises(Refused, match="too large"):
            await office.alice.send_email(Outgoing(to=people[:1], text="x" * 2000))
        for _ in range(3):
            await office.put(office.alice, "x" * 1200)
        before = await office.queue.status(NOON)
        with pytest.raises(OverQuota):
            await office.alice.send_email(Outgoing(to=people[:1], text="x" * 900))
        assert await office.queue.status(NOON) == before
    finally:
        await office.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"to": ["bob"]},
        {"to": ["bob@example.test, eve@evil.test"]},
        {"to": ["bob@example.test\r\nRCPT TO:<eve@evil.test>"]},
        {"to": [{"name": "Bob\r\nBcc: eve@evil.test", "address": "bob@example.test"}]},
        {"to": [{"address": "bob@example.test\n"}, {"address": "x\0@example.test"}]},
        {"subject": "Hi\r\nBcc: eve@evil.test"},
        {"subject": "Hi\0"},
        {"from": "eve@evil.test"},
        {"to": ["bob@example.test"] * 1001},
        {"text": "x" * 5_000_001},
        {"attachments": [{"name": "x", "data": "not base64!"}]},
    ],
)
def test_outgoing_is_checked_at_the_edge_rfc5322_2_2(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Outgoing(**wrong)


HALF = "a\ud800b"  # half of a surrogate pair: JSON can carry it, nothing can write it


@pytest.mark.parametrize(
    "wrong",
    [
        {"to": [{"name": HALF, "address": "bob@example.test"}]},
        {"to": [f"{HALF} <bob@example.test>"]},
        {"cc": [Person(name=HALF, address="bob@example.test")]},
        {"bcc": [f"{HALF}@example.test"]},
        {"to": [f"bob@{HALF}.test"]},
        {"subject": HALF},
        {"text": HALF},
        {"attachments": [{"name": HALF, "data": "eA=="}]},
        {"attachments": [{"name": "x", "type": f"text/{HALF}", "data": "eA=="}]},
    ],
)
def test_rfc8259_half_of_a_surrogate_pair_is_no_part_of_a_mail(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Outgoing(**wrong)


async def test_rfc8259_half_of_a_surrogate_pair_is_invalid_in_every_call(office: Office) -> None:
    alice, id = office.alice, await office.put(office.alice)
    bob = Person(name=HALF, address="bob@example.test")
    for work in (
        alice.list_emails(HALF), alice.count_emails(HALF), alice.search_emails(HALF), alice.search_emails(subject=HALF),
        alice.search_emails(recipient=HALF), alice.list_emails(sender=HALF), alice.list_emails(cursor=HALF),
        alice.move_email([id], HALF), alice.flag_email([id], HALF), alice.create_folder(HALF), alice.prepare_reply(id, HALF),
        alice.reply_email(id, HALF), alice.forward_email(id, [bob]), alice.forward_email(id, [], HALF),
    ):  # fmt: skip
        with pytest.raises(Invalid):
            await work
    for work in (alice.read_email(HALF), alice.attachment(id, HALF), alice.flag_email([HALF], "seen")):
        with pytest.raises(NotFound):
            await work
    assert (await office.queue.status(NOON))["pending"] == 0


# --- what a person is told ----------------------------------------------------------------------------------------------------


async def told(work: Any) -> tuple[str, str]:
    """An error in English and in French."""
    with pytest.raises(MailError) as caught:
        await work
    return str(caught.value), caught.value.text("fr-CA")


async def test_every_refusal_speaks_french(office: Office) -> None:
    alice, id = office.alice, await office.put(office.alice, From="not an address")
    several = Outgoing(to=["nobody@example.test", "x@elsewhere.test"])
    for work in (
        alice.read_email("999"), alice.list_emails("Nowhere"), alice.list_emails(limit=0), alice.list_emails(cursor="x"),
        alice.send_email(Outgoing()), alice.send_email(several), alice.prepare_reply(id, "x"), alice.attachment(id, "9"),
        alice.flag_email([id], "two words"), alice.create_folder("INBOX"), alice.create_folder(""), alice.create_folder("a\nb"),
        alice.create_folder("x" * 2000), alice.create_folder("a/" * 20 + "b"), alice.create_folder("*"),
        alice.forward_email(id, [Person(address="bob")]), alice.search_emails(HALF),
        alice.forward_email(id, [Person(name="a\nb", address="bob@example.test")]),
        alice.send_email(Outgoing(to=["bob@example.test"], attachments=[NewAttachment(name="x")])),
    ):  # fmt: skip
        english, french = await told(work)
        assert english != french and "{" not in english + french, english


async def test_a_refusal_names_each_in_both_languages(office: Office) -> None:
    english, french = await told(office.alice.send_email(Outgoing(to=["nobody@example.test", "{x}@elsewhere.test"])))
    assert english == (
        "There is nobody with the address nobody@example.test here. "
        "Mail to other servers cannot be sent yet, so {x}@elsewhere.test cannot be reached."
    )
    assert french.startswith("Il n’y a personne ici à l’adresse nobody@example.test. On ne peut pas encore")


@pytest.mark.parametrize(
    "wrong",
    ["", "bob", "@example.test", "a b@example.test", "bob@", "bob@a..test", "bob@-a.test", '"bob@example.test', "bob@[x]",
     "x" * 242 + "@example.test", "bob@" + "x" * 64 + ".test", "bob@" + "x." * 130 + "test", "a\tb@example.test"],
)  # fmt: skip
def test_a_wrong_address_is_explained_in_french(wrong: str) -> None:
    with pytest.raises(AddressError) as caught:
        Address.parse(wrong)
    assert caught.value.text("fr") != caught.value.text("en") == str(caught.value)


async def test_header_injection_in_a_file_name_is_refused(office: Office) -> None:
    file = NewAttachment.of("a\r\nX-Evil: 1", "text/plain", b"x")
    with pytest.raises(Invalid):
        await office.alice.send_email(Outgoing(to=["bob@example.test"], attachments=[file]))


# --- replies, forwards, threads -----------------------------------------------------------------------------------------------


async def test_a_conversation(office: Office) -> None:
    message = Outgoing(to=["bob@example.test"], cc=["carol@example.test"], subject="Plan", text="Demain ?")
    sent = await office.alice.send_email(message)
    await office.deliver()
    (got,) = (await office.bob.list_emails()).items
    await office.bob.reply_email(got.id, "Oui", reply_all=True)
    await office.deliver()
    assert (await office.bob.read_email(got.id)).answered
    for mail, folders in ((office.alice, ["Sent", "INBOX"]), (office.bob, ["INBOX", "Sent"]), (office.carol, ["INBOX", "INBOX"])):
        thread = await mail.thread((await mail.list_emails()).items[0].id)
        assert sorted(email.folder for email in thread) == sorted(folders)
        assert {email.subject for email in thread} == {"Plan", "Re: Plan"}
    answer = (await office.alice.list_emails()).items[0]
    assert answer.thread_id == (await office.alice.read_email(sent.id)).thread_id
    assert [p.address for p in (await office.alice.read_email(answer.id)).cc] == ["carol@example.test"]


async def test_reply_all_leaves_out_oneself_under_every_address(office: Office) -> None:
    people = {"From": "bob@example.test", "To": "info@example.test, Alice+x@example.test", "Cc": "carol@example.test"}
    id = await office.put(office.alice, "x", **people)
    answer = await office.alice.prepare_reply(id, "y", reply_all=True)
    assert [[p.address for p in people] for people in (answer.to, answer.cc)] == [["bob@example.test"], ["carol@example.test"]]
    nobody = await office.put(office.alice, "x", From="not an address")
    with pytest.raises(Invalid, match="no address"):
        await office.alice.prepare_reply(nobody, "y")


async def test_an_answer_to_all_still_reaches_the_rest_of_the_team(office: Office) -> None:
    """A shared address reaches oneself too; left out as one's own, the others would not get the answer."""
    id = await office.put(office.alice, "x", From="carol@example.test", To="team@example.test", Cc="info@example.test")
    answer = await office.alice.prepare_reply(id, "y", reply_all=True)
    assert [[p.address for p in people] for people in (answer.to, answer.cc)] == [["carol@example.test"], ["team@example.test"]]


async def test_an_answer_to_all_leaves_out_the_catch_all(office: Office) -> None:
    await office.directory.add_domain("alice.test")
    await office.directory.add_alias("@alice.test", "alice@example.test")
    id = await office.put(office.alice, "x", From="bob@example.test", To="shop@alice.test, carol@example.test")
    answer = await office.alice.prepare_reply(id, "y", reply_all=True)
    assert [[p.address for p in people] for people in (answer.to, answer.cc)] == [["bob@example.test"], ["carol@example.test"]]


async def test_one_more_word_goes_to_those_it_was_sent_to(office: Office) -> None:
    sent = await office.alice.send_email(Outgoing(to=["bob@example.test"], cc=["carol@example.test"], subject="Plan"))
    answer = await office.alice.prepare_reply(sent.id, "and bring it")
    assert ([p.address for p in answer.to], answer.subject) == (["bob@example.test"], "Re: Plan")
    again = await office.alice.prepare_reply(sent.id, "and bring it", reply_all=True)
    assert [p.address for p in again.cc] == ["carol@example.test"]


async def test_a_forward_of_html_takes_its_pictures_along(office: Office) -> None:
    id = await office.put(office.alice, Subject="TR: Fwd: Logo", Content_Type=RELATED)
    await office.alice.forward_email(id, [Person(address="bob@example.test")], "voilà")
    await office.deliver()
    (mail,) = (await office.bob.list_emails()).items
    email = await office.bob.read_email(mail.id)
    assert (email.subject, [(file.name, file.type) for file in email.attachments]) == ("Fwd: Logo", [("part 2.png", "image/png")])
    assert email.text.startswith("voilà\n\n----------") and email.text.rstrip().endswith("Logo")
    assert (await office.bob.attachment(mail.id, email.attachments[0].part)).data == b"\x89PNG\r\n\x1a\n"


async def test_a_forward_of_a_long_text_has_all_of_it(office: Office) -> None:
    id = await office.put(office.alice, "word " * 100_000 + "the end")
    assert (await office.alice.prepare_forward(id)).text.rstrip().endswith("the end")


async def test_forward_keeps_attachments_and_marks_the_original(office: Office) -> None:
    files = [NewAttachment.of("été.txt", "text/plain", b"content")]
    await office.alice.send_email(Outgoing(to=["bob@example.test"], subject="Plan", attachments=files))
    await office.deliver()
    (got,) = (await office.bob.list_emails()).items
    prepared = await office.bob.prepare_forward(got.id, [Person(address="carol@example.test")], "voilà")
    assert [(a.name, a.data, a.part_of) for a in prepared.attachments] == [("été.txt", None, got.id)]
    await office.bob.send_email(prepared)
    await office.deliver()
    (passed,) = (await office.carol.list_emails()).items
    (info,) = (await office.carol.read_email(passed.id)).attachments
    content = (await office.carol.attachment(passed.id, info.part)).data
    assert (passed.subject, info.name, content) == ("Fwd: Plan", "été.txt", b"content")
    box = await office.mailboxes.folders.get(office.bob.account.id, "INBOX")
    assert (await office.mailboxes.views.get(box.id)).entries[0].keywords == ("$Forwarded",)


async def test_threads_leave_out_copies_and_the_trash(office: Office) -> None:
    first = await office.put(office.alice, Message_ID="<1@x>", Subject="a")
    second = await office.put(office.alice, Message_ID="<2@x>", In_Reply_To="<1@x>", when=NOON + 1)
    third = await office.put(office.alice, Message_ID="<3@x>", References="<1@x> <2@x>", when=NOON + 2)
    inbox, archive = [await office.mailboxes.folders.get(office.alice.account.id, name) for name in ("INBOX", "Archive")]
    await office.mailboxes.transfers.copy(inbox.id, [1], archive.id)
    await office.alice.delete_email([second])
    assert [email.id for email in await office.alice.thread(first)] == [first, third]
    assert [email.id for email in await office.alice.thread(second)] == [first, second, third]


async def test_a_stranger_is_no_correspondent(office: Office) -> None:
    """The assistant looks up names here: whoever merely writes as "Bob" must not be found."""
    await office.put(office.alice, From='"Bob" <mallory@evil.test>')
    await office.put(office.alice, folder="Sent", To='"B." <bob@example.test>', Reply_To="other@x.test", flags=1)
    assert await office.alice.correspondents() == [Person(name="Bob", address="bob@example.test")]
    assert [p.address for p in await office.alice.recent_people()] == ["bob@example.test", "mallory@evil.test"]


# --- order --------------------------------------------------------------------------------------------------------------------


async def test_move_flag_delete_across_folders(office: Office) -> None:
    one, two = await office.put(office.alice), await office.put(office.alice, folder="Archive")
    assert await office.alice.flag_email([one, two, one], "flagged") == 2
    assert await office.alice.move_email([one, two], "Junk") == 2
    assert [(m.id, m.flagged) for m in (await office.alice.list_emails("Junk")).items] == [(two, True), (one, True)]
    for word in ("seen", "unseen", "read", "unread", "unflagged", "answered", "\\Seen", "$Label", "-$Label"):
        await office.alice.flag_email([one], word)
    mail = await office.alice.read_email(one)
    assert (mail.unread, mail.flagged, mail.answered) == (False, False, True)
    for wrong in ("", "two words", "x" * 200, "a\r\nb"):
        with pytest.raises(Invalid):
            await office.alice.flag_email([one], wrong)
    assert await office.alice.delete_email([one, two]) == 2
    assert {m.id for m in (await office.alice.list_emails("Trash")).items} == {one, two}
    assert await office.alice.delete_email([one]) == 1
    with pytest.raises(NotFound):
        await office.alice.read_email(one)
    assert await office.alice.count_emails("Trash") == 1


async def test_deleting_from_the_trash_spares_what_others_marked(office: Office) -> None:
    """Expunging is by id: a message that a client marked \\Deleted in the trash stays until that client expunges it."""
    one, two = [await office.put(office.alice, folder="Trash") for _ in range(2)]
    box = await office.mailboxes.folders.get(office.alice.account.id, "Trash")
    await office.mailboxes.entries.store(box.id, [2], "add", 8)
    await office.alice.delete_email([one])
    assert [m.id for m in (await office.alice.list_emails("Trash")).items] == [two]


async def test_folders(office: Office) -> None:
    made = await office.alice.create_folder("Clients/2026")
    assert (made.name, made.messages) == ("Clients/2026", 0)
    await office.put(office.alice, folder="Clients/2026")
    names = [(f.name, f.messages, f.unread) for f in await office.alice.list_folders()]
    assert names[:6] == [(n, 0, 0) for n in ("INBOX", "Drafts", "Sent", "Archive", "Junk", "Trash")]
    assert names[-1] == ("Clients/2026", 1, 1) and await office.alice.count_emails("Clients/2026", unread_only=True) == 1
    for wrong in ("", "a\r\nb", "INBOX", "a//b", "x" * 2000):
        with pytest.raises(Invalid):
            await office.alice.create_folder(wrong)


async def test_drafts(office: Office) -> None:
    message = Outgoing(to=["bob@example.test"], bcc=["x@elsewhere.test"], subject="s", text="t")
    mail = await office.alice.read_email((await office.alice.create_draft(message)).id)
    assert (mail.folder, mail.unread, mail.text.strip()) == ("Drafts", False, "t")
    assert [p.address for p in mail.bcc] == ["x@elsewhere.test"]
    assert (await office.alice.create_draft(Outgoing())).subject == ""
    assert (await office.queue.status(NOON))["pending"] == 0


# --- letters ------------------------------------------------------------------------------------------------------------------

RELATED = """multipart/related; boundary=b

--b
Content-Type: text/html; charset=utf-8

<p>Logo <img src="cid:logo@x"> <img src="http://evil.test/seen.gif"> <script>x</script></p>
--b
Content-Type: image/png
Content-ID: <logo@x>
Content-Transfer-Encoding: base64

iVBORw0KGgo=
--b--""".replace("\n", "\r\n")


async def test_html_brings_its_own_pictures_and_no_others(office: Office) -> None:
    id = await office.put(office.alice, Content_Type=RELATED)
    safe = await office.alice.html(id)
    assert "data:image/png;base64,iVBORw0KGgo=" in safe.html and safe.blocked == 1
    assert "evil.test" not in safe.html and "script" not in safe.html
    assert "http://evil.test/seen.gif" in (await office.alice.html(id, images=True)).html
    mail = await office.alice.read_email(id)
    assert (mail.has_html, mail.has_attachment, [a.embedded for a in mail.attachments]) == (True, False, [True])
    assert mail.text.strip() == "Logo"


async def test_long_letters_are_cut_and_say_so(office: Office) -> None:
    short, long = await office.put(office.alice, "x" * 1000), await office.put(office.alice, "word " * 100_000)
    assert not (await office.alice.read_email(short)).text_truncated
    mail = await office.alice.read_email(long)
    assert mail.text_truncated and len(mail.text) <= office.service.bounds.text_bytes


async def test_hostile_mail_can_be_listed_and_opened(office: Office) -> None:
    nested = "".join(f"multipart/mixed; boundary=b{i}\r\n\r\n--b{i}\r\nContent-Type: " for i in range(200))
    hostile = {"From": "\0\xff", "Subject": "=?utf-8?q?=0D=0ABcc:_x?=", "Date": "Mon, 99 Foo 99999", "To": "(" * 5000}
    for id in [
        await office.put(office.alice, Content_Type=nested + "text/plain\r\n\r\nx"),
        await office.put(office.alice, **hostile),
        await office.put(office.alice, when=-1e10),
    ]:
        mail = await office.alice.read_email(id)
        assert "\n" not in mail.subject
        with contextlib.suppress(MailError):
            await office.alice.prepare_reply(id, "x", reply_all=True)
        await office.alice.prepare_forward(id)
    json.loads((await office.alice.list_emails()).model_dump_json())


async def test_many_at_once(office: Office) -> None:
    ids = [await office.put(office.alice, f"text {n}") for n in range(10)]
    reading = [office.alice.read_email(id) for id in ids * 5]
    found = await asyncio.gather(*reading, *(office.alice.list_emails() for _ in range(10)))
    assert [mail.text.strip() for mail in found[:10]] == [f"text {n}" for n in range(10)]
