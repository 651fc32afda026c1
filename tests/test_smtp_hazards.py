"""What has hurt other SMTP servers, against ours: each test is named after its CVE, its RFC or its input."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import time
from pathlib import Path

import pytest
from conftest import eventually
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from smtp_office import Office, office

from gk.accounts.address import Address
from gk.mail.queue import Queued, QueuedRecipient
from gk.smtp.delivery import send
from gk.smtp.outside import OutsideWorld
from gk.smtp.protocol import TERMINATOR, DataEnd, Limits, RcptTo, Session, State, normalise_newlines
from gk.smtp.server import CROWD


@pytest.fixture(scope="module")
def mx(tmp_path_factory: pytest.TempPathFactory):
    with office(tmp_path_factory.mktemp("mx"), max_errors=100, limits={"per_address": False}) as opened:
        yield opened


@pytest.fixture(autouse=True)
def emptied(mx: Office):
    mx.database.write_now(lambda tx: tx.driver.execute("DELETE FROM queue"))


# SMTP smuggling: CVE-2023-51764 (Postfix), -51765 (Sendmail), -51766 (Exim), CVE-2024-27305 (aiosmtpd)

ENDS = {
    "LF.LF": b"\n.\n",
    "LF.CRLF": b"\n.\r\n",
    "CRLF.LF": b"\r\n.\n",
    "CR.CR": b"\r.\r",
    "CRLF.CR": b"\r\n.\r",
    "CR.CRLF": b"\r.\r\n",
    "CR.LF": b"\r.\n",
    "LF.CR": b"\n.\r",
    "CRLF.NUL CRLF": b"\r\n.\0\r\n",
    "CRCRLF.CRLF": b"\r\r\n.\r\n",
    "CRLF.CRCRLF": b"\r\n.\r\r\n",
    "LFLF.CRLF": b"\n\n.\r\n",
}
HIDDEN = (
    b"MAIL FROM:<boss@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
    b"From: boss@example.test\r\nSubject: forged\r\n\r\npay eve\r\n.\r\n"
)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("packets", [1, 2, 1000])
def test_cve_2023_51764_51765_51766_cve_2024_27305_smtp_smuggling(mx: Office, end: bytes, packets: int) -> None:
    """Whatever is nearly an end, and however it is cut into packets: the hidden message is never a message of its own."""
    data = b"Subject: innocent\r\n\r\nhello" + end + HIDDEN
    size = -(-len(data) // packets)
    with mx.client() as client:
        client.begin("alice@example.test")
        for at in range(0, len(data), size):
            with contextlib.suppress(OSError):
                client.send(data[at : at + size])
        assert client.reply().startswith("550 5.6.0")
        assert b"\0" in end or client.at_end()
    assert mx.queued() == []


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_cve_2023_51764_smuggling_when_newlines_are_normalised(tmp_path: Path, end: bytes) -> None:
    """`bare_newline = "normalise"` makes the hidden message part of the text of the one that was sent."""
    with office(tmp_path, bare_newline="normalise") as mx, mx.client() as client:
        client.begin("alice@example.test")
        client.send(b"Subject: innocent\r\n\r\nhello" + end + HIDDEN)
        reply = client.reply()
        assert reply.startswith("550 5.6.0" if b"\0" in end else "250")
        kept = mx.queued()
        assert [sender for sender, _, _ in kept] == ([] if b"\0" in end else ["carol@elsewhere.example"])
        for _, _, data in kept if TERMINATOR not in end else []:
            assert b"MAIL FROM:<boss@example.test>\r\n" in data
            assert not re.search(rb"(?<!\r)\n|\r(?!\n)", data)


async def test_cve_2026_33604_what_we_send_cannot_smuggle(tmp_path: Path) -> None:
    """Sender side: a mail whose text holds every such end goes out as one message, to a server that somebody else wrote."""
    outside = OutsideWorld(tmp_path)
    await outside.start()
    text = b"Subject: innocent\r\n\r\nhello" + b"".join(ENDS.values()).replace(b"\0", b"") + HIDDEN
    recipient = QueuedRecipient(1, "dave@outside.example", None, 1)
    queued = Queued(1, "alice@example.test", 1, "web", 0.0, len(text), False, text, None, [recipient])
    (verdict,) = await send(outside.address, "mx.example.test", queued, [recipient], text)
    await outside.stop()
    assert verdict.fate == "sent"
    (kept,) = outside.messages()
    assert kept.sender == "alice@example.test"
    assert kept.data == normalise_newlines(text), "one message, with all of it in its text"


# bytes before their time


@pytest.mark.parametrize(
    "burst",
    [
        b"EHLO a.example\r\nMAIL FROM:<c@e.example>\r\n",
        b"HELO a.example\r\nMAIL FROM:<c@e.example>\r\n",
        b"NOOP\r\nNOOP\r\n",
        b"QUIT\r\nQUIT\r\n" * 2,
    ],
)
def test_rfc2920_unauthorised_pipelining(mx: Office, burst: bytes) -> None:
    with mx.client() as client:
        client.send(burst)
        replies = [client.reply() for _ in range(2)]
        assert replies[-1].startswith("554 5.5.0") or replies[0].startswith("221"), replies


def test_rfc2920_content_before_the_354(mx: Office) -> None:
    with mx.client() as client:
        client.say("EHLO a.example")
        client.say("MAIL FROM:<c@e.example>")
        client.say("RCPT TO:<alice@example.test>")
        client.send(b"DATA\r\nSubject: early\r\n\r\nx\r\n.\r\n")
        assert client.reply().startswith("354")
        assert client.reply().startswith("554 5.5.0")
        assert client.at_end()
    assert mx.queued() == []


def test_rfc5321_4_3_1_early_talkers(mx: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that arrive before the greeting: 554 instead of it."""
    monkeypatch.setattr("gk.smtp.server.SILENCE", 60)  # the bot of a slow machine is early too
    with mx.client(greeting=False) as client:
        client.send(b"EHLO bot.example\r\n")
        assert client.reply().startswith("554 mx.example.test")
        assert client.at_end()


def test_rfc5321_4_3_1_early_talkers_in_a_crowd(mx: Office) -> None:
    """Nobody is kept waiting in a crowd; what is there already counts as early all the same."""
    with contextlib.ExitStack() as crowd:
        for _ in range(CROWD):
            crowd.enter_context(mx.client())
        with mx.client() as client:
            assert client.say("EHLO client.example").startswith("250")


def test_a_client_that_goes_in_the_middle_of_its_pipeline_is_forgotten(mx: Office) -> None:
    """What it sent is still being interpreted, in turns with the others, when its socket is gone."""
    with mx.client() as client:
        client.say("EHLO client.example")
        with contextlib.suppress(OSError):
            client.socket.settimeout(1)
            client.send(b"NOOP\r\n" * 200_000)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close with a reset
    eventually(lambda: not mx.server.visitors)


def test_a_client_that_goes_before_the_greeting_leaves_nothing_behind(mx: Office) -> None:
    for _ in range(5):
        with mx.client(greeting=False):
            pass
    eventually(lambda: not mx.server.visitors)
    with mx.client() as client:
        assert client.say("NOOP").startswith("250")


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /mail HTTP/1.0\r\n",
        b"CONNECT mx:25 HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_cve_2021_38371_http_or_tls_spoken_to_smtp_closes(mx: Office, first: bytes) -> None:
    with mx.client() as client:
        client.send(first)
        assert client.reply().startswith("554 5.5.1 This is SMTP")
        assert client.at_end()


def test_cve_2011_0411_starttls_is_not_offered_so_nothing_can_be_injected_before_it(mx: Office) -> None:
    with mx.client() as client:
        client.send("EHLO a.example\r\n")
        lines = []
        while not lines or lines[-1][3:4] == "-":
            lines.append(client.file.readline().decode())
        assert not any("STARTTLS" in line or "AUTH" in line for line in lines)
        assert client.say("STARTTLS").startswith("502 5.5.1")


# length, depth, number


def test_cve_2026_27857_over_long_lines_are_bounded(mx: Office) -> None:
    with mx.client() as client:
        assert client.say(b"EHLO " + b"x" * 3000).startswith("500 5.5.2")
        assert client.say("EHLO a.example").startswith("250")
        with contextlib.suppress(OSError):
            client.send(b"MAIL FROM:<" + b"x" * 10_000_000)
        assert client.reply().startswith("500 5.5.2")
        assert client.at_end()


def test_rfc5321_6_3_fifty_one_received_fields_are_a_loop(mx: Office) -> None:
    with mx.client() as client:
        for hops, reply in ((50, "250"), (51, "554 5.4.6")):
            client.begin()
            assert client.say("Received: from a by b\r\n" * hops + "\r\nx\r\n.").startswith(reply)


@pytest.mark.parametrize("text", [b"a\0b\r\n", b"\0\r\n", b"Subject: \0\r\n\r\n"])
def test_nul_in_a_message(mx: Office, text: bytes) -> None:
    with mx.client() as client:
        client.begin()
        client.send(text + b".\r\n")
        assert client.reply().startswith("550 5.6.0")
    assert mx.queued() == []


def test_memory_of_a_stream_that_is_too_long_is_bounded(mx: Office) -> None:
    with mx.client() as client:
        client.begin()
        (connection,) = [one for one in mx.server.visitors if one.session.state is State.DATA]
        most = 0
        with contextlib.suppress(OSError):
            for _ in range(70):
                client.send(b"x" * 1_000_000)
                most = max(most, connection.content.held + len(connection.wire.backlog))
        assert client.reply().startswith("552 5.3.4")
        assert most < 1_000_000


# who may be written to


def test_cve_2026_42393_vrfy_and_expn_tell_nothing(mx: Office) -> None:
    with mx.client() as client:
        client.say("EHLO a.example")
        assert client.say("VRFY alice@example.test") == client.say("VRFY nobody@example.test")
        assert client.say("EXPN team") == client.say("EXPN nobody")


LOCALS = st.one_of(
    st.sampled_from(["alice", "bob", "team", "root", "alice%outside.example", "outside.example!alice", "dave@outside.example"]),
    st.text('abc%!@.+"\\ ', max_size=12),
)
DOMAINS = st.sampled_from(
    ["example.test", "EXAMPLE.TEST", "outside.example", "example.test.outside.example", "[127.0.0.1]", "localhost", ""]
)
FORMS = st.sampled_from(
    ["<{l}@{d}>", '<"{l}"@{d}>', "<@outside.example:{l}@{d}>", "<@example.test,@outside.example:{l}@{d}>", "<{l}>", "{l}@{d}"]
)


@given(LOCALS, DOMAINS, FORMS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rfc5321_7_open_relay(mx: Office, local: str, domain: str, form: str) -> None:
    """Percent hack, bang path, source route, quotes: nothing but our own people is ever accepted."""
    line = f"RCPT TO:{form.format(l=local, d=domain)}\r\n".encode()
    session = Session("mx.example.test", Limits())
    session.greet()
    for command in (b"EHLO a.example\r\n", b"MAIL FROM:<c@e.example>\r\n"):
        session.bytes_to_send()
        session.feed(command)
        if session.question:
            session.accept()
    for event in session.feed(line):
        if isinstance(event, RcptTo) and event.recipient.domain:
            try:
                resolution = mx.call(mx.directory.resolve(event.recipient))
            except Exception:
                continue
            assert event.recipient.domain == "example.test"
            assert {account.address for account in resolution.accounts} <= {
                "alice@example.test",
                "bob@example.test",
                "élise@example.test",
            }
            assert resolution.remote == ()


@pytest.mark.parametrize(
    "path",
    [
        "<dave@outside.example>",
        "<dave%outside.example@example.test>",
        "<outside.example!dave@example.test>",
        '<"dave@outside.example"@example.test>',
        "<@example.test:dave@outside.example>",
        "<dave@[127.0.0.1]>",
    ],
)
def test_rfc5321_7_relay_tricks_on_the_wire(mx: Office, path: str) -> None:
    with mx.client() as client:
        client.say("EHLO a.example")
        client.say("MAIL FROM:<alice@example.test>")
        assert client.say(f"RCPT TO:{path}")[:9] in ("550 5.1.1", "550 5.7.1")
        assert client.say("DATA").startswith("554 5.5.1")


# header and command injection


@pytest.mark.parametrize("name", ["a (evil) b", "a\tb", "a;b", "a<b>", "a\x01", "é.example", '"', "a\\b"])
def test_rfc5322_2_2_nothing_strange_enters_received_by_ehlo(mx: Office, name: str) -> None:
    with mx.client() as client:
        assert client.say(f"EHLO {name}").startswith(("501 5.5.4", "500 5.5.2"))


def test_rfc5322_2_2_received_is_one_field_whatever_the_recipient(mx: Office) -> None:
    session = Session("mx.example.test")
    session.greet()
    session.bytes_to_send()
    session.feed(b"EHLO a.example\r\n")
    session.bytes_to_send()
    session.feed(b"MAIL FROM:<>\r\n")
    session.accept()
    session.feed()
    assert (
        session.feed(b'RCPT TO:<"a\r\nBcc: eve@evil.example\r\n"@example.test>\r\n') == session.feed(b"")[:0]
        or session.question is None
    )
    with pytest.raises(ValueError, match="cannot"):
        Address.parse('"a\r\nBcc: eve@evil.example"@example.test')


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise(data: bytes) -> None:
    for data_state in (False, True):
        session = Session("mx.example.test", Limits(max_message_bytes=200))
        session.greet()
        session.bytes_to_send()
        if data_state:
            for line in (b"EHLO a\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<a@b.example>\r\n", b"DATA\r\n"):
                session.feed(line)
                if session.question:
                    session.accept()
                session.bytes_to_send()
        events = session.feed(data)
        while session.question:
            if isinstance(session.question, DataEnd):
                session.reject(554, "5.0.0", "no")
            else:
                session.accept()
            events = session.feed()
        assert all(len(line) <= 512 for line in session.bytes_to_send().splitlines(keepends=True))
        assert events is not None


# time: no timed assertion, but a size that a quadratic algorithm would not survive


@pytest.mark.parametrize(
    "text",
    [
        b"\r" * 2_000_000,
        b"\n" * 2_000_000,
        b"\r\n.\r" * 400_000,
        b"." * 2_000_000,
        b"\r\n." * 600_000,
        b"\r\n..\r\n" * 300_000,
        b"Received:" * 200_000,
    ],
    ids=["CR", "LF", "CRLF.CR", "dots", "CRLF.", "stuffed", "received"],
)
@pytest.mark.parametrize("newline", ["reject", "normalise"])
def test_hostile_content_is_linear(text: bytes, newline: str) -> None:
    session = Session("mx.example.test", Limits(bare_newline=newline))  # type: ignore[arg-type]
    session.greet()
    session.bytes_to_send()
    for line in (b"EHLO a\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<a@b.example>\r\n", b"DATA\r\n"):
        session.feed(line)
        if session.question:
            session.accept()
        session.bytes_to_send()
    began = time.process_time()
    for at in range(0, len(text), 1000):
        session.feed(text[at : at + 1000])
    session.feed(b"\r\n.\r\n")
    assert time.process_time() - began < 20, "minutes where it is quadratic"


@pytest.mark.parametrize(
    "line",
    [
        b"MAIL FROM:<" + b'"' * 1900,
        b"MAIL FROM:<" + b"\\" * 1900 + b">",
        b'MAIL FROM:<"' + b"\\" * 1900 + b">",
        b"MAIL FROM:<@" + b"a," * 900 + b">",
        b"MAIL FROM:<a@b> " + b"a=" * 900,
        b"MAIL FROM:<a@" + b"b." * 900 + b">",
        b"MAIL FROM:" + b" " * 1900,
        b"EHLO " + b"." * 1900,
    ],
)
def test_hostile_commands_are_refused(line: bytes) -> None:
    session = Session("mx.example.test")
    session.greet()
    session.bytes_to_send()
    session.feed(b"EHLO a\r\n")
    session.bytes_to_send()
    session.feed(line + b"\r\n")
    assert session.bytes_to_send()[:1] == b"5"
