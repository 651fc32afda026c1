"""Every IMAP command, one section each, as dialogues (C: the client, S: the server). The clock of the house stands still."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from imap_house import ALICE, BOB, PASSWORD, PLAIN, a_client, a_house, play, put

from gk.core import metrics
from gk.imap.commands import SYNTAX
from gk.imap.dialogue import Dialogue, House
from gk.imap.server import HANDLERS
from gk.mail.maildir import Flag

pytest_plugins = "imap_fixtures"

EARLY = datetime(2024, 2, 1, 21, 52, 25, tzinfo=timezone(timedelta(hours=-8)))


def test_every_command_of_the_grammar_has_a_handler() -> None:
    assert set(SYNTAX) == set(HANDLERS)


# CAPABILITY (RFC 3501 §6.1.1)


async def test_capability(stranger: Dialogue) -> None:
    await play(stranger, """
        C: a1 CAPABILITY
        S: * CAPABILITY IMAP4rev1 LITERAL- SASL-IR ID IDLE … APPENDLIMIT=… STARTTLS AUTH=PLAIN
        S: a1 OK CAPABILITY completed
        C: a2 LOGIN alice@example.test "correct horse"
        S: a2 OK [CAPABILITY IMAP4rev1 LITERAL+ … APPENDLIMIT=…] Signed in as alice@example.test
        C: a3 CAPABILITY
        S: * CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID IDLE NAMESPACE UNSELECT UIDPLUS CHILDREN SPECIAL-USE APPENDLIMIT=…
        S: a3 OK CAPABILITY completed
    """)


async def test_capability_under_tls_and_from_afar(house: House) -> None:
    async with a_client(house, login="", peer="192.0.2.1") as client:
        answer = await client("a1 CAPABILITY")
        assert "STARTTLS LOGINDISABLED" in answer and "AUTH=" not in answer
    async with a_client(house, login="", peer="192.0.2.1", secure=True) as client:
        answer = await client("a1 CAPABILITY")
        assert "AUTH=PLAIN" in answer and "STARTTLS" not in answer and "LOGINDISABLED" not in answer


# NOOP and CHECK (§6.1.2, §6.4.1)


async def test_noop_brings_the_news(house: House, reader: Dialogue) -> None:
    await put(house, PLAIN)
    await play(reader, """
        C: a1 NOOP
        S: * 1 EXISTS
        S: * 1 RECENT
        S: a1 OK NOOP completed
        C: a2 CHECK
        S: a2 OK CHECK completed
    """)


async def test_check_needs_a_mailbox(alice: Dialogue) -> None:
    await play(alice, """
        C: a1 CHECK
        S: a1 BAD CHECK is not possible while authenticated
    """)


# LOGOUT (§6.1.3)


async def test_logout(reader: Dialogue) -> None:
    await play(reader, """
        C: a1 LOGOUT
        S: * BYE Goodbye
        S: a1 OK LOGOUT completed
    """)
    assert reader.task.done()


# ID (RFC 2971)


async def test_id(stranger: Dialogue) -> None:
    await play(stranger, """
        C: a1 ID ("name" "Mutt" "version" NIL)
        S: * ID ("name" "gk" "version" "…")
        S: a1 OK ID completed
        C: a2 ID NIL
        S: * ID …
        S: a2 OK ID completed
    """)


# LOGIN (§6.2.3)


async def test_login(stranger: Dialogue) -> None:
    await play(stranger, """
        C: a1 SELECT INBOX
        S: a1 BAD SELECT is not possible while not authenticated
        C: a2 LOGIN alice@example.test wrong
        S: a2 NO [AUTHENTICATIONFAILED] The name or the password is wrong
        C: a3 LOGIN nobody@example.test wrong
        S: a3 NO [AUTHENTICATIONFAILED] The name or the password is wrong
        C: a4 LOGIN "alice@example.test" {13}
        S: + OK
        C: correct horse
        S: a4 OK …
        C: a5 LOGIN alice@example.test "correct horse"
        S: a5 BAD LOGIN is not possible while authenticated
    """)


async def test_login_with_an_app_password(house: House, stranger: Dialogue) -> None:
    alice = await house.directory.find(ALICE)
    assert alice is not None
    _, text = await house.credentials.add_token(alice, "app", "phone")
    assert "a1 NO" in await stranger(f"a1 LOGIN {BOB} {text}")
    assert "a2 OK" in await stranger(f"a2 LOGIN {ALICE} {text}")


# AUTHENTICATE (§6.2.2, RFC 4616, RFC 4959)


async def test_authenticate_plain(house: House) -> None:
    async with a_client(house, login="") as client:
        await play(client, """
            C: a1 AUTHENTICATE CRAM-MD5
            S: a1 NO [CANNOT] The only mechanism here is PLAIN
            C: a2 AUTHENTICATE PLAIN
            S: +…
            C: *
            S: a2 BAD AUTHENTICATE was cancelled
            C: a3 AUTHENTICATE PLAIN
            S: +…
            C: !!!
            S: a3 BAD The answer is not base64
            C: a4 AUTHENTICATE PLAIN AGFsaWNlAA==
            S: a4 NO [AUTHENTICATIONFAILED] The name or the password is wrong
            C: a5 AUTHENTICATE PLAIN =
            S: a5 BAD PLAIN needs authorisation, name and password, with a NUL between them
            C: a6 AUTHENTICATE PLAIN AGFsaWNlQGV4YW1wbGUudGVzdABjb3JyZWN0IGhvcnNl
            S: a6 OK [CAPABILITY …] Signed in as alice@example.test
        """)
    async with a_client(house, login="") as client:  # authorisation as bob, authentication as alice
        text = "Ym9iQGV4YW1wbGUudGVzdABhbGljZUBleGFtcGxlLnRlc3QAY29ycmVjdCBob3JzZQ=="
        assert "a1 NO [AUTHORIZATIONFAILED]" in await client(f"a1 AUTHENTICATE PLAIN {text}")


# STARTTLS (§6.2.1): see also test_imap_hazards.py and test_imap_clients.py


async def test_starttls(outsider: Dialogue) -> None:
    await play(outsider, """
        C: a1 LOGIN alice@example.test "correct horse"
        S: a1 NO [PRIVACYREQUIRED] A password is only accepted after STARTTLS
        C: a2 STARTTLS
        S: a2 OK Begin TLS now
        C: a3 STARTTLS
        S: a3 BAD STARTTLS is not possible here
        C: a4 LOGIN alice@example.test "correct horse"
        S: a4 OK …
    """)


# SELECT and EXAMINE (§6.3.1, §6.3.2)


async def test_select_and_examine(house: House, alice: Dialogue) -> None:
    await put(house, PLAIN, flags=Flag.SEEN)
    await put(house, PLAIN, keywords=["Work"])
    await play(alice, r"""
        C: a1 EXAMINE inbox
        S: * FLAGS (\Seen \Answered \Flagged \Deleted \Draft Work)
        S: * OK [PERMANENTFLAGS ()] Flags that last
        S: * 2 EXISTS
        S: * 2 RECENT
        S: * OK [UNSEEN 2] First unread message
        S: * OK [UIDVALIDITY 1700000001] Identifiers are valid
        S: * OK [UIDNEXT 3] Next identifier
        S: a1 OK [READ-ONLY] EXAMINE completed
        C: a2 SELECT INBOX
        S: * FLAGS (\Seen \Answered \Flagged \Deleted \Draft Work)
        S: * OK [PERMANENTFLAGS (\Seen \Answered \Flagged \Deleted \Draft Work \*)] Flags that last
        S: * 2 EXISTS
        S: * 2 RECENT
        S: * OK [UNSEEN 2] First unread message
        S: * OK [UIDVALIDITY 1700000001] Identifiers are valid
        S: * OK [UIDNEXT 3] Next identifier
        S: a2 OK [READ-WRITE] SELECT completed
        C: a3 SELECT INBOX
        S: …
        S: * 0 RECENT
        S: …
        S: a3 OK [READ-WRITE] SELECT completed
        C: a4 SELECT Nowhere
        S: a4 NO [NONEXISTENT] There is no folder "Nowhere".
        C: a5 FETCH 1 FLAGS
        S: a5 BAD FETCH is not possible while authenticated
    """)


async def test_select_of_an_empty_mailbox_has_no_unseen(alice: Dialogue) -> None:
    answer = await alice("a1 SELECT INBOX")
    assert "* 0 EXISTS" in answer and "UNSEEN" not in answer and "[UIDNEXT 1]" in answer


# UNSELECT (RFC 3691), CLOSE (§6.4.2)


async def test_close_expunges_and_unselect_does_not(house: House, reader: Dialogue) -> None:
    await put(house, PLAIN, flags=Flag.DELETED)
    await play(reader, """
        C: a1 UNSELECT
        S: a1 OK UNSELECT completed
        C: a2 EXAMINE INBOX
        S: …
        C: a3 CLOSE
        S: a3 OK CLOSE completed
        C: a4 STATUS INBOX (MESSAGES)
        S: * STATUS INBOX (MESSAGES 1)
        S: a4 OK STATUS completed
        C: a5 SELECT INBOX
        S: …
        C: a6 CLOSE
        S: a6 OK CLOSE completed
        C: a7 STATUS INBOX (MESSAGES)
        S: * STATUS INBOX (MESSAGES 0)
        S: a7 OK STATUS completed
        C: a8 CLOSE
        S: a8 BAD CLOSE is not possible while authenticated
    """)


# CREATE (§6.3.3)


async def test_create(alice: Dialogue) -> None:
    await play(alice, """
        C: a1 CREATE INBOX
        S: a1 NO [ALREADYEXISTS] …
        C: a2 CREATE Work/2024/
        S: a2 OK CREATE completed
        C: a3 LIST "" Work*
        S: * LIST (\\HasChildren) "/" Work
        S: * LIST (\\HasNoChildren) "/" Work/2024
        S: a3 OK LIST completed
        C: a4 CREATE "Envoy&AOk-s"
        S: a4 OK CREATE completed
        C: a5 CREATE "a*b"
        S: a5 NO [CANNOT] …
        C: a6 CREATE "R&D"
        S: a6 NO [CANNOT] …
        C: a7 CREATE "R&-D"
        S: a7 OK CREATE completed
        C: a8 LIST "" R*
        S: * LIST (\\HasNoChildren) "/" R&-D
        S: a8 OK LIST completed
    """)


# DELETE (§6.3.4)


async def test_delete(alice: Dialogue) -> None:
    await play(alice, """
        C: a1 CREATE a/b
        S: a1 OK CREATE completed
        C: a2 DELETE a
        S: a2 OK DELETE completed
        C: a3 LIST "" a*
        S: * LIST (\\Noselect \\HasChildren) "/" a
        S: * LIST (\\HasNoChildren) "/" a/b
        S: a3 OK LIST completed
        C: a4 SELECT a
        S: a4 NO [NONEXISTENT] …
        C: a5 DELETE a
        S: a5 NO [HASCHILDREN] "a" is only the way to other folders; it goes when they are gone.
        C: a6 SELECT a/b
        S: …
        C: a7 DELETE a/b
        S: a7 OK DELETE completed
        C: a8 FETCH 1 FLAGS
        S: a8 BAD FETCH is not possible while authenticated
        C: b1 DELETE a
        S: b1 NO [NONEXISTENT] …
        C: a9 DELETE inbox
        S: a9 NO [CANNOT] The inbox cannot be deleted.
    """)


# RENAME (§6.3.5)


async def test_rename(house: House, alice: Dialogue) -> None:
    await put(house, PLAIN)
    await play(alice, """
        C: a1 CREATE old/child
        S: a1 OK CREATE completed
        C: a2 RENAME old new
        S: a2 OK RENAME completed
        C: a3 LIST "" new*
        S: * LIST (\\HasChildren) "/" new
        S: * LIST (\\HasNoChildren) "/" new/child
        S: a3 OK LIST completed
        C: a4 RENAME old x
        S: a4 NO [NONEXISTENT] …
        C: a5 RENAME new Archive
        S: a5 NO [ALREADYEXISTS] …
        C: a6 RENAME INBOX saved
        S: a6 OK RENAME completed
        C: a7 STATUS saved (MESSAGES)
        S: * STATUS saved (MESSAGES 1)
        S: a7 OK STATUS completed
        C: a8 STATUS INBOX (MESSAGES)
        S: * STATUS INBOX (MESSAGES 0)
        S: a8 OK STATUS completed
    """)


# SUBSCRIBE, UNSUBSCRIBE, LSUB (§6.3.6, §6.3.7, §6.3.9)


async def test_subscriptions(alice: Dialogue) -> None:
    for name in ("INBOX", "Drafts", "Sent", "Archive", "Junk", "Trash"):
        await alice(f"u UNSUBSCRIBE {name}")
    await play(alice, """
        C: a1 SUBSCRIBE Lists/python
        S: a1 OK SUBSCRIBE completed
        C: a2 LSUB "" *
        S: * LSUB () "/" Lists/python
        S: a2 OK LSUB completed
        C: a3 LSUB "" %
        S: * LSUB (\\Noselect) "/" Lists
        S: a3 OK LSUB completed
        C: a4 LSUB Lists/ %
        S: * LSUB () "/" Lists/python
        S: a4 OK LSUB completed
        C: a5 UNSUBSCRIBE Lists/python
        S: a5 OK UNSUBSCRIBE completed
        C: a6 LSUB "" *
        S: a6 OK LSUB completed
        C: a7 LSUB "" ""
        S: * LSUB (\\Noselect) "/" ""
        S: a7 OK LSUB completed
    """)


# LIST (§6.3.8, RFC 3348, RFC 6154), NAMESPACE (RFC 2342)


async def test_list(alice: Dialogue) -> None:
    await alice("c CREATE Work/2024")
    await play(alice, """
        C: a1 LIST "" ""
        S: * LIST (\\Noselect) "/" ""
        S: a1 OK LIST completed
        C: a2 LIST "" %
        S: * LIST (\\HasNoChildren) "/" INBOX
        S: * LIST (\\HasNoChildren \\Archive) "/" Archive
        S: * LIST (\\HasNoChildren \\Drafts) "/" Drafts
        S: * LIST (\\HasNoChildren \\Junk) "/" Junk
        S: * LIST (\\HasNoChildren \\Sent) "/" Sent
        S: * LIST (\\HasNoChildren \\Trash) "/" Trash
        S: * LIST (\\HasChildren) "/" Work
        S: a2 OK LIST completed
        C: a3 LIST Work/ %
        S: * LIST (\\HasNoChildren) "/" Work/2024
        S: a3 OK LIST completed
        C: a4 LIST "" inbox
        S: * LIST (\\HasNoChildren) "/" INBOX
        S: a4 OK LIST completed
        C: a5 LIST "" nothing
        S: a5 OK LIST completed
        C: a6 NAMESPACE
        S: * NAMESPACE (("" "/")) NIL NIL
        S: a6 OK NAMESPACE completed
    """)


# STATUS (§6.3.10)


async def test_status(house: House, alice: Dialogue) -> None:
    await put(house, PLAIN, flags=Flag.SEEN)
    await put(house, PLAIN)
    await play(alice, """
        C: a1 STATUS inbox (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN APPENDLIMIT)
        S: * STATUS INBOX (MESSAGES 2 RECENT 2 UIDNEXT 3 UIDVALIDITY 1700000001 UNSEEN 1 APPENDLIMIT 25000000)
        S: a1 OK STATUS completed
        C: a2 STATUS Nowhere (MESSAGES)
        S: a2 NO [NONEXISTENT] …
    """)


# APPEND (§6.3.11, RFC 4315, RFC 7888)


async def test_append(reader: Dialogue) -> None:
    await play(reader, r"""
        C: a1 APPEND INBOX (\Seen $Junk) " 1-Feb-2024 21:52:25 -0800" {11}
        S: + OK
        C: Subject: a
        S: * FLAGS (\Seen \Answered \Flagged \Deleted \Draft $Junk)
        S: * OK [PERMANENTFLAGS (\Seen \Answered \Flagged \Deleted \Draft $Junk \*)] Flags that last
        S: * 1 EXISTS
        S: * 1 RECENT
        S: a1 OK [APPENDUID 1700000001 1] The message is stored
        C: a2 FETCH 1 (FLAGS INTERNALDATE)
        S: * 1 FETCH (FLAGS (\Seen \Recent $Junk) INTERNALDATE " 1-Feb-2024 21:52:25 -0800")
        S: a2 OK FETCH completed
        C: a3 APPEND Nowhere {11}
        S: a3 NO [TRYCREATE] There is no such mailbox; it could be created
        C: a4 APPEND INBOX {0}
        S: a4 NO A message may have 1 to 25000000 octets
        C: a5 APPEND INBOX (\Recent) {11}
        S: a5 BAD \Recent is not a flag that a client can set
        C: a6 APPEND INBOX ($JUNK) {11}
        S: + OK
        C: Subject: b
        S: * 2 EXISTS
        S: * 2 RECENT
        S: a6 OK [APPENDUID 1700000001 2] The message is stored
        C: a7 FETCH 2 FLAGS
        S: * 2 FETCH (FLAGS (\Recent $Junk))
        S: a7 OK FETCH completed
    """)


async def test_append_before_signing_in_takes_nothing(stranger: Dialogue) -> None:
    await play(stranger, """
        C: a1 APPEND INBOX {11}
        S: a1 BAD APPEND is not possible while not authenticated
        C: a2 NOOP
        S: a2 OK NOOP completed
    """)
    answer = await stranger(b"a3 APPEND INBOX {11+}\r\na4 LOGOUT\r\n\r\na5 NOOP\r\n")
    assert answer.split("\n")[-1] == "a5 OK NOOP completed" and "a4" not in answer


async def test_append_of_a_large_message_goes_through_a_file_and_leaves_none(house: House, reader: Dialogue) -> None:
    message = b"Subject: big\r\n\r\n" + b"0123456789abcdef\r\n" * 60_000
    answer = await reader(b"a1 APPEND INBOX {%d+}\r\n%b\r\n" % (len(message), message))
    assert "a1 OK [APPENDUID" in answer
    assert f"RFC822.SIZE {len(message)}" in await reader("a2 FETCH 1 RFC822.SIZE")
    assert not list((house.mailboxes.storage.root / "tmp").iterdir())


async def test_append_of_a_message_and_of_another_behind_it_is_refused(alice: Dialogue) -> None:
    two = b"a1 APPEND INBOX {12+}\r\nSubject: x\r\n {12+}\r\nSubject: y\r\n\r\n"
    answer = await alice(two + b"a2 STATUS INBOX (MESSAGES)\r\n")
    assert "a1 BAD One message with each APPEND" in answer and "(MESSAGES 0)" in answer


# IDLE (RFC 2177): see test_imap_sessions.py


async def test_idle_wants_done(alice: Dialogue) -> None:
    await play(alice, """
        C: a1 IDLE
        S: + idling
        C: done
        S: a1 OK IDLE completed
        C: a2 IDLE
        S: + idling
        C: NOOP
        S: a2 BAD DONE was expected
    """)


# EXPUNGE (§6.4.3) and UID EXPUNGE (RFC 4315)


async def test_expunge(house: House, reader: Dialogue) -> None:
    for number in range(1, 6):
        await put(house, PLAIN, flags=0 if number == 3 else Flag.DELETED)
    await reader("a0 NOOP")
    await play(reader, """
        C: a1 UID EXPUNGE 1,3
        S: * 1 EXPUNGE
        S: a1 OK UID EXPUNGE completed
        C: a2 EXPUNGE
        S: * 4 EXPUNGE
        S: * 3 EXPUNGE
        S: * 1 EXPUNGE
        S: a2 OK EXPUNGE completed
        C: a3 UID SEARCH ALL
        S: * SEARCH 3
        S: a3 OK UID SEARCH completed
        C: a4 EXAMINE INBOX
        S: …
        C: a5 EXPUNGE
        S: a5 NO [READ-ONLY] …
    """)


# STORE and UID STORE (§6.4.6)


async def test_store(house: House, reader: Dialogue) -> None:
    await put(house, PLAIN, flags=Flag.SEEN)
    await put(house, PLAIN)
    await reader("a0 NOOP")
    await play(reader, r"""
        C: a1 STORE 1:2 +FLAGS (\Flagged)
        S: * 1 FETCH (FLAGS (\Seen \Flagged \Recent))
        S: * 2 FETCH (FLAGS (\Flagged \Recent))
        S: a1 OK STORE completed
        C: a2 STORE 1 -FLAGS \Seen \Flagged
        S: * 1 FETCH (FLAGS (\Recent))
        S: a2 OK STORE completed
        C: a3 UID STORE 2 FLAGS (\Answered)
        S: * 2 FETCH (UID 2 FLAGS (\Answered \Recent))
        S: a3 OK UID STORE completed
        C: a4 STORE 2 FLAGS.SILENT (\Draft)
        S: a4 OK STORE completed
        C: a5 FETCH 2 FLAGS
        S: * 2 FETCH (FLAGS (\Draft \Recent))
        S: a5 OK FETCH completed
        C: a6 STORE 3 FLAGS ()
        S: a6 BAD There is no message 3 here, only 2
        C: a7 UID STORE 77 FLAGS ()
        S: a7 OK UID STORE completed
        C: a8 EXAMINE INBOX
        S: …
        C: a9 STORE 1 FLAGS ()
        S: a9 NO [READ-ONLY] …
    """)


async def test_keywords_keep_their_first_spelling(house: House, reader: Dialogue) -> None:
    await put(house, PLAIN)
    await put(house, PLAIN)
    await reader("a0 NOOP\na1 STORE 1 +FLAGS ($Junk)")
    await play(reader, r"""
        C: a2 STORE 2 +FLAGS ($JUNK)
        S: * 2 FETCH (FLAGS (\Recent $Junk))
        S: a2 OK STORE completed
        C: a3 SEARCH KEYWORD $jUNK
        S: * SEARCH 1 2
        S: a3 OK SEARCH completed
        C: a4 STORE 1 -FLAGS ($junk)
        S: * 1 FETCH (FLAGS (\Recent))
        S: a4 OK STORE completed
    """)


# COPY and UID COPY (§6.4.7, RFC 4315)


async def test_copy(house: House, reader: Dialogue) -> None:
    await put(house, PLAIN, flags=Flag.SEEN, keywords=["Work"], internal_date=EARLY)
    await put(house, PLAIN)
    await reader("a0 NOOP")
    await play(reader, r"""
        C: a1 COPY 1:2 Archive
        S: a1 OK [COPYUID 1700000004 1:2 1:2] The messages are copied
        C: a2 UID COPY 2 Archive
        S: a2 OK [COPYUID 1700000004 2 3] The messages are copied
        C: a3 COPY 1 Nowhere
        S: a3 NO [TRYCREATE] There is no such mailbox; it could be created
        C: a4 UID COPY 99 Archive
        S: a4 OK UID COPY completed
        C: a5 EXAMINE Archive
        S: …
        C: a6 FETCH 1 (FLAGS INTERNALDATE)
        S: * 1 FETCH (FLAGS (\Seen \Recent Work) INTERNALDATE " 1-Feb-2024 21:52:25 -0800")
        S: a6 OK FETCH completed
        C: a7 COPY 1 INBOX
        S: a7 OK [COPYUID 1700000001 1 3] The messages are copied
    """)


# FETCH and UID FETCH (§6.4.5, §6.4.8)

NESTED = b"\r\n".join([
    b"From: Alice <alice@example.test>", b"Subject: =?utf-8?B?w4l0w6k=?=", b"MIME-Version: 1.0",
    b"Date: Thu, 1 Feb 2024 10:00:00 +0100", b"Content-Type: multipart/mixed; boundary=outer", b"", b"preamble",
    b"--outer", b"Content-Type: text/plain; charset=utf-8", b"", b"One", b"",
    b"--outer", b"Content-Type: message/rfc822", b"", b"From: bob@example.test", b"Subject: inner", b"", b"Inner text", b"",
    b"--outer", b"Content-Type: multipart/alternative; boundary=inner", b"",
    b"--inner", b"Content-Type: text/plain", b"", b"Two",
    b"--inner", b"Content-Type: text/html", b"", b"<p>Two</p>",
    b"--inner--", b"--outer--", b"",
])  # fmt: skip


async def fetched(items: str, message: bytes = NESTED) -> str:
    """The answer to FETCH 1 of a mailbox with one message, between the parentheses."""
    async with a_house() as house, a_client(house) as client:
        await put(house, message, internal_date=EARLY)
        await client("a0 EXAMINE INBOX")
        answer = await client(f"a1 FETCH 1 {items}")
        found = re.fullmatch(r"\* 1 FETCH \((.*)\)\na1 OK FETCH completed", answer, re.DOTALL)
        assert found, answer
        return found[1]


@pytest.mark.parametrize(("items", "expected"), [
    ("FAST", r'FLAGS (\Recent) INTERNALDATE " 1-Feb-2024 21:52:25 -0800" RFC822.SIZE 513'),
    ("UID", "UID 1"),
    ("(uid flags)", r"UID 1 FLAGS (\Recent)"),
    ("BODY[1]", "BODY[1] {5}\nOne\n"),
    ("BODY[1.MIME]", "BODY[1.MIME] {43}\nContent-Type: text/plain; charset=utf-8\n\n"),
    ("BODY[2]", "BODY[2] {54}\nFrom: bob@example.test\nSubject: inner\n\nInner text\n"),
    ("BODY[2.HEADER]", "BODY[2.HEADER] {42}\nFrom: bob@example.test\nSubject: inner\n\n"),
    ("BODY[2.HEADER.FIELDS (Subject)]", "BODY[2.HEADER.FIELDS (Subject)] {18}\nSubject: inner\n\n"),
    ("BODY[2.TEXT]", "BODY[2.TEXT] {12}\nInner text\n"),
    ("BODY[2.1]", "BODY[2.1] {12}\nInner text\n"),
    ("BODY[3.2]", "BODY[3.2] {10}\n<p>Two</p>"),
    ("BODY[3.2.MIME]", "BODY[3.2.MIME] {27}\nContent-Type: text/html\n\n"),
    ("BODY[9]", "BODY[9] {0}\n"),
    ("BODY[1.HEADER]", "BODY[1.HEADER] {0}\n"),
    ("BODY[]<0.5>", "BODY[]<0> {5}\nFrom:"),
    ("BODY[]<504.100>", "BODY[]<504> {9}\nouter--\n"),
    ("BODY[]<99999.5>", "BODY[]<99999> {0}\n"),
    ("BODY[TEXT]<4.6>", "BODY[TEXT]<4> {6}\nmble\n"),
    ("BODY[HEADER.FIELDS (DATE subject)]",
     "BODY[HEADER.FIELDS (DATE subject)] {71}\nSubject: =?utf-8?B?w4l0w6k=?=\nDate: Thu, 1 Feb 2024 10:00:00 +0100\n\n"),
    ("BODY[HEADER.FIELDS (X-None)]", "BODY[HEADER.FIELDS (X-None)] {2}\n\n"),
    ("BODY[HEADER.FIELDS.NOT (From Subject Date Content-Type)]",
     "BODY[HEADER.FIELDS.NOT (From Subject Date Content-Type)] {21}\nMIME-Version: 1.0\n\n"),
    ("RFC822.SIZE", "RFC822.SIZE 513"),
    ("ENVELOPE", 'ENVELOPE ("Thu, 1 Feb 2024 10:00:00 +0100" "=?utf-8?B?w4l0w6k=?=" (("Alice" NIL "alice" "example.test")) '
     '(("Alice" NIL "alice" "example.test")) (("Alice" NIL "alice" "example.test")) NIL NIL NIL NIL NIL)'),
])  # fmt: skip
async def test_fetch(items: str, expected: str) -> None:
    assert await fetched(items) == expected


async def test_fetch_of_the_whole_message_in_three_spellings() -> None:
    whole = NESTED.decode().replace("\r\n", "\n")
    header = whole[: whole.index("\n\n") + 2]
    assert await fetched("BODY[]") == f"BODY[] {{{len(NESTED)}}}\n{whole}"
    assert await fetched("RFC822") == f"RFC822 {{{len(NESTED)}}}\n{whole}"
    assert (await fetched("RFC822.HEADER")).endswith("}\n" + header) and (await fetched("BODY[HEADER]")).endswith("}\n" + header)
    assert (await fetched("RFC822.TEXT")).endswith("}\n" + whole[len(header) :])


async def test_fetch_of_structures() -> None:
    answer = await fetched("(BODY BODYSTRUCTURE)")
    body, structure = answer.split(" BODYSTRUCTURE ")
    first = '("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 5 1)'
    assert body.startswith(f'BODY ({first}("message" "rfc822" NIL NIL NIL "7bit" 54 (')
    assert '"alternative") "mixed")' in body and "boundary" not in body
    assert '"alternative" ("boundary" "inner") NIL NIL NIL) "mixed" ("boundary" "outer") NIL NIL NIL)' in structure


async def test_fetch_marks_as_read_unless_it_peeks(house: House, reader: Dialogue) -> None:
    for _ in range(2):
        await put(house, PLAIN)
    await reader("a0 NOOP")
    await play(reader, r"""
        C: a1 FETCH 1 (BODY.PEEK[TEXT]<0.4> RFC822.HEADER)
        S: * 1 FETCH (BODY[TEXT]<0> {4}
        S: Good RFC822.HEADER {80}
        S: …
        S: a1 OK FETCH completed
        C: a2 FETCH 1 (BODY[TEXT]<0.4>)
        S: * 1 FETCH (FLAGS (\Seen \Recent) BODY[TEXT]<0> {4}
        S: Good)
        S: a2 OK FETCH completed
        C: a3 FETCH 1 (BODY[TEXT]<0.4>)
        S: * 1 FETCH (BODY[TEXT]<0> {4}
        S: Good)
        S: a3 OK FETCH completed
        C: a4 EXAMINE INBOX
        S: …
        C: a5 FETCH 2 BODY[TEXT]<0.4>
        S: * 2 FETCH (BODY[TEXT]<0> {4}
        S: Good)
        S: a5 OK FETCH completed
        C: a6 FETCH 2 FLAGS
        S: * 2 FETCH (FLAGS ())
        S: a6 OK FETCH completed
    """)


async def test_uid_fetch_always_says_the_uid(house: House, reader: Dialogue) -> None:
    await put(house, PLAIN, flags=Flag.DELETED)
    await put(house, PLAIN)
    await reader("a0 EXPUNGE")
    await play(reader, """
        C: a1 UID FETCH 1:* RFC822.SIZE
        S: * 1 FETCH (UID 2 RFC822.SIZE 95)
        S: a1 OK UID FETCH completed
        C: a2 UID FETCH 99:* (UID)
        S: * 1 FETCH (UID 2)
        S: a2 OK UID FETCH completed
        C: a3 UID FETCH 1 (UID)
        S: a3 OK UID FETCH completed
        C: a4 FETCH 2 UID
        S: a4 BAD There is no message 2 here, only 1
    """)


async def test_fetch_in_an_empty_mailbox(reader: Dialogue) -> None:
    await play(reader, """
        C: a1 FETCH 1:* FLAGS
        S: a1 BAD …
        C: a2 UID FETCH 1:* FLAGS
        S: a2 OK UID FETCH completed
    """)


# SEARCH and UID SEARCH (§6.4.4)


EVERY_KEY = {
    "ALL": "1 2 3", "ANSWERED": "1", "UNANSWERED": "2 3", "DELETED": "3", "UNDELETED": "1 2", "DRAFT": "3", "UNDRAFT": "1 2",
    "FLAGGED": "2", "UNFLAGGED": "1 3", "SEEN": "1", "UNSEEN": "2 3", "NEW": "2 3", "OLD": "", "RECENT": "1 2 3",
    "KEYWORD work": "2", "UNKEYWORD Work": "1 3", "BEFORE 2-Feb-2024": "1", "ON 2-Feb-2024": "2", "SINCE 2-Feb-2024": "2 3",
    "SENTBEFORE 2-Feb-2024": "2", "SENTON 1-Feb-2024": "2", "SENTSINCE 2-Feb-2024": "", "LARGER 94": "1 2 3",
    "LARGER 120": "3", "SMALLER 95": "", "FROM bob": "1", 'FROM "Zoë"': "2", "TO team": "3", "BCC boss": "3", "CC x": "",
    "SUBJECT dejeuner": "2", "BODY déjeuner": "3", "BODY PRET": "3", "TEXT dejeuner": "2 3", "TEXT x-tag": "3",
    "HEADER X-Tag one": "3", 'HEADER X-Tag ""': "3", 'HEADER Subject ""': "1 2", "UID 2:3": "2 3", "1:2": "1 2", "*": "3",
    "NOT 1": "2 3", "OR 1 3": "1 3", "(1:2 SEEN)": "1", "1:2 UNSEEN FLAGGED": "2", "OR (SEEN ANSWERED) (DRAFT DELETED)": "1 3",
    "NOT (OR SEEN FLAGGED)": "3", 'TEXT ""': "1 2 3",
}  # fmt: skip


def on_the_wire(word: str) -> bytes:
    """A word as ASCII, or as a literal when it is none."""
    octets = word.strip('"').encode()
    return word.encode() if word.isascii() else b"{%d+}\r\n%b" % (len(octets), octets)


async def test_search_by_every_key() -> None:
    lunch = (
        b"From: Zo\xc3\xab <zoe@example.test>\r\nSubject: =?utf-8?Q?D=C3=A9jeuner?=\r\n"
        b"Date: Thu, 1 Feb 2024 23:30:00 -0800\r\n\r\nA midi.\r\n"
    )
    latin = (
        b"To: team@example.test\r\nBcc: boss@example.test\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\nX-Tag: one\r\n\r\nLe d=E9jeuner =\r\nest pr=EAt\r\n"
    )
    async with a_house() as house, a_client(house, select="INBOX") as client:
        await put(house, PLAIN, flags=Flag.SEEN | Flag.ANSWERED, internal_date=EARLY)
        await put(house, lunch, flags=Flag.FLAGGED, keywords=["Work"], internal_date=EARLY + timedelta(days=1))
        await put(house, latin, flags=Flag.DELETED | Flag.DRAFT, internal_date=datetime(2024, 3, 1, tzinfo=UTC))
        await client("a0 NOOP")
        for keys, expected in EVERY_KEY.items():
            words = b" ".join(map(on_the_wire, keys.split(" ")))
            answer = await client(b"s SEARCH CHARSET UTF-8 " + words + b"\r\n")
            assert answer == f"* SEARCH{' ' * bool(expected)}{expected}\ns OK SEARCH completed", (keys, answer)


async def test_search_answers(house: House, reader: Dialogue) -> None:
    await put(house, PLAIN, flags=Flag.DELETED)
    await put(house, PLAIN)
    await reader("a0 EXPUNGE")
    await play(reader, """
        C: a1 SEARCH ALL
        S: * SEARCH 1
        S: a1 OK SEARCH completed
        C: a2 UID SEARCH ALL
        S: * SEARCH 2
        S: a2 OK UID SEARCH completed
        C: a3 SEARCH CHARSET X-UNKNOWN ALL
        S: a3 NO [BADCHARSET (US-ASCII UTF-8)] This charset is not known here
        C: a4 SEARCH 1:9 NOT 7
        S: * SEARCH 1
        S: a4 OK SEARCH completed
        C: a5 UID SEARCH UID 77
        S: * SEARCH
        S: a5 OK UID SEARCH completed
    """)
    latin = b"a6 SEARCH CHARSET ISO-8859-1 SUBJECT {5+}\r\nh\xe9llo\r\n"  # accents do not matter
    assert await reader(latin) == "* SEARCH 1\na6 OK SEARCH completed"


# pipelining (§5.5)


async def test_pipelined_commands_are_answered_in_order(alice: Dialogue) -> None:
    answer = await alice("a1 NOOP\na2 SELECT INBOX\na3 NONSENSE\na4 CLOSE\na5 NOOP")
    tags = [line.split(" ")[:2] for line in answer.split("\n") if not line.startswith("*")]
    assert tags == [["a1", "OK"], ["a2", "OK"], ["a3", "BAD"], ["a4", "OK"], ["a5", "OK"]]


async def test_rfc_3501_5_1_inbox_has_no_case_where_it_begins_a_path(alice: Dialogue) -> None:
    await play(alice, r"""
        C: a1 CREATE inbox/Club
        S: a1 OK CREATE completed
        C: a2 LIST "" "Inbox/%"
        S: * LIST (\HasNoChildren) "/" INBOX/Club
        S: a2 OK LIST completed
        C: a3 LIST "" "inb*"
        S: * LIST (\HasChildren) "/" INBOX
        S: * LIST (\HasNoChildren) "/" INBOX/Club
        S: a3 OK LIST completed
        C: a4 LIST "" "inbox/club"
        S: a4 OK LIST completed
        C: a5 STATUS iNbOx/Club (MESSAGES)
        S: * STATUS INBOX/Club (MESSAGES 0)
        S: a5 OK STATUS completed
    """)


async def test_search_takes_charsets_as_programs_write_them(house: House, reader: Dialogue) -> None:
    """imap-tools says utf8, as its documentation does; Dovecot takes it as well."""
    await put(house, "Subject: =?utf-8?Q?D=C3=A9j=C3=A0?=\r\n\r\nvu\r\n")
    await reader("a0 NOOP")
    for charset, encoding in (("utf8", "utf-8"), ("UTF-8", "utf-8"), ("latin1", "latin-1"), ("ISO8859-1", "latin-1")):
        word = "Déjà".encode(encoding)
        answer = await reader(b"a1 SEARCH CHARSET %b SUBJECT {%d+}\r\n%b\r\n" % (charset.encode(), len(word), word))
        assert answer.startswith("* SEARCH 1\n"), charset
    assert "BADCHARSET" in await reader("a2 SEARCH CHARSET unicode_escape SUBJECT x")


async def test_an_empty_search_word_is_in_every_field_that_is_there(house: House, reader: Dialogue) -> None:
    await put(house, PLAIN)
    await put(house, "Cc: x@example.test\r\n\r\nNo subject.\r\n")
    await reader("a0 NOOP")
    for key, expected in (("CC", "2"), ("SUBJECT", "1"), ("FROM", "1"), ("TEXT", "1 2"), ("BODY", "1 2")):
        assert (await reader(f'a1 SEARCH {key} ""')).startswith(f"* SEARCH {expected}\n"), key


async def test_commands_and_sign_ins_are_counted() -> None:
    def counted() -> dict[tuple[str, ...], float]:
        values = {}
        for counter in (metrics.imap_commands, metrics.logins):
            for sample in next(iter(counter.collect())).samples:
                values[tuple(sample.labels.values())] = sample.value
        return values

    async with a_house() as house, a_client(house, login="") as client:
        before = counted()
        await client(f'a1 LOGIN {ALICE} wrong\na2 LOGIN {ALICE} "{PASSWORD}"')
        await client("a3 SELECT INBOX\na4 SELECT None\na5 WEATHER\na6 CHECK")
        now = counted()
        for labels in (("imap", "wrong"), ("imap", "ok"), ("LOGIN", "no"), ("LOGIN", "ok"), ("SELECT", "ok"), ("SELECT", "no"),
                       ("unknown", "bad"), ("CHECK", "bad")):
            assert now[labels] == before.get(labels, 0) + 1, labels
