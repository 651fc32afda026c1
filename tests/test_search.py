"""Search is complete: whatever the index knows, the answer is that of reading every mail."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import unicodedata
from email.header import Header

import pytest
from conftest import comes
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from storage_worker import prepare

from gk.core.database import Database
from gk.mail import digest as digest_module
from gk.mail import fulltext
from gk.mail import search as search_module
from gk.mail.digest import normalise
from gk.mail.fulltext import connect, remove_index
from gk.mail.mailbox import Flag, Mailboxes
from gk.mail.search import Query, Search


@contextlib.asynccontextmanager
async def office(folder):
    """(mailboxes, search, inbox) of one person, on a fresh folder; the indexer is not started."""
    prepare(folder)
    database = Database.open(folder)
    mailboxes = Mailboxes(database, folder / "mail")
    search = Search(database, mailboxes, folder / "search.db")
    yield mailboxes, search, await mailboxes.folders.get(1, "INBOX")
    await search.close()
    await mailboxes.close()
    database.close()


def letter(subject="", sender="bob@x.example", body="", extra="") -> bytes:
    head = f"From: {sender}\r\nSubject: {Header(subject, 'utf-8').encode() if subject else ''}\r\n{extra}"
    return f"{head}MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n".encode()


# letters that hurt: accents in both forms, case pairs that change length, trigram quoting, emoji, other scripts
ALPHABET = "abeéeE\u0301ßSſœ\"' *-%_.aİıﬁΣςا漢字🎉 \t\0"
PIECES = st.text(st.sampled_from(ALPHABET), max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mails=st.lists(st.tuples(PIECES, PIECES), min_size=1, max_size=8),
    needles=st.lists(PIECES, max_size=3),
    cuts=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 9), st.integers(3, 6)), max_size=6),
    indexed=st.integers(0, 8),
)
@example(mails=[("éa\0bc aa", ""), ("", "x")], needles=["bc a"], cuts=[], indexed=1)  # FTS5 stops reading at NUL
def test_find_is_what_a_naive_scan_finds(tmp_path_factory, mails, needles, cuts, indexed):
    """For every needle, some cut out of the mails, with the index anywhere between empty and complete."""
    needles = needles + [mails[number % len(mails)][1][start : start + length] for number, start, length in cuts]

    async def story():
        async with office(tmp_path_factory.mktemp("search")) as (mailboxes, search, inbox):
            texts = {}
            for number, (subject, body) in enumerate(mails):
                if number == indexed:
                    index_everything(search)
                entry = await mailboxes.ingest.append(inbox.id, letter(subject, body=body))
                row = (await mailboxes.bodies.rendered([entry.content_id], ["subject", "text"]))[entry.content_id]
                texts[entry.id] = (normalise(row["subject"]), row["text"])
            for needle in needles:
                sought = normalise(needle)
                in_subject = {id for id, (subject, _) in texts.items() if sought in subject}
                in_body = {id for id, (_, body) in texts.items() if sought in body}
                assert set(await search.find(1, Query(subject=needle))) == in_subject
                assert set(await search.find(1, Query(body=needle))) == in_body
                entries = (await mailboxes.views.get(inbox.id)).entries
                by_content = {entry.content_id: entry.id for entry in entries}
                assert {by_content[c] for c in await search.matching(1, needle, "body", entries)} == in_body
                assert {by_content[c] for c in await search.matching(1, needle, "subject", entries)} == in_subject

    asyncio.run(story())


def index_everything(search: Search) -> None:
    """What the indexer's thread does, here and now."""
    owner, newest = fulltext.owner_of(search.database), fulltext.newest_content(search.database)
    index = fulltext.open_index(search.index.path, owner, newest)
    while fulltext.index_some(index, search.database, search.files.mailboxes.storage.root):
        pass
    index.close()


SAME = ("reunion", "RÉUNION", unicodedata.normalize("NFD", "réunion"), "été", "strasse", "grüße", "OEUVRE", "nion a l'e")


async def test_accents_case_and_composition_do_not_matter(tmp_path):
    async with office(tmp_path) as (mailboxes, search, inbox):
        entry = await mailboxes.ingest.append(inbox.id, letter("Réunion à L'ÉTÉ", body="Straße, GRÜSSE, œuvre"))
        for _ in range(2):
            for needle in SAME:
                assert await search.find(1, Query(f'"{needle}"')) == [entry.id], needle
            index_everything(search)


async def test_substring_of_a_word_is_found_at_any_length(tmp_path):
    async with office(tmp_path) as (mailboxes, search, inbox):
        entry = await mailboxes.ingest.append(inbox.id, letter("x", body="abenteuerlustig"))
        pieces = "abe ben ent nte teu eue uer erl rlu lus ust sti tig"  # all its trigrams, and yet not the word
        await mailboxes.ingest.append(inbox.id, letter("x", body=pieces))
        index_everything(search)
        for size in range(4, 16):
            assert await search.find(1, Query(body="abenteuerlustig"[:size])) == [entry.id]


async def test_every_condition_of_a_query_must_hold(tmp_path):
    async with office(tmp_path) as (mailboxes, search, inbox):
        archive = await mailboxes.folders.get(1, "Archive")
        one = await mailboxes.ingest.append(inbox.id, letter("Lunch", "Élodie <e@x.example>", "today", "To: Carl <c@y.ex>\r\n"))
        two = await mailboxes.ingest.append(archive.id, letter("Lunch", "bob@x.example", "tomorrow"), Flag.SEEN)
        index_everything(search)
        assert await search.find(1, Query("lunch")) == [two.id, one.id]
        assert await search.find(1, Query("lunch", mailbox_id=archive.id)) == [two.id]
        assert await search.find(1, Query("lunch", unread_only=True)) == [one.id]
        assert await search.find(1, Query("lunch tomorrow")) == [two.id]
        assert await search.find(1, Query("elodie")) == [one.id]
        assert await search.find(1, Query(sender="élo")) == [one.id]
        assert await search.find(1, Query(recipient="carl")) == [one.id]
        assert await search.find(1, Query(sender="carl")) == []
        assert await search.find(1, Query("lunch", limit=1)) == [two.id]
        assert await search.find(1, Query("lunch", since=two.internal_date + 1)) == []
        assert await search.find(1, Query("lunch", before=one.internal_date)) == []
        assert await search.find(1, Query("lunch", has_attachment=True)) == []


async def test_other_peoples_mail_is_never_found(tmp_path):
    async with office(tmp_path) as (mailboxes, search, inbox):
        entry = await mailboxes.ingest.append(inbox.id, letter("secret", body="secret"))
        index_everything(search)
        assert await search.find(1, Query("secret")) == [entry.id]
        assert await search.find(2, Query("secret")) == []
        assert await search.matching(2, "secret", "header:subject", (await mailboxes.views.get(inbox.id)).entries) == set()


async def test_deleted_mail_is_not_found_and_ids_do_not_come_back(tmp_path):
    async with office(tmp_path) as (mailboxes, search, inbox):
        old = await mailboxes.ingest.append(inbox.id, letter(body="needle"), Flag.DELETED)
        index_everything(search)
        await mailboxes.entries.expunge(inbox.id)
        new = await mailboxes.ingest.append(inbox.id, letter(body="haystack"))
        assert new.content_id > old.content_id
        index_everything(search)
        assert await search.find(1, Query("needle")) == []
        assert await search.find(1, Query("haystack")) == [new.id]


async def test_text_too_long_to_be_stored_is_confirmed_in_the_file(tmp_path):
    async with office(tmp_path) as (mailboxes, search, inbox):
        text = "\r\n".join(["lorem ipsum dolor"] * 40_000 + ["the very end"])
        long = await mailboxes.ingest.append(inbox.id, letter(body=text))
        await mailboxes.ingest.append(inbox.id, letter(body="\r\n".join(["lorem ipsum dolor"] * 40_000 + ["another end"])))
        assert await search.find(1, Query(body="the very end")) == [long.id]
        index_everything(search)
        assert search.candidates("the very end") == {long.content_id}  # the file was indexed, not only what was stored
        assert await search.find(1, Query(body="the very end")) == [long.id]


async def test_a_long_mail_is_confirmed_without_reading_or_folding_its_file_again(tmp_path, monkeypatch):
    """Once it is indexed, a mail of millions of characters costs a search one look into the text that the index keeps."""
    async with office(tmp_path) as (mailboxes, search, inbox):
        text = "\r\n".join(["lorem ipsum dolor"] * 80_000 + ["the very end"])
        long = await mailboxes.ingest.append(inbox.id, letter(body=text), Flag.DELETED)
        assert len(text) > 1_000_000
        index_everything(search)
        monkeypatch.setattr(search_module, "whole_text", None)  # whoever folds it again fails
        assert search.candidates("nowhere at all") == set()  # the trigrams rule it out
        assert await search.find(1, Query(body="the very end")) == [long.id]
        assert await search.find(1, Query("very lorem")) == [long.id]
        assert search.candidates("dolor the very ipsum lorem") == {long.content_id}  # here they cannot
        assert await search.find(1, Query(body="dolor the very ipsum lorem")) == []
        await mailboxes.entries.expunge(inbox.id)
        with connect(search.index.path) as index:
            assert index.execute("SELECT count(*) FROM long").fetchone() == (1,)
            fulltext.drop_long(index, search.database)
            assert index.execute("SELECT count(*) FROM long").fetchone() == (0,)


async def test_a_mail_whose_file_was_away_while_indexing_stays_a_candidate(tmp_path, monkeypatch):
    async with office(tmp_path) as (mailboxes, search, inbox):
        text = "\r\n".join(["lorem ipsum dolor"] * 40_000 + ["the very end"])
        long = await mailboxes.ingest.append(inbox.id, letter(body=text))
        with monkeypatch.context() as away:
            away.setattr(fulltext, "read_content", lambda *args: None)
            index_everything(search)
        assert search.candidates("the very end") == search.candidates("nowhere at all") == {long.content_id}
        assert await search.find(1, Query(body="the very end")) == [long.id]
        assert await search.find(1, Query(body="nowhere at all")) == []


async def test_a_strangers_huge_mail_is_searched_within_bounds_and_in_slices(tmp_path, monkeypatch):
    """U+FDFA becomes eighteen characters: 23 MB of it must hold up no later search, and no other thread meanwhile."""
    monkeypatch.setattr(fulltext, "WHOLE_CHARS", 500_000)
    folded, fold = [], digest_module._folded
    monkeypatch.setattr(digest_module, "_folded", lambda text: folded.append(len(text)) or fold(text))
    mail = b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + ("\ufdfa" * 78 + "\r\n").encode() * 4000
    assert len(fulltext.whole_text(mail)) <= 500_000
    assert max(folded) <= digest_module.SLICE and sum(folded) < 50_000
    folded.clear()
    async with office(tmp_path) as (mailboxes, search, inbox):
        extra = "".join(f"X-{number}: \ufdfa{'x' * 900}\r\n" for number in range(1000))
        await mailboxes.ingest.append(inbox.id, letter("x", extra=extra))
        entries = (await mailboxes.views.get(inbox.id)).entries
        folded.clear()
        assert await search.matching(1, "nowhere at all", "text", entries) == set()
        assert max(folded) <= digest_module.SLICE and sum(folded) < 300_000


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("aé \n\u0301\u0323ßœ\ufdfa\u00a0İ\u1100\uac01\U0001d15e\U0001d165"), max_size=60))
def test_slices_do_not_change_what_is_normalised(text):
    whole = normalise(text)
    with pytest.MonkeyPatch.context() as patch:
        for size in (1, 2, 3, 7):
            patch.setattr(digest_module, "SLICE", size)
            assert normalise(text) == whole


async def test_rfc3501_text_means_every_header_line_too(tmp_path):
    async with office(tmp_path) as (mailboxes, search, inbox):
        hit = await mailboxes.ingest.append(inbox.id, letter("x", extra="X-Spam: =?utf-8?q?f=C3=BCr?= alle\r\n\tgefaltet\r\n"))
        await mailboxes.ingest.append(inbox.id, letter("y"))
        entries = (await mailboxes.views.get(inbox.id)).entries
        index_everything(search)
        for needle in ("fur alle", "x-spam", "alle gefaltet"):
            assert await search.matching(1, needle, "text", entries) == {hit.content_id}, needle
        assert await search.matching(1, "fur", "body", entries) == set()
        assert await search.matching(1, "FÜR", "header:X-SPAM", entries) == {hit.content_id}
        assert await search.matching(1, "", "header:x-spam", entries) == {hit.content_id}
        assert await search.matching(1, "", "text", entries) == {entry.content_id for entry in entries}
        assert await search.matching(1, "x", "text", []) == set()


async def test_rfc3501_people_are_searched_as_the_header_says_them(tmp_path):
    """A group's name, a route and what is no address are in the field, though nobody can be written to by them."""
    async with office(tmp_path) as (mailboxes, search, inbox):
        hidden = await mailboxes.ingest.append(inbox.id, letter("x", extra="To: undisclosed-recipients:;\r\n"))
        team = await mailboxes.ingest.append(inbox.id, letter("x", extra="Cc: =?utf-8?q?=C3=89quipe?=: zoe@z.example;\r\n"))
        route = await mailboxes.ingest.append(inbox.id, letter("x", extra="Bcc: <@hop.example:h@x.example>\r\n"))
        odd = await mailboxes.ingest.append(inbox.id, letter("undisclosed", sender="nobody you know"))
        entries = (await mailboxes.views.get(inbox.id)).entries
        for indexed in (False, True):
            if indexed:
                index_everything(search)
            assert await search.matching(1, "Undisclosed-Recip", "to", entries) == {hidden.content_id}
            assert await search.matching(1, "undisclosed", "cc", entries) == set()
            assert await search.matching(1, "equipe: zoe", "cc", entries) == {team.content_id}
            assert await search.matching(1, "hop.example", "bcc", entries) == {route.content_id}
            assert await search.matching(1, "nobody you", "from", entries) == {odd.content_id}


async def test_people_without_groups_are_found_without_reading_files(tmp_path, monkeypatch):
    async with office(tmp_path) as (mailboxes, search, inbox):
        await mailboxes.ingest.append(inbox.id, letter("x", extra="To: Zoe <zoe@z.example>, team@x.example\r\n"))
        entries = (await mailboxes.views.get(inbox.id)).entries
        monkeypatch.setattr(mailboxes.bodies, "read_many", None)
        assert await search.matching(1, "nobody", "to", entries) == set()
        assert await search.matching(1, "zoe", "to", entries) == {entries[0].content_id}


PARTS = b"""From: bob@x.example\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
Content-Type: text/plain\r
X-Part: one\r
 more\r
\r
Content-Type: seen/as-text\r
--b\r
Content-Type: application/pdf; name="=?utf-8?q?r=C3=A9sum=C3=A9.pdf?="\r
Content-Disposition: attachment; filename*=utf-8''g%C3%A2teau.pdf\r
Content-Transfer-Encoding: base64\r
\r
aGVsbG93b3JsZA==\r
--b\r
Content-Type: message/rfc822\r
\r
From: inner@q.example\r
\r
forwarded\r
--b--\r
"""


async def test_rfc3501_text_means_the_header_lines_of_parts_too(tmp_path, monkeypatch):
    """The name of an attachment, decoded, and every other header line inside; what is said in base64 is no text."""
    async with office(tmp_path) as (mailboxes, search, inbox):
        hit = await mailboxes.ingest.append(inbox.id, PARTS)
        await mailboxes.ingest.append(inbox.id, letter("y"))
        entries = (await mailboxes.views.get(inbox.id)).entries
        for needle in ("résumé.pdf", "gateau", "application/pdf", "x-part: one more", "inner@q.example", "seen/as-text"):
            assert await search.matching(1, needle, "text", entries) == {hit.content_id}, needle
        assert await search.matching(1, "aGVsbG93", "text", entries) == set()
        assert await search.matching(1, "x-part", "body", entries) == set()
        assert await search.matching(1, "", "header:x-part", entries) == set()
        monkeypatch.setattr(search_module, "HEADERS", 100)
        assert await search.matching(1, "inner@q.example", "text", entries) == set()  # bounded for a thousand parts


SYNTAX = ['"', '""" OR text : "', "a*b", "a AND", "NEAR(", "{x}:", "x\0y", "% _ [", "'; DROP TABLE state --"]


@pytest.mark.parametrize("needle", SYNTAX)
async def test_needles_are_text_never_syntax(tmp_path, needle):
    async with office(tmp_path) as (mailboxes, search, inbox):
        hit = await mailboxes.ingest.append(inbox.id, letter("x", body=f"before {needle.replace(chr(0), '')} after"))
        index_everything(search)
        found = await search.find(1, Query(body=needle))
        assert found == ([] if "\0" in needle else [hit.id])


async def test_a_damaged_or_foreign_index_changes_no_answer(tmp_path):
    async with office(tmp_path) as (mailboxes, search, inbox):
        entry = await mailboxes.ingest.append(inbox.id, letter(body="needle"))
        index_everything(search)
        remove_index(search.index.path)
        search.index.path.write_bytes(random.Random(1).randbytes(8192))
        assert await search.find(1, Query("needle")) == [entry.id]
        remove_index(search.index.path)
        with sqlite3.connect(search.index.path) as other:
            other.execute("CREATE TABLE state (upto)")
        assert await search.find(1, Query("needle")) == [entry.id]
        index_everything(search)  # takes its place
        assert await search.find(1, Query("needle")) == [entry.id]


async def test_an_index_from_another_past_of_the_database_is_not_believed(tmp_path):
    """A backup of gk.db was restored, search.db is newer: it claims to know contents that are others now."""
    async with office(tmp_path) as (mailboxes, search, inbox):
        await mailboxes.ingest.append(inbox.id, letter(body="haystack"))
        index_everything(search)
        with connect(search.index.path) as index:
            index.execute("UPDATE state SET upto = 999")
        entry = await mailboxes.ingest.append(inbox.id, letter(body="needle"))
        assert await search.find(1, Query("needle")) == [entry.id]


async def test_indexer_follows_delivery_and_starts_anew_when_most_is_stale(tmp_path, monkeypatch):
    async with office(tmp_path) as (mailboxes, search, inbox):
        search.start()
        entries = [await mailboxes.ingest.append(inbox.id, letter(body=f"needle number{n:03}"), Flag.DELETED) for n in range(30)]
        assert await search.indexer.caught_up()
        assert search.candidates("number007") == {entries[7].content_id}
        monkeypatch.setattr(fulltext, "stale", lambda index, database: held(index) > 10)
        await mailboxes.entries.expunge(inbox.id, [entry.uid for entry in entries[3:]])
        search.indexer.wake()
        await comes(lambda: search.candidates("number007") == set() and not search.indexer.behind())
        assert search.candidates("number001") == {entries[1].content_id}


def held(index: sqlite3.Connection) -> int:
    return index.execute("SELECT held FROM state").fetchone()[0]
