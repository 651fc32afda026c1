"""The SMTP state machine alone: conversations as text (tests/dialogues/smtp), every bound, every split of the same bytes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gk.smtp import protocol
from gk.smtp.protocol import (
    COMMANDS,
    MAX_GARBAGE,
    SLICE,
    Closed,
    DataChunk,
    DataEnd,
    DataRefused,
    Event,
    Hello,
    Limits,
    MailFrom,
    RcptTo,
    Refused,
    Session,
    State,
    crlf_only,
    reply_line,
    state_table,
)

DIALOGUES = sorted((Path(__file__).parent / "dialogues" / "smtp").glob("*.txt"))
KNOWN = {"alice", "bob", "postmaster", "élise"}


def answer(session: Session, event: Event) -> None:
    """A directory in miniature: example.test is ours, and a few people live there."""
    if isinstance(event, RcptTo) and event.recipient.domain not in ("example.test", ""):
        session.reject(550, "5.7.1", "Relaying denied")
    elif isinstance(event, RcptTo) and event.recipient.local not in KNOWN:
        session.reject(550, "5.1.1", "No such person")
    else:
        session.accept()


def feed(session: Session, data: bytes) -> list[Event]:
    """Feed, answer, go on: all events of these bytes."""
    events: list[Event] = []
    more = session.feed(data)
    while more:
        events += more
        if session.question is not None:
            answer(session, session.question)
        more = session.feed()
    return events


def greeted(**limits: object) -> Session:
    session = Session("mx.example.test", Limits(**limits))  # type: ignore[arg-type]
    session.greet()
    session.bytes_to_send()
    return session


def in_data(**limits: object) -> Session:
    session = greeted(**limits)
    for line in (b"EHLO a.example\r\n", b"MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\n", b"DATA\r\n"):
        feed(session, line)
        session.bytes_to_send()
    assert session.state is State.DATA
    return session


# conversations


@pytest.mark.parametrize("path", DIALOGUES, ids=lambda path: path.stem)
def test_dialogue(path: Path) -> None:
    session = Session("mx.example.test")
    session.greet()
    lines = path.read_text().splitlines()
    steps: list[tuple[list[str], list[str]]] = [([], [])]
    for line in lines:
        if line.startswith("C:") and steps[-1][1]:
            steps.append(([], []))  # what the client sends at once, then what it gets for it
        if line.startswith(("C:", "S:")):
            steps[-1][line[0] == "S"].append(line[3:])
    assert steps[0][1], "a dialogue begins with our greeting"
    for sent, expected in steps:
        feed(session, "".join(f"{line}\r\n" for line in sent).encode())
        replies = session.bytes_to_send().decode().splitlines()
        if expected and expected[0] == "250-...":
            at = next(i for i, reply in enumerate(replies) if reply.startswith("250 "))
            replies, expected = replies[at + 1 :], expected[1:]
        assert len(replies) == len(expected), (sent, replies)
        assert all(reply.startswith(start) for reply, start in zip(replies, expected, strict=True)), (sent, replies, expected)
    assert (session.state is State.CLOSED) == (lines[-1] == "closed")


def test_the_notebook_prints_the_table_of_this_machine() -> None:
    table = state_table()
    assert "DATA      503 –           503 –           554 –           354 → data" in table
    assert {line.split()[0] for line in table.splitlines()[1:]} <= set(COMMANDS) | {"XYZZY"}


def test_every_reply_but_greeting_hello_and_354_has_an_enhanced_code_of_its_class() -> None:
    """RFC 2034 §4, RFC 3463: 2xx with 2.x.x, 4xx with 4.x.x, 5xx with 5.x.x."""
    for path in DIALOGUES:
        session = greeted()
        for line in re.findall(r"^C: ?(.*)$", path.read_text(), flags=re.M):
            hello = line[:4].upper() in ("EHLO", "HELO")
            feed(session, line.encode() + b"\r\n")
            for reply in session.bytes_to_send().decode().splitlines():
                if not (hello and reply.startswith("250")) and not reply.startswith("354"):
                    assert re.fullmatch(r"([245])\d\d \1\.\d{1,3}\.\d{1,3} .+", reply), (path.stem, line, reply)


# bounds: at the bound and one past it


@pytest.mark.parametrize(("length", "code"), [(2048, b"250"), (2049, b"500")])
def test_command_line_2048(length: int, code: bytes) -> None:
    session = greeted()
    feed(session, b"NOOP " + b"x" * (length - 7) + b"\r\n")
    assert session.bytes_to_send().startswith(code)
    feed(session, b"NOOP\r\n")
    assert session.bytes_to_send() == b"250 2.0.0 Ok\r\n", "the session goes on"


@pytest.mark.parametrize("newline", [b"", b"\r\n"])
def test_a_line_that_never_ends_closes(newline: bytes) -> None:
    session = greeted()
    assert feed(session, b"x" * MAX_GARBAGE) == []
    assert feed(session, b"x" + newline) == [Closed("line")]
    assert len(session._received) == 0


@pytest.mark.parametrize(("count", "accepted"), [(100, 100), (101, 100), (150, 100)])
def test_recipients_100_then_452_and_the_accepted_ones_stand(count: int, accepted: int) -> None:
    session = greeted()
    feed(session, b"EHLO a.example\r\n")
    session.bytes_to_send()
    feed(session, b"MAIL FROM:<>\r\n" + b"RCPT TO:<alice@example.test>\r\n" * count + b"DATA\r\n")
    replies = session.bytes_to_send().splitlines()
    assert replies[1:-1].count(b"250 2.1.5 Recipient ok") == accepted
    assert all(reply.startswith(b"452 4.5.3") for reply in replies[1 + accepted : -1])
    assert replies[-1].startswith(b"354"), "what was accepted is delivered, and 452 is no error of the client"


@pytest.mark.parametrize(("size", "reply"), [(1000, b"250 2.1.0"), (1001, b"552 5.3.4")])
def test_size_announced(size: int, reply: bytes) -> None:
    session = greeted(max_message_bytes=1000)
    feed(session, b"EHLO a.example\r\n")
    session.bytes_to_send()
    feed(session, b"MAIL FROM:<> SIZE=%d\r\n" % size)
    assert session.bytes_to_send().startswith(reply)


@pytest.mark.parametrize(
    ("size", "reply"), [(b"9" * 20, b"552 5.3.4"), (b"0" * 20, b"250"), (b"9" * 21, b"501 5.5.4"), (b"0" * 1900, b"501 5.5.4"),
                        (b"-1", b"501 5.5.4"), ("٣".encode(), b"501 5.5.4"), (b"", b"501 5.5.4")])  # fmt: skip
def test_rfc1870_a_size_has_at_most_20_digits(size: bytes, reply: bytes) -> None:
    session = greeted()
    feed(session, b"EHLO a.example\r\n")
    session.bytes_to_send()
    feed(session, b"MAIL FROM:<> SMTPUTF8 SIZE=" + size + b"\r\n")
    assert session.bytes_to_send().startswith(reply)


@pytest.mark.parametrize(("size", "reply"), [(1000, b"250 2.0.0"), (1001, b"552 5.3.4"), (1900, b"552 5.3.4")])
def test_size_while_streaming(size: int, reply: bytes) -> None:
    session = in_data(max_message_bytes=1000)
    feed(session, b"x" * (size - 2) + b"\r\n.\r\n")
    assert session.bytes_to_send().startswith(reply)
    assert session.state is State.READY


def test_size_counts_without_dot_stuffing() -> None:
    session = in_data(max_message_bytes=1000)
    feed(session, b"..23\r\n" * 200 + b".\r\n")  # 200 × ".23\r\n" are 1000 octets
    assert session.bytes_to_send().startswith(b"250")


def test_a_stream_far_past_the_size_is_cut() -> None:
    session = in_data(max_message_bytes=1000)
    events: list[Event] = []
    for _ in range(3):
        events += feed(session, b"x" * SLICE)
    assert events[-1] == Closed("size")
    assert not any(isinstance(event, DataChunk) for event in events)
    assert session.bytes_to_send().startswith(b"552 5.3.4")


@pytest.mark.parametrize(("hops", "reply"), [(50, b"250 2.0.0"), (51, b"554 5.4.6")])
@pytest.mark.parametrize("field", [b"Received: from a by b\r\n", b"RECEIVED:x\r\n", b"received: a\r\n\tb\r\n"])
def test_received_50(hops: int, reply: bytes, field: bytes) -> None:
    session = in_data()
    feed(session, field * hops + b"Subject: x\r\n\r\n" + b"Received: in the text, which does not count\r\n" * 60 + b".\r\n")
    assert session.bytes_to_send().startswith(reply)


def test_received_is_counted_across_slices() -> None:
    for hops, reply in ((50, b"250"), (51, b"554 5.4.6")):
        session = in_data()
        feed(session, (b"Received: x\r\n" + b"X-Filler: " + b"y" * 4000 + b"\r\n") * hops + b"\r\nReceived: no\r\n.\r\n")
        assert session.bytes_to_send().startswith(reply)


@pytest.mark.parametrize("maximum", [1, 3, 10])
def test_errors(maximum: int) -> None:
    session = greeted(max_errors=maximum)
    for number in range(maximum):
        assert session.state is not State.CLOSED, number
        events = feed(session, b"XYZZY\r\n")
        if number < maximum - 1:
            session.bytes_to_send()
    assert events[-1] == Closed("errors")
    assert session.bytes_to_send().splitlines()[-1].startswith(b"421 4.7.0")


def test_a_message_that_is_accepted_forgives_the_errors_before_it() -> None:
    session = greeted(max_errors=3)
    for _ in range(3):
        for part in (b"XYZZY\r\n", b"XYZZY\r\n", b"EHLO a.example\r\n", b"MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\n",
                     b"DATA\r\n", b"x\r\n.\r\n"):  # fmt: skip
            session.bytes_to_send()
            feed(session, part)
        assert session.bytes_to_send().startswith(b"250 2.0.0")


@pytest.mark.parametrize("command", [b"DATA now", b"RSET it"])
def test_a_command_that_takes_no_argument_is_501_and_nothing_is_lost(command: bytes) -> None:
    session = greeted()
    for part in (b"EHLO a.example\r\n", b"MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\n"):
        feed(session, part)
        session.bytes_to_send()
    feed(session, command + b"\r\n")
    assert session.bytes_to_send().startswith(b"501 5.5.4") and session.state is State.RCPT


def test_refused_recipients_count_as_errors() -> None:
    session = greeted()
    feed(session, b"EHLO a.example\r\n")
    session.bytes_to_send()
    events = feed(session, b"MAIL FROM:<>\r\n" + b"RCPT TO:<guess@example.test>\r\n" * 20)
    assert events[-1] == Closed("errors")


@pytest.mark.parametrize(("length", "code"), [(65, b"250"), (241, b"250"), (242, b"553 5.1.7")])
def test_path_256_with_whatever_local_part(length: int, code: bytes) -> None:
    session = greeted()
    feed(session, b"EHLO a.example\r\n")
    session.bytes_to_send()
    feed(session, b"MAIL FROM:<" + b"x" * length + b"@example.test>\r\n")
    assert session.bytes_to_send().startswith(code)


@pytest.mark.parametrize(("length", "code"), [(255, b"250"), (256, b"501")])
def test_hello_name_255(length: int, code: bytes) -> None:
    session = greeted()
    feed(session, b"EHLO " + b"x" * length + b"\r\n")
    assert session.bytes_to_send().startswith(code)


def test_a_reply_line_is_short_and_plain_whatever_is_in_it() -> None:
    line = reply_line(550, "5.1.1", "é\r\n250 2.0.0 ok\0\x7f" + "x" * 1000)
    assert len(line) <= 512
    assert line.isascii()
    assert line.count(b"\r") == line.count(b"\n") == 1


@pytest.mark.parametrize("name", ["John's-iMac.local", "a/b", "#1", "*", "[127.0.0.1]", "[IPv6:::1]", "a_b", "x."])
def test_odd_names_of_machines_are_no_reason_to_refuse_their_mail(name: str) -> None:
    session = greeted()
    assert feed(session, f"EHLO {name}\r\n".encode()) == [Hello(name, True)]


def test_rfc5321_4_2_our_last_words_begin_with_our_name() -> None:
    for lines, reply in ((b"QUIT\r\n", b"221 2.0.0 mx.example.test "), (b"XYZZY\r\n", b"421 4.7.0 mx.example.test ")):
        session = greeted(max_errors=1)
        feed(session, lines)
        assert session.bytes_to_send().splitlines()[-1].startswith(reply)


# the same bytes in any split


def run(pieces: list[bytes], start: Session, take: bool = False) -> tuple[list[Event], bytes]:
    """Everything that comes of these pieces. `take`: replies are taken after each piece, as if the client had seen them."""
    events, sent = [], b""
    for piece in pieces:
        events += feed(start, piece)
        if take:
            sent += start.bytes_to_send()
    return events, sent + start.bytes_to_send()


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(at)]


LINES = [
    b"EHLO a.example\r\n",
    b"HELO a\r\n",
    b"MAIL FROM:<>\r\n",
    b"MAIL FROM:<bob@example.test> SIZE=3 BODY=8BITMIME\r\n",
    b"RCPT TO:<alice@example.test>\r\n",
    b"RCPT TO:<x@example.test>\r\n",
    b"RCPT TO:<a@b.c>\r\n",
    b"DATA\r\n",
    b".\r\n",
    b"\r\n.\r\n",
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r\n.\n",
    b"..\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"QUIT\r\n",
    b"VRFY x\r\n",
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\n",
    b"Received: x\r\n",
    b"Subject: y\r\n\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b"\0",
    b".",
    b"\xff\xfe\r\n",
    b"x" * 300,
    b"\r\r\n",
]
SMALL = {"max_message_bytes": 400, "max_received": 2, "max_errors": 4, "max_recipients": 2, "max_line_bytes": 64}
traffic = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(LINES) | st.binary(max_size=6), max_size=20).map(b"".join))


@given(traffic, st.lists(st.integers(0, 5000), max_size=12), st.booleans(), st.sampled_from(["reject", "normalise"]))
@settings(max_examples=400, deadline=None)
@example(b"x\r\n.\r\nMAIL FROM:<>\r\n", list(range(30)), True, "reject")
@example(b"x\n.\r\n\r\n.\r\n", list(range(30)), True, "reject")
def test_any_split_gives_the_same_events_and_replies(data: bytes, cuts: list[int], data_state: bool, newline: str) -> None:
    begin = in_data if data_state else greeted
    whole = run([data], begin(**SMALL, bare_newline=newline))
    pieces = run(split(data, cuts), begin(**SMALL, bare_newline=newline))
    single = run([data[i : i + 1] for i in range(len(data))], begin(**SMALL, bare_newline=newline))
    assert whole == pieces == single


@given(traffic, st.lists(st.integers(0, 5000), max_size=12), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_client_that_waits_more_is_understood_the_same_and_further(data: bytes, cuts: list[int], data_state: bool) -> None:
    """Taking the replies between the pieces can only lift the rule about waiting; nothing else changes."""
    begin = in_data if data_state else greeted
    hasty, _ = run([data], begin(**SMALL))
    patient, _ = run(split(data, cuts), begin(**SMALL), take=True)
    if hasty and hasty[-1] in (Closed("pipelining"), Closed("early")):
        hasty = hasty[:-1]
        if patient and patient[-1] in (Closed("pipelining"), Closed("early")):
            patient = patient[:-1]
        assert patient[: len(hasty)] == hasty
    else:
        assert patient == hasty


PIECES = [b"line\r\n", b"..\r\n", b".x\r\n", b"\r\n", b"y" * 50, b"\r\n.", b"Received: a\r\n", b"\r", b"\n", b"\n.", b"\0"]


CUTS = st.lists(st.integers(0, 4000), max_size=10)


@given(st.lists(st.sampled_from(PIECES), max_size=60), CUTS, st.sampled_from(["reject", "normalise"]))
@settings(max_examples=300, deadline=None)
def test_slices_of_a_long_message_do_not_depend_on_the_split(parts: list[bytes], cuts: list[int], newline: str) -> None:
    """With slices of 32 octets instead of 65 536 the borders are everywhere, and the content is what it is without any."""
    data = b"".join(parts) + b"\r\n.\r\nNOOP\r\n"
    limits = {"bare_newline": newline, "max_received": 3, "max_message_bytes": 500}
    unsliced, replies = run([data], in_data(**limits))
    with patch.object(protocol, "SLICE", 32):
        sliced = run([data], in_data(**limits))
        assert sliced == run(split(data, cuts), in_data(**limits))
        assert sliced == run([data[i : i + 1] for i in range(len(data))], in_data(**limits))
    if sliced[0][-1] not in (Closed("smuggling"), Closed("size")):
        assert sliced[1] == replies
        if isinstance(sliced[0][-1], DataEnd):
            assert content_of(sliced[0]) == content_of(unsliced)


def content_of(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, DataChunk))


def test_the_header_may_end_where_a_slice_ends() -> None:
    for filler in range(40):
        session = in_data(max_received=1)
        with patch.object(protocol, "SLICE", 32):
            feed(session, b"X: " + b"x" * filler + b"\r\n\r\n" + b"Received: text\r\n" * 5 + b".\r\n")
        assert session.bytes_to_send().startswith(b"250"), filler


@given(
    st.binary(max_size=2000).map(lambda b: b.replace(b"\0", b"").replace(b"\r", b"").replace(b"\n", b"\r\n")), st.integers(1, 40)
)
@settings(max_examples=200, deadline=None)
def test_what_is_stuffed_comes_back_unstuffed(text: bytes, times: int) -> None:
    text = text * times
    if not text.endswith(b"\r\n"):
        text += b"\r\n"
    stuffed = re.sub(rb"(?m)^\.", b"..", text.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    events = feed(in_data(), stuffed + b".\r\n")
    assert b"".join(event.data for event in events if isinstance(event, DataChunk)) == text
    assert events[-1] == DataEnd(len(text))


@given(st.binary(max_size=3000), st.lists(st.integers(0, 3000), max_size=8))
@settings(max_examples=200, deadline=None)
def test_normalised_content_has_crlf_only(data: bytes, cuts: list[int]) -> None:
    events = run(split(data.replace(b"\0", b"") + b"\r\n.\r\n", cuts), in_data(bare_newline="normalise"))[0]
    assert crlf_only(b"".join(event.data for event in events if isinstance(event, DataChunk)))


def test_long_message_comes_in_bounded_slices() -> None:
    rng = random.Random(1)
    text = b"".join(
        rng.randbytes(rng.randrange(40)).replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"").lstrip(b".") + b"\r\n"
        for _ in range(30_000)
    )
    session, chunks = in_data(), []
    for at in range(0, len(text), 100_000):
        chunks += [event.data for event in feed(session, text[at : at + 100_000]) if isinstance(event, DataChunk)]
    chunks += [event.data for event in feed(session, b".\r\n") if isinstance(event, DataChunk)]
    assert b"".join(chunks) == text
    assert max(map(len, chunks)) <= SLICE + 5


@pytest.mark.parametrize("text", [b"a\nb\r\n", b"a\rb\r\n", b"\r\r\n", b"\n\r\n", b"Subject: x\n\n\r\n"])
def test_a_lone_cr_or_lf_refuses_the_message_and_ends_the_session(text: bytes) -> None:
    """RFC 5321 §2.3.8. Nothing that stands behind such a message is carried out."""
    session = in_data()
    events = feed(session, text + b".\r\nMAIL FROM:<eve@evil.example>\r\n")
    assert events[-2:] == [DataRefused(events[-2].reply), Closed("smuggling")]  # type: ignore[union-attr]
    assert session.bytes_to_send().startswith(b"550 5.6.0")


# waiting (RFC 2920 §3.1)


def test_bytes_behind_a_question_did_not_wait_for_its_reply() -> None:
    """The caller may take replies at any time: what counts is whether the bytes were here before the reply was made."""
    session = greeted()
    session.feed(b"HELO a.example\r\n")
    session.bytes_to_send()
    session.feed(b"MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\n")
    assert session.bytes_to_send() == b""
    session.accept()
    assert session.bytes_to_send() == b"250 2.1.0 Sender ok\r\n"
    assert session.feed() == [Closed("pipelining")]


def test_helo_promises_no_pipelining_behind_the_dot_either() -> None:
    session = greeted()
    for line in (b"HELO a.example\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<alice@example.test>\r\n", b"DATA\r\n"):
        feed(session, line)
        session.bytes_to_send()
    assert feed(session, b"text\r\n.\r\nQUIT\r\n")[-1] == Closed("pipelining")


@pytest.mark.parametrize("line", [b"NOOP a\rb\r\n", b"NOOP\0\r\n", b"NOOP\n", b"NOOP \xff\r\n", b"NOOP\r\r\n"])
def test_a_command_is_one_line_of_utf8(line: bytes) -> None:
    session = greeted()
    feed(session, line)
    assert session.bytes_to_send().startswith(b"500 5.5.2")


# misuse by the caller is told


def test_an_answer_without_a_question_is_an_error_of_ours() -> None:
    with pytest.raises(RuntimeError):
        greeted().accept()
    with pytest.raises(RuntimeError):
        greeted().reject(550, "5.0.0", "no")


def test_while_a_question_is_open_nothing_is_interpreted() -> None:
    session = greeted()
    session.feed(b"EHLO a.example\r\n")
    session.bytes_to_send()
    assert session.feed(b"MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\n") == [MailFrom(None)]
    assert session.feed(b"QUIT\r\n") == []
    session.accept()
    assert [type(event) for event in session.feed()] == [RcptTo]
    session.reject(450, "4.2.0", "later")
    assert session.feed() == [Closed("quit")]
    assert session.bytes_to_send() == b"250 2.1.0 Sender ok\r\n450 4.2.0 later\r\n221 2.0.0 mx.example.test Goodbye\r\n"


def test_shut_from_our_side() -> None:
    session = in_data()
    session.feed(b"half a message")
    session.shut("4.4.2", "Too slow")
    assert session.feed(b"\r\n.\r\n") == [Closed("shut")]
    assert session.bytes_to_send() == b"421 4.4.2 mx.example.test Too slow\r\n"
    session.shut("4.4.2", "again")
    assert session.bytes_to_send() == b""


def test_events_say_what_was_refused() -> None:
    session = greeted(max_message_bytes=10)
    assert feed(session, b"EHLO a\r\n") == [Hello("a", True)]
    session.bytes_to_send()
    assert isinstance(feed(session, b"XYZZY\r\n")[0], Refused)
    feed(session, b"MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n")
    session.bytes_to_send()
    events = feed(session, b"far too long\r\n.\r\n")
    assert [type(event) for event in events] == [DataRefused]


# beside aiosmtpd


SCRIPTS = [
    [
        "EHLO a.example",
        "MAIL FROM:<carol@elsewhere.example>",
        "RCPT TO:<alice@example.test>",
        "DATA",
        "hello\r\n..dot\r\n.",
        "QUIT",
    ],
    ["HELO a.example", "MAIL FROM:<carol@elsewhere.example>", "RCPT TO:<alice@example.test>", "RSET", "NOOP", "QUIT"],
    ["MAIL FROM:<carol@elsewhere.example>", "RCPT TO:<alice@example.test>", "DATA", "QUIT"],
    ["EHLO a.example", "RCPT TO:<alice@example.test>", "DATA", "VRFY alice", "EXPN x", "HELO", "EHLO", "QUIT"],
    ["EHLO a.example", "MAIL FROM:<a@b.example> SIZE=99999999", "MAIL FROM:<a@b.example>", "MAIL FROM:<a@b.example>", "QUIT"],
    [
        "EHLO a.example",
        "MAIL FROM:<a@b.example> FOO=bar",
        "MAIL FROM:<a@b.example> BODY=nonsense",
        "MAIL FROM:<>",
        "RCPT",
        "QUIT",
    ],
    ["EHLO a.example", "MAIL", "MAIL FROM:", "DATA x", "RSET x", "QUIT x", "VRFY", "HELP", "QUIT"],
]


@pytest.mark.parametrize("script", SCRIPTS, ids=range(len(SCRIPTS)))
async def test_reply_classes_agree_with_aiosmtpd(script: list[str]) -> None:
    """The first digit of every reply, and what is kept of the message, beside another implementation."""
    from aiosmtpd.smtp import SMTP

    kept: list[bytes] = []

    class Handler:
        async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
            kept.append(envelope.original_content)  # type: ignore[attr-defined]
            return "250 OK"

    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(Handler(), data_size_limit=25_000_000, enable_SMTPUTF8=True), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())

    async def reply() -> str:
        while True:
            line = (await asyncio.wait_for(reader.readline(), 5)).decode()
            if line[3:4] != "-":
                return line

    try:
        await reply()
        ours, mine = greeted(), []
        for command in script:
            events = feed(ours, command.encode() + b"\r\n")
            mine += [event.data for event in events if isinstance(event, DataChunk)]
            said = ours.bytes_to_send().decode().splitlines()[-1]
            writer.write(command.encode() + b"\r\n")
            theirs = await reply()
            assert said[0] == theirs[0], (command, said, theirs)
        assert mine == kept
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        server.close()
        await server.wait_closed()
