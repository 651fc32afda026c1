"""Several sessions on one mailbox: who is told what, and when (RFC 3501 §5.2, §5.5, §7.4.1, RFC 2177, RFC 2180)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import sys
import textwrap

from conftest import PATIENCE
from imap_house import ALICE, PASSWORD, PLAIN, a_client, a_house, a_server, play, put

from gk.imap.dialogue import Dialogue, House
from gk.mail.maildir import Flag

pytest_plugins = "imap_fixtures"

# EXPUNGE at the permitted moments (§7.4.1)


async def test_expunge_is_not_said_during_fetch_store_and_search(five: None, one: Dialogue, other: Dialogue) -> None:
    await other("b1 STORE 2 +FLAGS.SILENT (\\Deleted)\nb2 EXPUNGE")
    await play(one, r"""
        C: a1 FETCH 3 (UID)
        S: * 3 FETCH (UID 3)
        S: a1 OK FETCH completed
        C: a2 STORE 3 +FLAGS (\Flagged)
        S: * 3 FETCH (FLAGS (\Flagged \Recent))
        S: a2 OK STORE completed
        C: a3 SEARCH UID 3
        S: * SEARCH 3
        S: a3 OK SEARCH completed
        C: a4 FETCH 2 (UID ENVELOPE)
        S: a4 NO [EXPUNGEISSUED] Some of the messages are gone
        C: a5 STORE 2 +FLAGS (a)
        S: a5 NO [EXPUNGEISSUED] Some of the messages are gone
        C: a6 NOOP
        S: * 2 EXPUNGE
        S: a6 OK NOOP completed
        C: a7 FETCH 2 (UID)
        S: * 2 FETCH (UID 3)
        S: a7 OK FETCH completed
    """)


async def test_expunge_may_be_said_after_uid_commands(house: House, one: Dialogue, other: Dialogue) -> None:
    for command in ("UID FETCH 1:* (UID)", "UID SEARCH ALL", "UID STORE 1:* +FLAGS (x)", "COPY 1 Archive", "CHECK"):
        await put(house, PLAIN)
        await put(house, PLAIN)
        await one("a0 NOOP")
        await other("b0 NOOP\nb1 STORE 2 +FLAGS.SILENT (\\Deleted)\nb2 EXPUNGE")
        assert "* 2 EXPUNGE" in await one(f"a1 {command}"), command


async def test_a_pipeline_of_numbers_means_what_it_meant(five: None, one: Dialogue, other: Dialogue) -> None:
    """RFC 3501 §5.5: FETCH behind FETCH may rely on the numbers, whatever others expunge meanwhile."""
    await other("b1 STORE 1:2 +FLAGS.SILENT (\\Deleted)\nb2 EXPUNGE")
    answer = await one("a1 FETCH 5 (UID)\na2 STORE 5 +FLAGS.SILENT (\\Seen)\na3 FETCH 5 (UID)")
    assert answer.count("* 5 FETCH (UID 5)") == 2


async def test_messages_that_are_gone_keep_their_number_until_it_is_said(house: House, five: None, one: Dialogue) -> None:
    account = await house.directory.find(ALICE)
    assert account is not None
    inbox = await house.mailboxes.folders.get(account.id, "INBOX")
    await house.mailboxes.entries.store(inbox.id, [1, 5], "add", Flag.DELETED)
    await house.mailboxes.entries.expunge(inbox.id)
    await put(house, PLAIN)
    await play(one, """
        C: a1 FETCH 2 (UID)
        S: * 2 FETCH (UID 2)
        S: * 6 EXISTS
        S: * 6 RECENT
        S: a1 OK FETCH completed
        C: a2 NOOP
        S: * 5 EXPUNGE
        S: * 1 EXPUNGE
        S: a2 OK NOOP completed
        C: a3 FETCH 1:* (UID)
        S: * 1 FETCH (UID 2)
        S: * 2 FETCH (UID 3)
        S: * 3 FETCH (UID 4)
        S: * 4 FETCH (UID 6)
        S: a3 OK FETCH completed
    """)


# flags and new mail with any command (§5.2, §7.4.2)


async def test_flags_of_others_are_told_with_the_next_command(five: None, one: Dialogue, other: Dialogue) -> None:
    await other("b1 STORE 4 +FLAGS (\\Seen Work)")
    await play(one, r"""
        C: a1 FETCH 1 (UID)
        S: * 1 FETCH (UID 1)
        S: * FLAGS (\Seen \Answered \Flagged \Deleted \Draft Work)
        S: * OK [PERMANENTFLAGS (\Seen \Answered \Flagged \Deleted \Draft Work \*)] Flags that last
        S: * 4 FETCH (UID 4 FLAGS (\Seen \Recent Work))
        S: a1 OK FETCH completed
        C: a2 NOOP
        S: a2 OK NOOP completed
    """)


async def test_a_silent_store_still_tells_what_another_has_changed(five: None, one: Dialogue, other: Dialogue) -> None:
    await other("b1 STORE 1 +FLAGS (\\Flagged)")
    await play(one, r"""
        C: a1 STORE 1 +FLAGS.SILENT (\Seen)
        S: * 1 FETCH (FLAGS (\Seen \Flagged \Recent))
        S: a1 OK STORE completed
    """)


async def test_recent_belongs_to_the_first_session(house: House) -> None:
    await put(house, PLAIN)
    async with a_client(house) as looker, a_client(house) as first, a_client(house) as second:
        assert "* 1 RECENT" in await looker("a1 EXAMINE INBOX")
        assert "* 1 RECENT" in await first("b1 SELECT INBOX")
        assert "* 0 RECENT" in await second("c1 SELECT INBOX")
        await put(house, PLAIN)
        assert "* 2 RECENT" in await first("b2 NOOP")
        assert "* 0 RECENT" in await second("c2 NOOP")


async def test_a_mailbox_deleted_under_a_session() -> None:
    async with a_house() as house, a_client(house) as one, a_client(house) as other:
        await other("b1 CREATE Work")
        await one("a1 SELECT Work")
        await other("b2 DELETE Work")
        assert await one("a2 NOOP") == "* BYE The selected mailbox has been deleted"
        assert one.task.done()


async def test_a_mailbox_renamed_under_a_session_stays_open() -> None:
    async with a_house() as house, a_client(house) as one, a_client(house) as other:
        await other("b1 CREATE Work")
        await one("a1 SELECT Work")
        await other("b2 RENAME Work Job")
        await put(house, PLAIN, "Job")
        assert "* 1 EXISTS" in await one("a2 NOOP")


# IDLE (RFC 2177)


async def test_idle_tells_everything_at_once(house: House, five: None, one: Dialogue, other: Dialogue) -> None:
    await play(one, """
        C: a1 IDLE
        S: + idling
    """)
    await other("b1 STORE 3 +FLAGS (\\Seen)")
    assert await one.news() == "* 3 FETCH (UID 3 FLAGS (\\Seen \\Recent))"
    await other("b2 STORE 3 +FLAGS.SILENT (\\Deleted)\nb3 EXPUNGE")
    assert (await one.news()).endswith("* 3 EXPUNGE")
    await put(house, PLAIN)
    assert "* 5 EXISTS" in await one.news()
    await play(one, """
        C: DONE
        S: a1 OK IDLE completed
    """)


async def test_idle_misses_nothing_that_came_just_before(house: House, one: Dialogue) -> None:
    await put(house, PLAIN)
    assert await one("a1 IDLE") == "+ idling\n* 1 EXISTS\n* 1 RECENT"


async def test_idle_and_done_in_one_packet(one: Dialogue) -> None:
    assert await one("a1 IDLE\nDONE\na2 NOOP") == "+ idling\na1 OK IDLE completed\na2 OK NOOP completed"


DELIVER = """
    import asyncio, sys
    from pathlib import Path
    from gk.core.database import Database
    from gk.mail.mailbox import Mailboxes

    async def main(folder):
        database = Database.open(folder)
        mailboxes = Mailboxes(database, folder / "mail")
        inbox = await mailboxes.folders.get(1, "INBOX")
        await mailboxes.ingest.append(inbox.id, b"Subject: from another process\\r\\n\\r\\nHello\\r\\n")
        await mailboxes.close()
        database.close()

    asyncio.run(main(Path(sys.argv[1])))
"""


async def test_idle_hears_mail_that_another_process_delivers(house: House, one: Dialogue) -> None:
    await one("a1 IDLE")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", textwrap.dedent(DELIVER), str(house.database.folder))
    assert await process.wait() == 0
    assert "* 1 EXISTS" in await one.news(PATIENCE)  # the hub looks four times a second; a busy machine may be slower
    answer = await one("DONE\na2 FETCH 1 (BODY.PEEK[HEADER.FIELDS (Subject)])")
    assert "from another process" in answer


async def test_one_mail_and_two_hundred_idle_clients(house: House) -> None:
    async with contextlib.AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(a_client(house, select="INBOX")) for _ in range(200)]
        for client in idle:
            await client("a1 IDLE")
        await put(house, PLAIN)
        heard = await asyncio.gather(*(client.news() for client in idle))
        assert all(answer.startswith("* 1 EXISTS") for answer in heard)
        assert sum("* 1 RECENT" in answer for answer in heard) == 1  # and it is new to one of them only


async def test_an_idle_client_that_is_forgotten_hears_that_we_are_still_here(monkeypatch: object) -> None:
    import gk.imap.session as module

    async with a_house() as house, a_client(house, select="INBOX") as one:
        monkeypatch.setattr(module, "STILL_HERE", 0.05)  # type: ignore[attr-defined]
        await one("a1 IDLE")
        assert "* OK Still here" in await one.news()
        assert "a1 OK" in await one("DONE")


# APPEND and delivery at once


async def test_many_sessions_append_and_a_delivery_runs_beside() -> None:
    async with a_house() as house, a_client(house, select="INBOX") as watcher:
        async def append(client: Dialogue, count: int) -> list[int]:
            uids = []
            for _ in range(count):
                answer = await client(b"a1 APPEND INBOX {12+}\r\nSubject: x\r\n\r\n")
                uids.append(int(re.search(r"APPENDUID \d+ (\d+)", answer)[1]))  # type: ignore[index]
            return uids

        async with a_client(house) as one, a_client(house) as other:
            found = await asyncio.gather(append(one, 10), append(other, 10), *(put(house, PLAIN) for _ in range(10)))
        uids = [*found[0], *found[1], *found[2:]]
        assert sorted(uids) == list(range(1, 31))
        answer = await watcher("w1 NOOP\nw2 UID SEARCH ALL")
        assert "* SEARCH " + " ".join(map(str, range(1, 31))) in answer


async def test_two_sessions_in_disorder_end_with_the_same_picture() -> None:
    """A random walk of two clients over one mailbox; each believes only what it is told, and both must end with what is there."""
    dice = random.Random(2180)
    async with a_house() as house, a_client(house, select="INBOX") as one, a_client(house, select="INBOX") as other:
        pictures: dict[Dialogue, list[int | None]] = {one: [], other: []}

        async def say(alice: Dialogue, text: str) -> str:
            answer, told = await client(text), pictures[client]
            for number, word, rest in re.findall(r"^\* (\d+) (EXPUNGE|EXISTS|FETCH)(.*)$", answer, re.MULTILINE):
                if word == "EXPUNGE":
                    told.pop(int(number) - 1)
                elif word == "EXISTS":
                    told += [None] * (int(number) - len(told))
                elif uid := re.search(r"UID (\d+)", rest):
                    assert told[int(number) - 1] in (None, int(uid[1]))
                    told[int(number) - 1] = int(uid[1])
            return answer

        for _ in range(150):
            client = dice.choice([one, other])
            size = len(pictures[client])
            number = dice.randint(1, size) if size else 0
            choice = dice.randrange(6)
            if choice == 0 or not size:
                await put(house, PLAIN)
            elif choice == 1:
                await say(client, f"x STORE {number} +FLAGS.SILENT (\\Deleted)")
            elif choice == 2:
                await say(client, "x EXPUNGE")
            elif choice == 3:
                await say(client, f"x FETCH {number} (UID FLAGS)")
            elif choice == 4:
                await say(client, f"x UID STORE 1:* {dice.choice('+-')}FLAGS (\\Flagged)")
            else:
                await say(client, "x NOOP")
        for client, told in pictures.items():
            await say(client, "x NOOP")
            answer = await say(client, "x UID SEARCH ALL")
            await say(client, "x UID FETCH 1:* (UID)")
            assert answer.split("\n")[0] == "* SEARCH" + "".join(f" {uid}" for uid in told)
        assert pictures[one] == pictures[other]


# on the wire


async def test_two_connections_over_tls_and_in_the_clear() -> None:
    import imaplib
    import ssl

    async with a_house() as house, a_server(house) as server:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        def talk(clear: int, tls: int) -> list[object]:
            with imaplib.IMAP4("127.0.0.1", clear) as one, imaplib.IMAP4_SSL("127.0.0.1", tls, ssl_context=context) as other:
                for client in (one, other):
                    client.login(ALICE, PASSWORD)
                    client.select()
                other.append("INBOX", None, None, b"Subject: x\r\n\r\ny\r\n")
                one.noop()
                return [one.untagged_responses.get("EXISTS"), one.fetch("1", "(UID)")[1]]

        found = await asyncio.to_thread(talk, server.addresses()[0][1], server.addresses(secure=True)[0][1])
        assert found == [[b"0", b"1"], [b"1 (UID 1)"]] or found[1] == [b"1 (UID 1)"]
