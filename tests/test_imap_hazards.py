"""What has hurt other IMAP servers, named after the CVE or RFC: bounds and one past them, injection, floods, stalls."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import random
import socket
import ssl
from typing import Any

import pytest
from conftest import comes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from imap_house import ALICE, BOB, a_client, a_house, a_server, put
from structlog.testing import capture_logs

from gk.core.limits import LoginBackoff
from gk.imap.dialogue import PASSWORD, Dialogue, House
from gk.imap.server import HANDLERS
from gk.mail.mailbox import MailboxError

pytest_plugins = "imap_fixtures"


def last(answer: str) -> str:
    return answer.split("\n")[-1]


# over-long lines, literals, commands, depth (CVE-2026-27857, CVE-2026-42391, CVE-2026-42006)


async def test_cve_2026_27857_a_line_at_the_bound_and_one_past_it(house: House, alice: Dialogue) -> None:
    bound = house.settings.imap.max_line_bytes
    fits = 'a1 LIST "" ' + "x" * (bound - len('a1 LIST "" '))
    assert len(fits) == bound
    assert await alice(fits) == "a1 OK LIST completed"
    assert await alice(fits + "x") == f"a1 BAD A line may have {bound} octets"
    assert await alice("a2 NOOP") == "a2 OK NOOP completed"


async def test_cve_2026_27857_an_answer_to_authenticate_and_a_line_in_idle_have_the_same_bound(house: House) -> None:
    bound = house.settings.imap.max_line_bytes
    async with a_client(house, login="") as stranger, a_client(house) as alice:
        assert await stranger("a1 AUTHENTICATE PLAIN") == "+ "
        assert await stranger("A" * (bound + 1)) == f"* BAD A line may have {bound} octets\n* BYE Please start again"
        await alice("a1 IDLE")
        assert last(await alice("D" * (bound + 1))) == "* BYE Please start again"


async def test_cve_2026_42391_a_literal_at_the_bound_and_one_past_it(house: House, alice: Dialogue) -> None:
    bound = house.settings.imap.max_literal_bytes
    head = b'a1 LIST "" {%d+}\r\n'
    assert last(await alice(head % bound + b"x" * bound + b"\r\n")) == "a1 OK LIST completed"
    assert last(await alice(head % (bound + 1) + b"x" * (bound + 1) + b"\r\n")).startswith("a1 BAD [TOOBIG]")
    # announced and waited for: refused before an octet of it was sent
    assert (await alice("a2 SELECT {4294967295}")).startswith("a2 BAD [TOOBIG]")
    assert (await alice("a3 SELECT {99999999999999999999999999}")).startswith("a3 BAD [TOOBIG]")
    assert await alice("a4 NOOP") == "a4 OK NOOP completed"


async def test_cve_2026_42391_a_command_made_of_many_literals(alice: Dialogue) -> None:
    piece = b"SUBJECT {60000+}\r\n" + b"x" * 60_000 + b" "
    answer = await alice(b"a1 SEARCH " + piece * 20 + b"ALL\r\na2 NOOP\r\n")
    assert "a1 BAD [TOOBIG] A command may have 1048576 octets" in answer and last(answer) == "a2 OK NOOP completed"


async def test_cve_2026_42006_depth(house: House, reader: Dialogue) -> None:
    depth = house.settings.imap.max_depth
    for opening, closing in (("(", ")"), ("NOT ", ""), ("OR ALL ", "")):
        fits = f"a1 SEARCH {opening * depth}ALL{closing * depth}"
        assert last(await reader(fits)) == "a1 OK SEARCH completed"
        deeper = f"a1 SEARCH {opening * (depth + 1)}ALL{closing * (depth + 1)}"
        assert await reader(deeper) == "a1 BAD Too many levels of parentheses, NOT or OR"


async def test_rfc_7888_a_literal_that_does_not_wait_is_short_before_login(stranger: Dialogue) -> None:
    assert "AUTHENTICATIONFAILED" in await stranger(b"a1 LOGIN {4096+}\r\n" + b"x" * 4096 + b" y\r\n")
    assert "a2 BAD [TOOBIG]" in await stranger(b"a2 LOGIN {4097+}\r\n" + b"x" * 4097 + b" y\r\n")
    answer = await stranger(b"a3 LOGIN {99999999+}\r\n" + b"x" * 1000)
    assert "TOOBIG" in answer and "BYE" in answer and stranger.task.done()


async def test_rfc_7889_a_message_past_the_limit_is_refused_on_its_announcement(house: House, alice: Dialogue) -> None:
    limit = house.services.message_limit
    assert (await alice(f"a1 APPEND INBOX {{{limit + 1}}}")).startswith("a1 NO [TOOBIG]")
    assert (await alice(f"a2 APPEND INBOX {{{limit}}}")) == "+ OK"


async def test_rfc_7889_a_client_that_vanishes_in_the_middle_of_a_message_leaves_nothing(house: House) -> None:
    async with a_client(house) as client:
        await client(b"a1 APPEND INBOX {1000000+}\r\n" + b"x" * 600_000)
        assert list((house.mailboxes.storage.root / "tmp").iterdir())
    assert not list((house.mailboxes.storage.root / "tmp").iterdir())


# LIST patterns (the class of CVE-2026-33607)


async def test_cve_2026_33607_patterns_made_of_wildcards(alice: Dialogue) -> None:
    await alice("c CREATE " + "a" * 180)
    for pattern in ("*a" * 2000 + "b", "%a" * 2000 + "b", "*" * 8000, "%*" * 2000 + "x", "a*" * 60 + "c"):
        assert last(await alice(f'a1 LIST "" "{pattern}"')) == "a1 OK LIST completed"
        assert last(await alice(f'a2 LSUB "" "{pattern}"')) == "a2 OK LSUB completed"


# mailbox names (CVE-2026-0394, CVE-2026-42394)


@pytest.mark.parametrize("name", [
    "../../etc/passwd", "..", "a/../b", "/etc", "a//b", "a/", "~root", "&AAAACg-", "&AAo-", "a&AAA-b", '"a\\"b"', "x" * 2000,
    "a/" * 40 + "a", "&2D0-", "&IC4-evil", "INBOX/..", "a\tb", "#shared", "&ANgA3w-",
])  # fmt: skip
async def test_cve_2026_0394_names_never_become_paths_or_lines(name: str) -> None:
    async with a_house() as house, a_client(house) as client:
        before = {path.parent for path in house.database.folder.rglob("*")}
        for command in ("CREATE", "SELECT", "SUBSCRIBE", "RENAME INBOX", "DELETE", "STATUS"):
            rest = " (MESSAGES)" if command == "STATUS" else ""
            answer = await client(b"a1 %b {%d+}\r\n%b%b\r\n" % (command.encode(), len(name), name.encode(), rest.encode()))
            assert len([line for line in answer.split("\n") if line.startswith("a1 ")]) == 1, answer
        outside = {path.parent for path in house.database.folder.rglob("*")} - before
        assert all(path.is_relative_to(house.mailboxes.storage.root) for path in outside)
        assert (await client("a2 NOOP")).endswith("a2 OK NOOP completed")


async def test_a_name_with_a_line_break_does_not_become_an_answer_of_its_own(alice: Dialogue) -> None:
    answer = await alice("a1 SELECT &AA0ACg-a1")  # CR LF a1
    assert answer.count("\n") == 0 and answer.startswith("a1 NO ")


# STARTTLS injection (CVE-2011-0411, CVE-2024-34083)


async def test_cve_2011_0411_what_came_before_the_handshake_never_counts(outsider: Dialogue) -> None:
    answer = await outsider(b"a1 STARTTLS\r\na2 LOGIN mallory x\r\na3 NOOP\r\na4 APPEND INBOX {100+}\r\nhalf")
    assert answer == "a1 OK Begin TLS now"
    assert await outsider("a5 NOOP") == "a5 OK NOOP completed"


async def test_cve_2024_34083_on_the_wire() -> None:
    async with a_house() as house, a_server(house) as server:
        reader, writer = await asyncio.open_connection(*server.addresses()[0])
        await reader.readline()
        writer.write(b"a1 STARTTLS\r\na2 NOOP\r\n")
        assert await reader.readline() == b"a1 OK Begin TLS now\r\n"
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        await writer.start_tls(context)
        writer.write(b"a3 NOOP\r\n")
        assert await reader.readline() == b"a3 OK NOOP completed\r\n"
        writer.close()


# passwords in the clear, guessing, enumeration (CVE-2026-42393, CVE-2026-27856)


async def test_rfc_3501_logindisabled_from_afar(outsider: Dialogue) -> None:
    for command in (f'LOGIN {ALICE} "{PASSWORD}"', "AUTHENTICATE PLAIN", "AUTHENTICATE PLAIN AGEAYg=="):
        assert (await outsider(f"a1 {command}")).startswith("a1 NO [PRIVACYREQUIRED]")


async def test_cve_2026_42393_names_that_exist_and_names_that_do_not_get_the_same(stranger: Dialogue) -> None:
    names = (ALICE, BOB, "nobody@example.test", "nobody@elsewhere.test", "?")
    answers = {await stranger(f"a1 LOGIN {name} wrong") for name in names}
    assert answers == {"a1 NO [AUTHENTICATIONFAILED] The name or the password is wrong"}


async def test_guessing_is_slowed_down_for_every_name_alike() -> None:
    async with a_house(limits={"login_failures": 3}) as house:
        for name in (ALICE, "nobody@example.test"):
            house.services = dataclasses.replace(house.services, backoff=LoginBackoff(house.settings.limits))
            answers = []
            for _ in range(5):
                async with a_client(house, login="", peer="127.0.0.9") as client:
                    answers.append(await client(f"a1 LOGIN {name} wrong"))
            assert "AUTHENTICATIONFAILED" in answers[0] and "UNAVAILABLE" in answers[-1], answers


async def test_a_changed_password_ends_connections() -> None:
    async with (
        a_house() as house,
        a_client(house, select="INBOX") as idle,
        a_client(house) as quiet,
        a_client(house, login=BOB) as bob,
    ):
        await idle("a1 IDLE")
        alice = await house.directory.find(ALICE)
        assert alice is not None
        await house.credentials.set_password(alice, "another password")
        assert "* BYE Please sign in again" in await idle.news() and "* BYE" in await quiet.news()
        assert await bob("a2 NOOP") == "a2 OK NOOP completed"


async def test_a_browser_that_signs_out_ends_no_mail_program() -> None:
    async with a_house() as house, a_client(house, select="INBOX") as laptop:
        alice = await house.directory.find(ALICE)
        assert alice is not None
        browser, _ = await house.credentials.add_token(alice, "session")
        await laptop("a1 IDLE")
        await house.credentials.revoke(browser.id)
        await asyncio.sleep(0.1)
        assert await laptop("DONE\na2 NOOP") == "a1 OK IDLE completed\na2 OK NOOP completed"


async def test_a_revoked_app_password_ends_the_connections_that_came_in_with_it() -> None:
    async with (
        a_house() as house,
        a_client(house) as laptop,
        a_client(house, login="") as phone,
        a_client(house, login="") as tablet,
    ):
        alice = await house.directory.find(ALICE)
        assert alice is not None
        tokens = [await house.credentials.add_token(alice, "app", name) for name in ("phone", "tablet")]
        for client, (_, text) in zip((phone, tablet), tokens, strict=True):
            assert "a1 OK" in await client(f"a1 LOGIN {ALICE} {text}")
        await house.credentials.revoke(tokens[0][0].id)
        assert await phone.news() == "* BYE Please sign in again"
        await house.credentials.set_password(alice, "another password")
        assert await laptop.news() == "* BYE Please sign in again"
        assert await tablet("a2 NOOP") == "a2 OK NOOP completed"  # its own right has not changed


async def test_a_deleted_account_ends_its_connections() -> None:
    async with a_house() as house, a_client(house) as alice, a_client(house, login=BOB) as bob:
        await house.directory.delete_account(ALICE)
        assert await alice.news() == "* BYE Please sign in again"
        assert await bob("a1 NOOP") == "a1 OK NOOP completed"


async def test_nobody_reads_the_mail_of_another() -> None:
    async with a_house() as house, a_client(house, login=BOB) as bob:
        await put(house, "Subject: secret\r\n\r\nfor Alice\r\n")
        await bob("a1 SELECT INBOX")
        assert "* SEARCH\n" in await bob("a2 UID SEARCH TEXT secret") + "\n"
        assert await bob("a3 UID FETCH 1:* BODY[]") == "a3 OK UID FETCH completed"
        for name in ("../1/1", "alice@example.test/INBOX", "#user/alice", "1"):
            assert (await bob(f"a4 SELECT {name}")).startswith("a4 NO")


# floods and stalls


async def test_a_client_that_only_makes_errors_is_sent_away(stranger: Dialogue) -> None:
    answer = await stranger("\n".join(["GET / HTTP/1.1"] * 20))
    assert last(answer) == "* BYE Too many errors" and stranger.task.done()


async def test_a_command_asking_for_gigabytes_is_answered_in_bounded_pieces(house: House, reader: Dialogue) -> None:
    await put(house, b"Subject: x\r\n\r\n" + b"0123456789abcde\r\n" * 6000)
    heaviest, total = 0, 0
    real = reader.channel.write

    def write(octets: bytes) -> None:
        nonlocal heaviest, total
        heaviest, total = max(heaviest, len(octets)), total + len(octets)
        real(octets[:100])

    reader.channel.write = write  # type: ignore[method-assign]
    await reader("a0 NOOP")
    pieces = " ".join(f"BODY.PEEK[]<{start}.99999>" for start in range(100))
    await reader(f"a1 FETCH 1 ({pieces})")
    assert total > 9_000_000 and heaviest < 300_000


async def test_slow_clients_before_signing_in_have_a_deadline() -> None:
    async with a_house(imap={"login_seconds": 0.3}) as house:
        client = Dialogue(house.services, HANDLERS)
        await asyncio.wait_for(client.task, 10)
        assert "* BYE You were silent for too long" in client.channel.heard()


async def test_a_client_that_does_not_read_stops_its_own_session_only() -> None:
    async with a_house() as house, a_server(house) as server:
        for _ in range(40):
            await put(house, b"Subject: x\r\n\r\n" + b"0123456789abcde\r\n" * 20_000)
        host, port = server.addresses()[0]
        greedy = socket.create_connection((host, port))
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.sendall(f'a1 LOGIN {ALICE} "{PASSWORD}"\r\na2 SELECT INBOX\r\na3 FETCH 1:* BODY.PEEK[]\r\n'.encode())
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f'b1 LOGIN {BOB} "{PASSWORD}"\r\nb2 NOOP\r\n'.encode())
        while b"b2 OK" not in await asyncio.wait_for(reader.readline(), 10):
            pass
        (wire,) = await comes(lambda: [wire for wire in server.guests.wires if not wire.channel.outgoing.writable.is_set()])
        assert wire.channel.outgoing.transport.get_write_buffer_size() < 4_000_000  # of 13 MB
        greedy.close()
        writer.close()


async def test_a_flood_of_commands_is_not_read_into_memory() -> None:
    async with a_house() as house, a_server(house) as server:
        release = asyncio.Event()

        async def slow(session: Any, command: Any) -> None:
            await release.wait()

        original = HANDLERS["NOOP"]
        HANDLERS["NOOP"] = type(original)(slow, original.states, True)
        try:
            host, port = server.addresses()[0]
            reader, writer = await asyncio.open_connection(host, port)
            flood = b"a1 NOOP\r\n" * 50_000
            writer.write(flood)
            (wire,) = await comes(lambda: [wire for wire in server.guests.wires if wire.channel.paused])
            assert len(wire.session.connection.buffer) < 600_000
            HANDLERS["NOOP"] = original
            release.set()
            count = 0
            while count < 50_000 + 1:
                count += (await asyncio.wait_for(reader.read(1 << 20), 20)).count(b"\n")
            writer.close()
        finally:
            HANDLERS["NOOP"] = original


async def test_connection_caps_are_kept_and_given_back() -> None:
    async with a_house() as house, a_server(house, limits={"connections_per_address": 2}) as server:
        host, port = server.addresses()[0]
        streams = [await asyncio.open_connection(host, port) for _ in range(3)]
        greetings = sorted([await reader.readline() for reader, _ in streams])
        assert [line[:5] for line in greetings] == [b"* BYE", b"* OK ", b"* OK "]
        for _, writer in streams:
            writer.close()
        await comes(lambda: not server.guests.wires)
        reader, writer = await asyncio.open_connection(host, port)
        assert (await reader.readline()).startswith(b"* OK")
        writer.close()


async def test_the_last_words_reach_a_client_that_is_still_sending() -> None:
    async with a_house() as house, a_server(house) as server:
        reader, writer = await asyncio.open_connection(*server.addresses()[0])
        writer.write(b"nonsense\r\n" * 5000)
        assert (await reader.read()).endswith(b"* BYE Too many errors\r\n")
        writer.close()


async def test_a_literal_and_its_line_end_in_two_writes_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """imaplib's way: without an immediate acknowledgement each APPEND takes the 40 ms of a delayed one."""
    async with a_house() as house, a_server(house) as server:
        acknowledged = []
        monkeypatch.setattr("gk.imap.server.acknowledge", acknowledged.append)

        def talk(host: str, port: int) -> None:
            with socket.create_connection((host, port)) as client:  # Nagle on: as imaplib leaves it
                file = client.makefile("rb")
                client.sendall(f'a0 LOGIN {ALICE} "{PASSWORD}"\r\n'.encode())
                while not file.readline().startswith(b"a0"):
                    pass
                for number in range(10):
                    client.sendall(b"a%d APPEND INBOX {12}\r\n" % number)
                    assert file.readline().startswith(b"+")
                    client.sendall(b"Subject: x\r\n")
                    client.sendall(b"\r\n")
                    assert file.readline().startswith(b"a%d OK" % number)

        await asyncio.to_thread(talk, *server.addresses()[0])
        assert len(acknowledged) >= 10


# whatever is sent: one answer a command, and nothing in the log

WORDS = [
    "a1", "FETCH", "UID", "SEARCH", "STORE", "COPY", "SELECT", "APPEND", "LIST", "STATUS", "IDLE", "1:*", "1", "999", "*",
    "(FLAGS)", "BODY[]", "BODY[1.2]<0.9>", "ENVELOPE", "+FLAGS", "(\\Seen)", "INBOX", "Archive", '""', "%", "(MESSAGES)",
    "ALL", "TEXT", "x", "NOT", "{3+}\r\nabc", "{0+}\r\n", "\r\n", "DONE", "é", "(", ")", "EXPUNGE", "CLOSE", "CREATE",
    "DELETE", "RENAME", "a/b", "EXAMINE", "CHARSET", "UTF-8", "HEADER", "ON", "1-Feb-2024", "NAMESPACE", "LSUB", "SUBSCRIBE",
    "ID", "NIL", "NOOP",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_a_client_says_is_an_error_in_the_log(seed: int) -> None:
    dice = random.Random(seed)
    async with a_house() as house:
        for _ in range(30):
            await put(house, "Subject: x\r\n\r\ny\r\n")
            async with a_client(house, select="INBOX") as client:
                for _ in range(25):
                    line = "q " + " ".join(dice.choice(WORDS) for _ in range(dice.randrange(1, 8)))
                    with capture_logs() as logs:
                        answer = await client(line)
                    assert not [entry for entry in logs if entry["log_level"] in ("error", "critical")], (line, logs)
                    if client.task.done():
                        assert "BYE" in answer
                        break


@given(st.binary(max_size=300))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
async def test_nothing_a_stranger_sends_is_an_error_in_the_log(octets: bytes) -> None:
    async with a_house() as house, a_client(house, login="") as client:
        with capture_logs() as logs:
            await client(octets)
            await client(b"\r\n" + octets + b"\r\n")
        assert not [entry for entry in logs if entry["log_level"] in ("error", "critical")], logs


async def test_a_full_disk_is_a_no_and_not_a_lost_connection() -> None:
    from gk.core.database import StorageFull

    async with a_house() as house, a_client(house, select="INBOX") as client:
        async def full(*arguments: Any, **named: Any) -> None:
            raise StorageFull("no space left")

        house.mailboxes.ingest.append = full  # type: ignore[method-assign, assignment]
        answer = await client(b"a1 APPEND INBOX {12+}\r\nSubject: x\r\n\r\n")
        assert last(answer) == "a1 NO [UNAVAILABLE] No space left on the server"
        assert await client("a2 NOOP") == "a2 OK NOOP completed"


async def test_a_full_mailbox_is_refused_on_the_announcement() -> None:
    async with a_house(mail={"quota_bytes": 100}) as house, a_client(house) as client:
        assert (await client("a1 APPEND INBOX {101}")).startswith("a1 NO [OVERQUOTA]")
        assert issubclass(MailboxError, Exception)


async def test_no_single_step_holds_the_loop_on_a_large_mailbox(house: House) -> None:
    """While the dearest questions about many messages are answered, others get their turn again and again."""
    await fill(house, 20_000)
    async with a_client(house, select="INBOX") as client:
        turns = 0

        async def heartbeat() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        beat = asyncio.create_task(heartbeat())
        await client("a1 FETCH 1:* (FLAGS INTERNALDATE)")
        await client("a2 SEARCH " + " ".join(f"NOT SMALLER {n}" for n in range(200)))
        beat.cancel()
        assert turns > 200  # at least once for each key


async def fill(house: House, count: int) -> None:
    """Many rows, all of one message: enough for whatever does not open files."""
    await put(house, "Subject: x\r\n\r\ny\r\n")

    def rows(tx: Any) -> None:
        tx.driver.execute(
            """WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
               INSERT INTO message (account_id, mailbox_id, uid, content_id, modseq, flags, keywords, internal_date,
                                    internal_offset, size, filename, thread_id, saved)
               SELECT m.account_id, m.mailbox_id, i, m.content_id, m.modseq, 0, '', m.internal_date,
                      0, m.size, m.filename, m.thread_id, 0
               FROM n, message m WHERE m.uid = 1""", (count,))
        tx.driver.execute("""UPDATE mailbox SET uidnext = ?, messages = ?, highest_modseq = highest_modseq + 1
                             WHERE name = 'INBOX'""", (count + 1, count))

    await house.database.write(rows)


# what an audit of the running server found


async def test_silent_connections_to_the_tls_port_are_counted_before_the_handshake() -> None:
    async with a_house() as house, a_server(house, limits={"connections_per_address": 3}) as server:
        host, port = server.addresses(secure=True)[0]
        streams = [await asyncio.open_connection(host, port) for _ in range(5)]
        await comes(lambda: server.guests.caps.total == 3)
        for _, writer in streams:
            writer.close()
        await comes(lambda: server.guests.caps.total == 0)


async def test_a_silent_connection_to_the_tls_port_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gk.imap.server.HANDSHAKE", 0.1)
    async with a_house() as house, a_server(house) as server:
        reader, writer = await asyncio.open_connection(*server.addresses(secure=True)[0])
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_a_search_ends_when_its_client_hangs_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gk.imap.server.PATIENCE", 0.1)
    async with a_house() as house, a_server(house) as server:
        ended = asyncio.Event()
        started = asyncio.Event()

        async def endless(*arguments: Any) -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        await put(house, "Subject: x\r\n\r\ny\r\n")
        house.search.matching = endless  # type: ignore[method-assign, assignment]
        _, writer = await asyncio.open_connection(*server.addresses()[0])
        writer.write(f'a1 LOGIN {ALICE} "{PASSWORD}"\r\na2 SELECT INBOX\r\na3 SEARCH TEXT x\r\n'.encode())
        await asyncio.wait_for(started.wait(), 10)
        writer.transport.abort()
        await asyncio.wait_for(ended.wait(), 10)


async def test_a_search_may_not_hold_a_thousand_questions(house: House, reader: Dialogue) -> None:
    await put(house, "Subject: x\r\n\r\ny\r\n")
    await reader("a0 NOOP")
    assert (await reader("a1 SEARCH " + " ".join(f"TEXT {n}" for n in range(21)))).startswith("a1 NO [LIMIT]")
    assert (await reader("a2 SEARCH " + " ".join(f"LARGER {n}" for n in range(201)))).startswith("a2 NO [LIMIT]")
    assert await reader("a3 SEARCH " + "TEXT x " * 500 + "1:* " * 500 + "ALL") == "* SEARCH 1\na3 OK SEARCH completed"
    assert await reader("a4 SEARCH 2:9,1:*,4") == "* SEARCH 1\na4 OK SEARCH completed"
    assert await reader("a5 SEARCH 5") == "* SEARCH\na5 OK SEARCH completed"


async def test_parallel_guesses_take_turns() -> None:
    async with a_house(limits={"login_failures": 3}) as house:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(a_client(house, login="")) for _ in range(10)]
            answers = await asyncio.gather(*(client(f"a1 LOGIN {ALICE} wrong") for client in clients))
        assert sum("AUTHENTICATIONFAILED" in answer for answer in answers) <= 4
        assert sum("UNAVAILABLE" in answer for answer in answers) >= 6


async def test_a_disk_that_fills_up_in_the_middle_of_a_message_is_one_no(monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(spool: Any, octets: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gk.imap.folders.Spool.write", full)
    async with a_house() as house, a_client(house) as client:
        message = b"Subject: x\r\n\r\n" + b"a5 LOGOUT\r\n" * 30_000
        answer = await client(b"a1 APPEND INBOX {%d+}\r\n%b\r\na2 NOOP\r\n" % (len(message), message))
        assert answer == "a1 NO [UNAVAILABLE] No space left on the server\na2 OK NOOP completed"
        await client(b"a3 APPEND INBOX {%d}\r\n" % len(message))
        answer = await client(message[:1000]) + "\n" + await client(message[1000:] + b"\r\na4 NOOP\r\n")
        assert answer == "a3 NO [UNAVAILABLE] No space left on the server\na4 OK NOOP completed"


async def test_append_to_a_mailbox_that_is_deleted_meanwhile_says_trycreate() -> None:
    async with a_house() as house, a_client(house) as client, a_client(house) as other:
        await client("a1 CREATE Work")
        await client("a2 APPEND Work {12}")
        await other("b1 DELETE Work")
        assert (await client("Subject: x\n")).startswith("a2 NO [TRYCREATE]")

        async def gone(*arguments: Any) -> None:
            await other("b3 DELETE Work")
            raise FileNotFoundError("Work")

        await client("a3 CREATE Work")
        house.mailboxes.ingest.append = gone  # type: ignore[method-assign, assignment]
        assert (await client(b"a4 APPEND Work {12+}\r\nSubject: x\r\n\r\n")).startswith("a4 NO [TRYCREATE]")
