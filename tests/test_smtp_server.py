"""The SMTP listener with real sockets and real programs: what is kept, slow and greedy clients, a full disk, a stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import smtplib
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest
import uvloop
from conftest import eventually
from smtp_office import Client, Office, office

from gk.core.database import StorageFull
from gk.mail.queue import SPOOL_BYTES, Spool, Submission
from gk.smtp.server import BACKLOG, PIECE, Connection, expire

MESSAGE = "From: carol@elsewhere.example\r\nSubject: Bonjour\r\n\r\nFin de semaine chez nous ?\r\n.hidden\r\n..two\r\n"
LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(params=LOOPS)
def mx(request: pytest.FixtureRequest, tmp_path: Path):
    with office(tmp_path, loop=LOOPS[request.param]) as opened:
        yield opened


def mail(subject: str = "Bonjour", text: str = "Fin de semaine chez nous ?") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "carol@elsewhere.example", "alice@example.test", subject
    message.set_content(text)
    return message


# programs that nobody here wrote


def test_smtplib(mx: Office) -> None:
    with smtplib.SMTP("127.0.0.1", mx.port, local_hostname="client.example") as client:
        assert client.sendmail("carol@elsewhere.example", ["alice@example.test", "team@example.test"], MESSAGE) == {}
    ((sender, recipients, data),) = mx.queued()
    assert (sender, recipients) == ("carol@elsewhere.example", ["alice@example.test", "team@example.test"]), "alice gets one copy"
    received, _, rest = data.decode().partition("\r\nFrom:")
    assert "From:" + rest == MESSAGE
    assert received.startswith("Received: from client.example ([127.0.0.1])\r\n\tby mx.example.test with ESMTP id ")
    assert " for " not in received, "RFC 5321 §7.6: several recipients are not told about each other"


def test_swaks(mx: Office, peer) -> None:
    done = subprocess.run(
        [peer("swaks"), "--server", f"127.0.0.1:{mx.port}", "--from", "carol@elsewhere.example", "--to", "alice@example.test",
         "--helo", "swaks.example", "--header", "Subject: par swaks", "--body", "Bonjour\\n.point\\n"],
        capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stdout
    ((_, _, data),) = mx.queued()
    assert b"Subject: par swaks\r\n" in data
    assert b"\r\n.point\r\n" in data
    assert b"\tfor <alice@example.test>;" in data


@pytest.mark.parametrize(("to", "code"), [("nobody@example.test", "550 5.1.1"), ("dave@outside.example", "550 5.7.1")])
def test_swaks_is_told_why(mx: Office, peer, to: str, code: str) -> None:
    done = subprocess.run([peer("swaks"), "--server", f"127.0.0.1:{mx.port}", "--from", "c@e.example", "--to", to],
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 24
    assert code in done.stdout
    assert mx.queued() == []


def test_swaks_pipelines(mx: Office, peer) -> None:
    done = subprocess.run(
        [peer("swaks"), "--pipeline", "--server", f"127.0.0.1:{mx.port}", "--from", "carol@elsewhere.example",
         "--to", "alice@example.test,bob@example.test"], capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert mx.queued()[0][1] == ["alice@example.test", "bob@example.test"]


def test_curl(mx: Office, peer, tmp_path: Path) -> None:
    file = tmp_path / "mail.txt"
    file.write_bytes(MESSAGE.encode() + b"8 bits: \xc3\xa9\r\n" * 100_000)
    subprocess.run([peer("curl"), "-sS", f"smtp://127.0.0.1:{mx.port}/curl.example", "--mail-from", "carol@elsewhere.example",
                    "--mail-rcpt", "bob@example.test", "-T", file], check=True, timeout=120)  # fmt: skip
    assert mx.queued()[0][2].endswith(file.read_bytes())


def test_smtp_source_twenty_sessions(mx: Office, peer) -> None:
    for arguments in (["-d"], []):
        subprocess.run([peer("smtp-source"), *arguments, "-s", "20", "-m", "200", "-l", "1024", "-f", "carol@elsewhere.example",
                        "-t", "alice@example.test", f"127.0.0.1:{mx.port}"], check=True, timeout=120)  # fmt: skip
    assert len(mx.queued()) == 400


def test_smtputf8(mx: Office) -> None:
    with smtplib.SMTP("127.0.0.1", mx.port) as client:
        client.sendmail(
            "žofie@bücher.example", ["élise@example.test"], "Subject: é\r\n\r\nx\r\n".encode(), ["SMTPUTF8", "BODY=8BITMIME"]
        )
    ((sender, recipients, data),) = mx.queued()
    assert (sender, recipients) == ("žofie@bücher.example", ["élise@example.test"])
    assert b"with UTF8SMTP id" in data
    assert "for <élise@example.test>".encode() in data


# who receives


def test_aliases_postmaster_and_subaddresses(mx: Office) -> None:
    with mx.client() as client:
        client.begin("postmaster", "alice+x@example.test", "TEAM@example.test", "alice@example.test")
        assert client.say("x\r\n.").startswith("250")
    ((_, recipients, _),) = mx.queued()
    assert recipients == ["postmaster@example.test", "TEAM@example.test"], "alice once, bob once"


def test_an_alias_that_leads_outside_is_refused_here_and_not_bounced_later(mx: Office) -> None:
    with mx.client() as client:
        client.say("EHLO a")
        client.say("MAIL FROM:<c@e.example>")
        assert client.say("RCPT TO:<away@example.test>").startswith("550 5.7.1")


def test_an_alias_that_leads_outside_is_taken_where_there_is_an_outside(tmp_path: Path) -> None:
    with office(tmp_path, reachable=lambda address: True) as mx, mx.client() as client:
        client.begin("away@example.test")
        assert client.say("x\r\n.").startswith("250")
        assert mx.queued()[0][1] == ["alice@outside.example"]
        client.say("MAIL FROM:<c@e.example>")
        assert client.say("RCPT TO:<dave@outside.example>").startswith("550 5.7.1"), "still no relay for strangers"


def test_a_new_person_receives_at_once(mx: Office) -> None:
    with mx.client() as client:
        client.say("EHLO a")
        client.say("MAIL FROM:<c@e.example>")
        assert client.say("RCPT TO:<new@example.test>").startswith("550 5.1.1")
        mx.call(mx.directory.add_account("new@example.test"))
        assert client.say("RCPT TO:<new@example.test>").startswith("250")
        mx.call(mx.directory.delete_account("new@example.test"))
        assert client.say("RCPT TO:<new@example.test>").startswith("550 5.1.1")


# 250 means: it is on disk


def test_250_waits_for_the_queue(mx: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()
    real = mx.queue.submit

    async def slow(item: Submission) -> int:
        await gate.wait()
        return await real(item)

    monkeypatch.setattr(mx.queue, "submit", slow)
    with mx.client() as client:
        client.begin()
        client.send("x\r\n.\r\nNOOP\r\n")
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        client.socket.settimeout(10)
        mx.loop.call_soon_threadsafe(gate.set)
        client.file = client.socket.makefile("rb")
        assert client.reply().startswith("250 2.0.0 Queued as 1")
        assert client.reply().startswith("250 2.0.0 Ok")
        assert len(mx.queued()) == 1


FAILURES = [
    (StorageFull("gk.db: no space"), "452 4.3.1"),
    (OSError(28, "No space left"), "452 4.3.1"),
    (OSError(5, "Input/output error"), "451 4.3.0"),
    (RuntimeError("a bug"), "451 4.3.0"),
]


@pytest.mark.parametrize(("error", "reply"), FAILURES)
def test_a_failing_disk_defers_and_the_session_goes_on(
    mx: Office, monkeypatch: pytest.MonkeyPatch, error: Exception, reply: str
) -> None:
    async def fail(item: Submission) -> int:
        raise error

    with mx.client() as client, monkeypatch.context() as patch:
        client.begin()
        patch.setattr(mx.queue, "submit", fail)
        assert client.say("x\r\n.").startswith(reply)
        patch.undo()
        client.begin()
        assert client.say("x\r\n.").startswith("250")
    assert len(mx.queued()) == 1


@pytest.mark.parametrize("size", [20_000, 400_000])
def test_a_disk_that_is_really_full(mounted: Callable[[str], Path], size: int) -> None:
    """A file system of 4 MB: mail is taken until it is full, then 452; what got 250 is there, whole; with room it goes on."""
    small, text = mounted("size=4m"), ("y" * 78 + "\r\n") * (size // 80)
    ballast = small / "ballast"
    ballast.write_bytes(b"x" * 1_000_000)
    with office(small / "data") as mx, mx.client() as client:

        def deliver(number: int) -> str:
            client.begin()
            return client.say(f"Subject: number {number}\r\n\r\n{text}.")

        kept = 0
        while (reply := deliver(kept)).startswith("250"):
            kept += 1
            assert kept < 1000
        assert kept >= 2 and reply.startswith("452 4.3.1")
        ballast.unlink()
        assert deliver(kept).startswith("250"), "there is room again"
        found = [data.decode().partition("Subject: number ")[2].partition("\r\n\r\n") for _, _, data in mx.queued()]
        assert [(number, body) for number, _, body in found] == [(str(n), text) for n in range(kept + 1)]


@pytest.mark.parametrize("size", [SPOOL_BYTES - 100, SPOOL_BYTES * 5])
def test_content_is_kept_to_the_octet(mx: Office, size: int) -> None:
    body = (b"line\r\n.dot\r\n\r\n" + bytes(range(14, 256)) + b"\r\n") * (size // 250)
    with mx.client() as client:
        client.begin("bob@example.test")
        client.send(body.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        assert client.reply().startswith("250")
    assert mx.queued()[0][2].partition(b"+0000\r\n")[2] == body


@pytest.mark.parametrize(("header", "kept"), [
    (b"Return-Path: <boss@example.test>\r\nSubject: x\r\n\r\n", b"Subject: x\r\n\r\n"),
    (b"Subject: x\r\nRETURN-PATH :\r\n <a@b.example>\r\nreturn-path: <c@d.example>\r\nTo: y\r\n\r\n",
     b"Subject: x\r\nTo: y\r\n\r\n"),
    (b"Return-Path: <boss@example.test>\r\n\r\n", b"\r\n"),
    (b"X-Return-Path: <a@b.example>\r\nSubject: Return-Path: no\r\n\r\n", None),
    (b"\r\nThere is no header.\r\n\r\n", None),
])
def test_rfc5321_4_4_a_return_path_that_the_client_wrote_goes(mx: Office, header: bytes, kept: bytes | None) -> None:
    text = b"Return-Path: <this@is.text>\r\n" + b"y" * 70_000 + b"\r\nReturn-Path: text\r\n"
    with mx.client() as client:
        client.begin("bob@example.test")
        client.send(header + text + b".\r\n")
        assert client.reply().startswith("250")
        client.begin("bob@example.test")
        client.send(header + b".\r\n")
        assert client.reply().startswith("250")
    first, second = [data.partition(b"+0000\r\n")[2] for _, _, data in mx.queued()]
    assert first == (header if kept is None else kept) + text
    assert second == (header if kept is None else kept)


def test_what_is_left_of_a_message_that_failed_is_not_in_the_next(mx: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    async def mistaken(item: Submission) -> int:
        raise RuntimeError("a bug")

    with mx.client() as client:
        for size in (100, SPOOL_BYTES * 2):
            with monkeypatch.context() as patch:
                patch.setattr(mx.queue, "submit", mistaken)
                client.begin("bob@example.test")
                assert client.say(b"first" * (size // 5) + b"\r\n.").startswith("451 4.3.0")
            client.begin("bob@example.test")
            assert client.say(b"second" * (size // 6) + b"\r\n.").startswith("250")
    assert [b"first" in data for _, _, data in mx.queued()] == [False, False]
    assert len(list((mx.folder / "spool").iterdir())) == 1


def test_a_client_that_vanishes_within_a_long_message_leaves_nothing(mx: Office) -> None:
    client = mx.client()
    client.begin()
    client.send(b"x" * 100 + b"\r\n" + (b"y" * 70 + b"\r\n") * 20_000)
    eventually(lambda: list((mx.folder / "spool").glob("*.eml")))
    client.close()
    eventually(lambda: not mx.server.visitors)
    eventually(lambda: not list((mx.folder / "spool").glob("*.eml")))
    assert mx.queued() == []


def test_a_client_that_vanishes_while_its_message_is_written_leaves_nothing(mx: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    real, writing, gone, written = Spool.write, threading.Event(), threading.Event(), threading.Event()

    def slow(spool: Spool, data: bytes) -> None:
        writing.set()
        gone.wait(60)
        real(spool, data)
        written.set()

    monkeypatch.setattr(Spool, "write", slow)
    client = mx.client()
    client.begin()
    client.send((b"y" * 70 + b"\r\n") * 4_500)
    assert writing.wait(60)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not a goodbye
    client.close()
    eventually(lambda: not mx.server.visitors)
    gone.set()
    assert written.wait(60)
    eventually(lambda: not list((mx.folder / "spool").glob("*.eml")))


def test_a_long_message_that_could_not_be_kept_leaves_no_file(mx: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(item: Submission) -> int:
        raise StorageFull("gk.db: no space")

    monkeypatch.setattr(mx.queue, "submit", full)
    with mx.client() as client:
        client.begin()
        assert client.say(b"\r\n".join([b"y" * 70] * 10_000) + b"\r\n.").startswith("452 4.3.1")
        client.say("MAIL FROM:<>")
        assert list((mx.folder / "spool").glob("*.eml")) == []


def test_a_refused_long_message_leaves_no_file(tmp_path: Path) -> None:
    with office(tmp_path, max_message_bytes=1_000_000) as mx, mx.client() as client:
        client.begin()
        client.send((b"y" * 70 + b"\r\n") * 20_000 + b".\r\n")
        assert client.reply().startswith("552 5.3.4")
        client.say("NOOP")
        assert list((tmp_path / "spool").glob("*.eml")) == []
        client.begin()
        assert client.say("x\r\n.").startswith("250")


# one write, two at once


def test_what_came_in_one_packet_is_answered_in_one(mx: Office) -> None:
    with mx.client() as client:
        client.begin("bob@example.test")
        client.send(b"x\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.test>\r\nRCPT TO:<nobody@example.test>\r\nDATA\r\n")
        assert [line[:3] for line in client.socket.recv(65536).split(b"\r\n")] == [b"250", b"250", b"250", b"550", b"354", b""]


def test_two_at_once(mx: Office) -> None:
    with mx.client() as slow, mx.client() as fast:
        slow.begin("bob@example.test")
        slow.send("Subject: slow\r\n\r\nhalf a li")
        fast.begin("bob@example.test")
        assert fast.say("Subject: fast\r\n\r\nwhole\r\n.").startswith("250")
        assert slow.say("ne\r\n.").startswith("250")
    assert [b"fast" in data for _, _, data in mx.queued()] == [True, False]


def test_half_closed_client_still_hears_the_answer(mx: Office) -> None:
    with mx.client() as client:
        client.begin()
        client.send("x\r\n.\r\nQUIT\r\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.reply().startswith("250")
        assert client.reply().startswith("221")
        assert client.at_end()


def test_quit_in_capitals_and_end_of_connection(mx: Office) -> None:
    with mx.client() as client:
        assert client.say("quit").startswith("221 2.0.0")
        assert client.at_end()
    eventually(lambda: not mx.server.visitors)


def test_nodelay_is_set(mx: Office) -> None:
    with mx.client() as client:
        client.say("NOOP")
        (connection,) = mx.server.visitors
        assert connection.wire.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_several_listeners_and_ipv6(tmp_path: Path) -> None:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        with office(tmp_path, listen=["127.0.0.1:0", "[::1]:0"]) as mx:
            (_, first), (_, second) = mx.server.addresses
            assert Client(first).reply().startswith("220")
            with Client(second, "::1") as client:
                client.reply()
                client.begin()
                assert client.say("x\r\n.").startswith("250")
            assert b"([IPv6:::1])" in mx.queued()[0][2]
        return
    pytest.skip("no IPv6 on this machine")


def test_a_port_that_is_taken_is_named_and_nothing_stays_open(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        (_, first) = free.getsockname()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (_, second) = taken.getsockname()
        with pytest.raises(OSError, match=rf"listen: 127.0.0.1:{second} cannot be used: Address already in use"):
            Office(tmp_path, listen=[f"127.0.0.1:{first}", f"127.0.0.1:{second}"])
    with pytest.raises(ConnectionRefusedError):
        Client(first)


# clients that are slow, greedy or many


async def silent_for(connection: Connection, seconds: float) -> None:
    """Look at the deadlines as if so much time had gone by since it last said something."""
    expire(connection, connection.progress + seconds)


@pytest.mark.parametrize("drip", [b"", b"N"])
def test_a_client_that_is_slow_with_a_command_gets_421(tmp_path: Path, drip: bytes) -> None:
    with office(tmp_path, command_seconds=0.4) as mx, mx.client() as client:
        (connection,) = mx.server.visitors
        while not connection.ended:
            if drip:
                client.send(drip)
            time.sleep(0.05)
        assert client.reply().startswith("421 4.4.2")
        assert client.at_end()


def test_a_client_that_is_slow_within_a_message_gets_421(tmp_path: Path) -> None:
    with office(tmp_path, data_seconds=0.4) as mx, mx.client() as client:
        client.begin()
        (connection,) = mx.server.visitors
        while not connection.ended:
            client.send("x\r\n")  # a little now and then, never enough
            time.sleep(0.02)
        assert client.reply().startswith("421 4.4.2")
        assert mx.queued() == []


def test_a_busy_client_is_not_slow(tmp_path: Path) -> None:
    """The patience begins anew with every command."""
    with office(tmp_path, command_seconds=300) as mx, mx.client() as client:
        (connection,) = mx.server.visitors
        for _ in range(3):
            mx.call(silent_for(connection, 299))
            connection.progress -= 299
            assert client.say("NOOP").startswith("250")
            assert connection.progress >= connection.opened
        mx.call(silent_for(connection, 301))
        assert client.reply().startswith("421 4.4.2")


def test_a_session_ends_at_its_time(tmp_path: Path) -> None:
    with office(tmp_path, session_seconds=0.5) as mx, mx.client() as client:
        reply = ""
        for _ in range(100):
            client.send("NOOP\r\n")
            reply = client.reply()
            if not reply.startswith("250"):
                break
            time.sleep(0.02)
        assert reply.startswith("421 4.4.2")


def test_a_client_that_does_not_read_is_given_nothing_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gk.smtp.server.LINGER", 0.3)
    with office(tmp_path) as mx, mx.client() as client:
        client.say("EHLO greedy.example")
        client.socket.setblocking(False)
        (connection,) = mx.server.visitors
        most, quiet = 0, 0
        while quiet < 50 or not connection.wire.choked:  # until it takes nothing more
            try:
                client.socket.send(b"HELP\r\n" * 10_000)
                quiet = 0
            except BlockingIOError:
                quiet += 1
                time.sleep(0.005)
            most = max(most, connection.wire.transport.get_write_buffer_size())
        assert most < 1_000_000, "one piece of work, and what the kernel did not take"
        assert len(connection.wire.backlog) < BACKLOG + 300_000
        mx.call(silent_for(connection, 301))
        eventually(lambda: not mx.server.visitors)


def test_while_an_answer_is_looked_for_little_is_read(mx: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()

    async def stuck(item: Submission) -> int:
        await gate.wait()
        return 1

    monkeypatch.setattr(mx.queue, "submit", stuck)
    with mx.client() as client:
        client.begin()
        client.send("x\r\n.\r\n")
        client.socket.setblocking(False)
        sent, quiet = 0, 0
        while quiet < 20 and sent < 100_000_000:
            try:
                sent += client.socket.send(b"NOOP\r\n" * 10_000)
                quiet = 0
            except BlockingIOError:
                quiet += 1
                time.sleep(0.01)
        (connection,) = mx.server.visitors
        assert len(connection.wire.backlog) < BACKLOG + 300_000
        mx.loop.call_soon_threadsafe(gate.set)

        def drained() -> bool:
            with contextlib.suppress(BlockingIOError):
                while client.socket.recv(1_000_000):
                    pass
            return not connection.wire.backlog

        eventually(drained)


def test_a_burst_of_commands_leaves_the_others_their_turn(mx: Office) -> None:
    """No piece of work is longer than PIECE octets, and all of them are answered."""
    with mx.client() as client:
        client.say("EHLO a")
        count = PIECE * 8 // 6
        replies = bytearray()
        reader = threading.Thread(target=lambda: [replies.extend(client.socket.recv(1_000_000)) for _ in iter(
            lambda: len(replies) < count * 14, False)], daemon=True)  # fmt: skip
        reader.start()
        client.send(b"NOOP\r\n" * count)
        reader.join(20)
        assert bytes(replies) == b"250 2.0.0 Ok\r\n" * count


def test_connections_from_one_address_are_capped(tmp_path: Path) -> None:
    with office(tmp_path, limits={"connections_per_address": 3}) as mx:
        clients = [mx.client() for _ in range(3)]
        with mx.client(greeting=False) as fourth:
            assert fourth.reply() == "421 mx.example.test Too many connections, try again later"
            assert fourth.at_end()
        clients[0].close()
        eventually(lambda: len(mx.server.visitors) == 2)
        with mx.client() as again:
            assert again.say("NOOP").startswith("250")
        for client in clients:
            client.close()


def test_per_address_false_lifts_the_cap(tmp_path: Path) -> None:
    with office(tmp_path, limits={"connections_per_address": 1, "connections_per_network": 1, "per_address": False}) as mx:
        clients = [mx.client() for _ in range(5)]
        assert all(client.say("NOOP").startswith("250") for client in clients)
        for client in clients:
            client.close()


def test_rfc1122_last_words_arrive_though_the_client_goes_on_sending(mx: Office) -> None:
    with mx.client() as client:
        client.begin()
        client.send(b"x\n.\n" + b"MAIL FROM:<eve@evil.example>\r\n" * 2000)
        time.sleep(0.1)
        with contextlib.suppress(OSError):
            client.send(b"MAIL FROM:<eve@evil.example>\r\n" * 2000)
        assert client.reply().startswith("550 5.6.0")
        assert client.at_end()
    assert mx.queued() == []


def test_running_out_of_file_descriptors_is_survived(tmp_path: Path) -> None:
    """In a process of its own with 60 descriptors: 100 clients come, go, and the next one is served."""
    program = textwrap.dedent("""
        import resource, sys, time
        from pathlib import Path
        from smtp_office import Office
        mx = Office(Path(sys.argv[1]), limits={"per_address": False})
        mx.queue.database.read_now(lambda r: r.driver.execute("SELECT 1").fetchall())
        resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
        print(mx.port, flush=True)
        sys.stdin.read()
    """)
    process = subprocess.Popen([sys.executable, "-c", program, tmp_path], cwd=Path(__file__).parent, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        crowd = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(100)]
        eventually(lambda: len(os.listdir(f"/proc/{process.pid}/fd")) > 55)
        assert process.poll() is None
        for one in crowd:
            one.close()

        def served() -> bool:
            with contextlib.suppress(OSError), Client(port) as client:
                if client.reply().startswith("220"):
                    client.begin()
                    return client.say("x\r\n.").startswith("250")
            return False

        eventually(served)
    finally:
        process.kill()
        process.communicate()


# a stop


def test_stop_says_421_and_finishes_what_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with office(tmp_path) as mx, mx.client() as idle, mx.client() as sending:
        real = mx.queue.submit

        async def slow(item: Submission) -> int:
            await asyncio.sleep(0.3)
            return await real(item)

        monkeypatch.setattr(mx.queue, "submit", slow)
        idle.say("EHLO a")
        sending.begin()
        sending.send("x\r\n.\r\n")
        eventually(lambda: any(connection.task for connection in mx.server.visitors))
        mx.call(mx.server.stop(grace=60), 60)
        assert idle.reply().startswith("421 4.3.2")
        assert sending.reply().startswith("250 2.0.0 Queued")
        assert sending.reply().startswith("421 4.3.2")
        assert sending.at_end()
        assert len(mx.queued()) == 1
        with pytest.raises(ConnectionRefusedError):
            Client(mx.port)


def test_a_server_that_was_stopped_leaves_no_task_and_no_socket(tmp_path: Path) -> None:
    with office(tmp_path) as mx:
        clients = [mx.client() for _ in range(5)]
        mx.call(mx.server.stop())
        eventually(lambda: not mx.server.visitors)

        async def tasks() -> int:
            return len(asyncio.all_tasks()) - 1

        assert mx.call(tasks()) == 0
        for client in clients:
            client.close()


def test_metrics_count(mx: Office) -> None:
    from gk.core import metrics

    def value(name: str) -> float:
        return (
            metrics.registry.get_sample_value(name, {"outcome": "accepted"} if "total" in name and "bytes" not in name else {})
            or 0.0
        )

    before = value("gk_smtp_messages_total"), value("gk_smtp_received_bytes_total")
    with mx.client() as client:
        client.begin()
        client.say("x\r\n.")
        assert value("gk_smtp_sessions") >= 1
    assert value("gk_smtp_messages_total") == before[0] + 1
    assert value("gk_smtp_received_bytes_total") == before[1] + 3
