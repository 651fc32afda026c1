"""What has hurt other MIME parsers, one test a row, and arbitrary bytes.

A test here that hangs is a test that failed: each input takes minutes, or all memory, where reading is not linear.
"""

from __future__ import annotations

import base64
import binascii
import json
import random
import re
from email import policy
from email.message import EmailMessage
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gk.mail import content, headers, mime
from gk.mail.content import attachments, decode, decode_body, html_of, text_of
from gk.mail.digest import digest, normalise, search_text
from gk.mail.headers import (
    Bounds,
    decode_header,
    parse_addresses,
    parse_date,
    parse_ids,
    parse_mailboxes,
    parse_parameters,
    select_fields,
    split_fields,
    unfold,
)
from gk.mail.html import depth, sanitise, to_text
from gk.mail.mime import Message, content_type, filename_of, has_bare_newlines, parse, with_crlf
from gk.mail.structure import load_rows, part_rows, section, structures

MULTIPART = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


def nested(count: int) -> bytes:
    return b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(count))


def check_offsets(message: Message) -> None:
    """The invariants of the part tree."""
    parts, size = message.parts, len(message.data)
    assert parts[0].parent == -1 and parts[0].header_start == 0 and parts[0].body_end == size
    assert len({part.number for part in parts}) == len(parts)
    for part in parts:
        assert 0 <= part.header_start <= part.body_start <= part.body_end <= size
        for child in (parts[index] for index in part.children):
            assert child.parent == part.index < child.index
            assert part.body_start <= child.header_start and child.body_end <= part.body_end
        for left, right in zip(part.children, part.children[1:], strict=False):
            assert parts[left].body_end <= parts[right].header_start


# --- the rows of hazards.md --------------------------------------------------------------------------------------------------


def test_1000_nested_multiparts() -> None:
    message = parse(nested(1000))
    check_offsets(message)
    assert (len(message.parts), message.parts[-1].depth, message.parts[-1].type) == (51, 50, "application/octet-stream")
    assert structures(message).bodystructure.count(b"(") == structures(message).bodystructure.count(b")")
    digest(nested(1000))


def test_depth_at_the_bound_and_one_past_it() -> None:
    assert not any(part.opaque for part in parse(nested(50) + b"\r\nx").parts)  # parts at depths 0 to 50
    assert parse(nested(51) + b"\r\nx").parts[-1].opaque


def test_3000_nested_messages() -> None:
    message = parse(b"Content-Type: message/rfc822\r\n\r\n" * 3000)
    check_offsets(message)
    assert len(message.parts) == 51 and message.parts[-1].opaque


@pytest.mark.parametrize(("count", "opaque"), [(998, False), (999, True), (5000, True)])
def test_parts_at_the_bound_and_past_it(count: int, opaque: bool) -> None:
    message = parse(MULTIPART + b"--b\r\n\r\nx\r\n" * count)
    check_offsets(message)
    assert len(message.parts) == min(count + 1, 1000)
    assert message.parts[-1].opaque is opaque
    assert message.parts[-1].body_end == len(message.data)


def test_5000_rfc2231_parameters_cve_2026_27859() -> None:
    value = b"a/b" + b"".join(b"; x*%d*=%%41" % i for i in range(5000))
    assert len(content_type(value).parameters) == 100
    assert len(parse_parameters(b"a/b" + b"; x=y" * 100)[1]) == 100
    digest(b"Content-Type: " + value + b"\r\n\r\n")


def test_header_block_past_256_kb() -> None:
    block = b"X-Fill: y\r\n" * 23_832  # 262 152 octets
    data = b"Subject: first\r\n" + block + b"From: late@example.test\r\n\r\nbody"
    message = parse(data)
    assert message.header("subject") == "first"
    assert message.header("from") is None  # past the bound: not read, not lost
    assert data[message.parts[0].body_start :] == b"body"


def test_header_bytes_of_all_parts_together() -> None:
    part = b"--b\r\nX: " + b"y" * 200_000 + b"\r\n\r\nz\r\n"
    message = parse(MULTIPART + part * 10)
    check_offsets(message)
    assert len(message.parts) == 7 and message.parts[-1].opaque


def test_subject_of_60000_encoded_words() -> None:
    text = decode_header(b"=?utf-8?q?=41?= " * 60_000)
    assert text == "A" * 4096


def test_to_with_4000_addresses() -> None:
    found = digest(b"To: " + b", ".join(b"a%d@example.test" % i for i in range(4000)) + b"\r\n\r\n")
    assert len(json.loads(found.recipients)["to"]) == 2000
    assert len(parse_mailboxes(b"(c) a@b, " * 2000)) == len(parse_mailboxes(b"(c) a@b, " * 2001)) == 2000


def test_10000_nested_comments() -> None:
    assert [address for _, address in parse_addresses(b"(" * 10_000 + b")" * 10_000 + b"a@b")] == ["a@b"]
    assert parse_addresses(b"(" * 10_000 + b"a@b") == []
    assert content_type(b"(" * 10_000 + b")" * 10_000 + b"text/html").name == "text/html"


def test_1000_parts_without_an_empty_line() -> None:
    check_offsets(parse(MULTIPART + b"--b\r\nX: y\r\n" * 200_000))


@pytest.mark.parametrize("line", [b"--bz\r\n", b"--\r\n", b"--b" + b" " * 500 + b"\r\n", b"--b44--x\r\n"])
def test_lines_that_are_nearly_delimiters(line: bytes) -> None:
    message = parse(nested(45) + line * (2_000_000 // len(line)))
    check_offsets(message)
    assert len(message.parts) == 46


def test_a_million_lines_that_are_nearly_delimiters_are_stepped_over_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = list[int]()
    monkeypatch.setattr(mime, "find", lambda data, needle, at, end: looks.append(at) or data.find(needle, at, end))
    message = parse(MULTIPART + b"--bz\r\n" * 1_000_000 + b"--b\r\n\r\nx\r\n--b--\r\n")
    assert [part.number for part in message.parts] == ["TEXT", "1"] and len(looks) < 1000


@pytest.mark.parametrize("unit", [b"\r", b"\n", b"\0", b"a", b" ", b"--", b":", b"a:\n", b"\n\n", b"=", b"\xff"])
def test_a_megabyte_of_one_thing(unit: bytes) -> None:
    data = unit * (1_000_000 // len(unit))
    check_offsets(parse(data))
    digest(data)


@pytest.mark.parametrize(
    "unit",
    [b"@", b"<", b">", b'"', b"(", b")", b"[", b",", b":", b";", b":;", b"a ", b'a"b"', b"=?a?q?", b"<@a,", b"\\", b"<a@b"],
)
def test_address_lists_of_punctuation(unit: bytes) -> None:
    assert len(parse_addresses(unit * (256_000 // len(unit)))) <= 2000


@pytest.mark.parametrize(
    "charset", ["idna", "punycode", "unicode_escape", "zlib", "bz2", "rot13", "os", "../x", "\0", "x" * 1000]
)
def test_charsets_that_are_none(charset: str) -> None:
    assert headers.codec_of(charset) is None
    assert headers.decode_text("é".encode(), charset) == "é"


@pytest.mark.parametrize(
    "marks", ["\u0301\u0323", "\u0f73", "\U0001d165\U0001d166", "\u0344\u0323", "\u0f71\u0f72"], ids=lambda s: f"{ord(s[0]):x}"
)
def test_normalisation_of_alternating_marks(marks: str) -> None:
    """unicodedata sorts marks by insertion: ten seconds for 256 kB of them."""
    assert normalise("e" + marks * 200_000) == "e"


@pytest.mark.parametrize(
    "html",
    ["<", "<a ", "<!--", "<!", "<script>", "<a b=\"", "<a ='", "&#1111111", "&aacute", "<div>", "<b><p>", "<img alt ", "<p> \n"],
)
def test_html_that_never_ends(html: str) -> None:
    text = html * (500_000 // len(html))
    assert len(to_text(text)) <= len(text)


def test_html_entity_of_5000_digits() -> None:
    """html.unescape hands the digits to int(), which raises."""
    assert to_text("a&#" + "1" * 5000 + ";b") == "a\ufffdb"


def test_html_50000_nested_elements() -> None:
    """html5ever takes 3.5 s for them; deep mail is shown as text."""
    assert sanitise("<div>" * 50_000 + "<b>deep</b>").html == "<pre>deep</pre>"
    assert depth("<div>" * 400) == 400 and "<div>" in sanitise("<div>" * 400 + "x").html
    assert "<div>" not in sanitise("<div>" * 401 + "x").html
    assert depth("</b>" * 1000 + "<b>" * 401) == 401, "ends of what never began buy no depth"


@pytest.mark.parametrize(("html", "text"), [
    ("<p>one<p>two", "one\n\ntwo"), ("a<br>b", "a\nb"), ("<h1>t</h1>x", "t\n\nx"), ("a<b>b</b>c", "abc"), ("a\n  b", "a b"),
    ("<ul><li>a<li>b</ul>", "- a\n- b"), ("<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
    ("<img alt='x &amp; y'>", "x & y"), ('<img src=x alt="one two">', "one two"), ("<img alt=three>", "three"),
    ("<b alt=no>", ""), ("1 < 2 &lt;b&gt; 3 > 2", "1 < 2 <b> 3 > 2"), ("&eacute;&#233;", "éé"), ("a</p", "a"), ("<b", ""),
    ("<!-- a > b -->c", "c"), ("<!doctype html>x", "x"), ("<?php x ?>y", "y"), ("x<!-- never ends", "x"),
    ("<style>p{}</style>a<script>b</script>c", "ac"), ("a<script>never ends", "a"), ("<SCRIPT>x</Script >y", "y"),
])  # fmt: skip
def test_html_as_a_person_reads_it(html: str, text: str) -> None:
    assert to_text(html) == text


# --- what decoded values may not contain --------------------------------------------------------------------------------------


def test_rfc5322_2_2_line_break_in_an_encoded_word() -> None:
    assert decode_header(b"=?utf-8?q?Hi=0D=0ABcc:_eve=40evil.test?=") == "Hi Bcc: eve@evil.test"
    assert decode_header("=?utf-8?b?YQ0KYg==?=") == "a b"


def test_rfc2231_line_break_in_a_file_name() -> None:
    part = parse(b"Content-Disposition: attachment; filename*=utf-8''a%0D%0Ab%00.exe\r\n\r\n").parts[0]
    assert filename_of(part) == "a b .exe"


@pytest.mark.parametrize("name", ["../../etc/passwd", "..\\..\\passwd", "/etc/passwd", "C:\\x\\passwd"])
def test_file_names_that_are_paths(name: str) -> None:
    escaped = name.replace("\\", "\\\\")
    part = parse(f'Content-Disposition: attachment; filename="{escaped}"\r\n\r\n'.encode()).parts[0]
    assert filename_of(part) == "passwd"


def test_text_direction_override_in_a_name() -> None:
    assert "\u202e" not in decode_header("photo\u202egpj.exe".encode())


def test_two_from_fields_are_both_seen() -> None:
    assert digest(b"From: a@b.test\r\nFrom: c@d.test\r\n\r\n").envelope.count(b'"d.test"') == 3


def test_boundary_that_begins_like_another() -> None:
    inner = b"Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\none\r\n--bb\r\n\r\ntwo\r\n--bb--\r\n"
    message = parse(MULTIPART + b"--b\r\n" + inner + b"--b\r\n\r\nthree\r\n--b--\r\n")
    assert [part.number for part in message.parts] == ["TEXT", "1", "1.1", "1.2", "2"]


def test_the_outer_boundary_ends_the_inner_parts_rfc2046_5_1_2() -> None:
    inner = b"Content-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\none\r\n"
    message = parse(MULTIPART + b"--b\r\n" + inner + b"--b\r\n\r\ntwo\r\n--i\r\nstill two\r\n--b--\r\n")
    assert [part.number for part in message.parts] == ["TEXT", "1", "1.1", "2"]
    assert message.data[message.parts[3].body_start : message.parts[3].body_end] == b"two\r\n--i\r\nstill two"


def test_the_same_boundary_inside_itself() -> None:
    message = parse(MULTIPART + b"--b\r\n" + MULTIPART + b"--b\r\n\r\nx\r\n--b--\r\n--b--\r\n")
    check_offsets(message)
    assert [part.number for part in message.parts] == ["TEXT", "1", "2"]


def test_imap_strings_cannot_be_left() -> None:
    """A subject that closes its string, opens a literal or brings a NUL stays one string."""
    for raw in (b'x") {5}', b"a\0b", b"\xff\r\n\ty", b"\\", b'"', b"x" * 5000):
        envelope = digest(b"Subject: " + raw + b"\r\n\r\n").envelope
        assert b"\0" not in envelope
        strings, rest = imap_strings(envelope)
        assert len(strings) == 1 and rest.count(b"(") == rest.count(b")") == 1


def imap_strings(data: bytes) -> tuple[list[bytes], bytes]:
    """The strings of an IMAP structure, and what stands between them."""
    found, rest, at = [], b"", 0
    while at < len(data):
        if data[at : at + 1] == b'"':
            at, value = at + 1, b""
            while data[at] != 0x22:  # the closing quotation mark; past the end is an IndexError
                at += data[at] == 0x5C
                value, at = value + data[at : at + 1], at + 1
            assert value.isascii() and not set(value) & set(b"\r\n")
            found.append(value)
            at += 1
        elif data[at : at + 1] == b"{":
            end = data.index(b"}\r\n", at)
            size = int(data[at + 1 : end])
            found.append(data[end + 3 : end + 3 + size])
            at = end + 3 + size
        else:
            rest, at = rest + data[at : at + 1], at + 1
    return found, rest


# --- HTML mail ----------------------------------------------------------------------------------------------------------------

DANGERS = ["script", "onerror", "onload", "evil.test", "<iframe", "<form", "<input", "<svg", "<style", "url(", "data:"]


@pytest.mark.parametrize(
    "html",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg onload=alert(1)>",
        "<a href=javascript:alert(1)>x</a>",
        "<a href=' java\nscript:alert(1)'>x</a>",
        "<a href='data:text/html,<script>'>x</a>",
        "<iframe src=//evil.test></iframe>",
        "<form action=//evil.test><input></form>",
        "<meta http-equiv=refresh content='0;url=//evil.test'>",
        "<base href=//evil.test>",
        "<link rel=stylesheet href=//evil.test>",
        "<style>@import '//evil.test'</style>",
        "<object data=//evil.test></object>",
        "<p style='background:url(//evil.test)'>x</p>",
        "<p style='position:fixed;inset:0'>x</p>",
        "<math><mtext><img src=x onerror=y>",
        "<img src=//evil.test/a.png>",
        "<img src=http://evil.test/a.png>",
        "<img srcset='http://evil.test/a.png 2x'>",
        "<video poster=http://evil.test/a.png>",
        "<table background=http://evil.test/a.png>",
        "<input type=image src=http://evil.test>",
        "<img src='data:image/svg+xml,<svg onload=x>'>",
        "<noscript><p title='</noscript><img src=x onerror=y>'>",
    ],
)
def test_html_mail_loads_and_runs_nothing(html: str) -> None:
    safe = sanitise(html).html.lower()
    for danger in DANGERS:
        assert danger not in safe


def test_remote_pictures_only_when_asked() -> None:
    html = "<img src='https://pics.test/a.png'>"
    assert sanitise(html) == ("<img>", 1)
    assert "https://pics.test/a.png" in sanitise(html, images=True).html


def test_links_show_their_real_host() -> None:
    assert "(evil.test)" in sanitise("<a href='https://bank.example@evil.test/'>bank.example</a>").html
    assert "(xn--bnk-6cd.example)" in sanitise("<a href='https://bаnk.example/'>bank.example</a>").html


# --- arbitrary bytes ----------------------------------------------------------------------------------------------------------

HEADER_LINES = st.sampled_from(
    [
        b"Content-Type: multipart/mixed; boundary=b",
        b'Content-Type: multipart/alternative; boundary="c"',
        b"Content-Type: multipart/digest; boundary=bb",
        b"Content-Type: message/rfc822",
        b"Content-Type: text/html; charset=utf-8",
        b"Content-Type: text/plain; charset=utf-7",
        b"Content-Transfer-Encoding: base64",
        b"Content-Transfer-Encoding: quoted-printable",
        b"Content-Disposition: attachment; filename*0*=utf-8''a%20; filename*1=b",
        b"To: a@b, c:;",
        b'From: "x" <y@z> (c)',
        b"Subject: =?utf-8?q?=C3=A9?=",
        b"Date: Mon, 1 Jan 2024 10:00:00 +0100",
    ]
)
MARKS = [b"\r\n", b"\n", b"\r", b"--b", b"--c", b"--bb", b"--b--", b"--c--", b"--", b" ", b"\t", b"\0", b"x", b"=", b"<p>"]
PIECES = st.one_of(HEADER_LINES, st.sampled_from(MARKS), st.binary(max_size=20))
LINES = st.lists(PIECES, max_size=60).map(lambda pieces: b"\r\n".join(pieces))
MAILS = LINES | LINES.map(lambda lines: MULTIPART + b"--b\r\n" + lines) | st.lists(PIECES, max_size=60).map(b"".join)


CUT_HEADER = MULTIPART + b"--b\r\nContent-Type: message/rfc822\r\n\r\nContent-Type: multipart/mixed; boundary=b\r\n--b"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MAILS)
@example(CUT_HEADER)  # a delimiter ends the header of the inner message: the message holds it whole
def test_any_bytes_parse_and_offsets_hold(data: bytes) -> None:
    message = parse(data, Bounds(parts=20, depth=5))
    check_offsets(message)
    text_of(message)
    html_of(message)
    for part in message.parts:
        assert part.number and "/" not in filename_of(part)
        decode_body(message, part)
        assert len(decode_body(message, part, 7)) <= 7
        decode(message, part).encode()
    for part in attachments(message):
        assert not part.is_multipart
    table = digest(data).parts
    assert len(load_rows(table)) >= 1
    for row in part_rows(parse(with_crlf(data))):
        assert section(table, row.number) == (row.body_start, row.body_end)


@settings(max_examples=200, deadline=None)
@given(MAILS)
def test_crlf_and_lf_make_the_same_tree(data: bytes) -> None:
    crlf = with_crlf(data.replace(b"\r", b""))
    one, other = parse(crlf), parse(crlf.replace(b"\r\n", b"\n"))
    assert [(part.number, part.type, part.parent) for part in one.parts] == [(p.number, p.type, p.parent) for p in other.parts]
    for a, b in zip(one.parts, other.parts, strict=True):
        assert one.data[a.body_start : a.body_end].replace(b"\r\n", b"\n") == other.data[b.body_start : b.body_end]
    assert not has_bare_newlines(crlf)
    assert {k for k, v in digest(crlf).row().items() if v != digest(other.data).row()[k]} <= {"bare_newlines"}


TOKENS = rb"""a bob @ b.test < > , ; : " ( ) \ [ ] . =?utf-8?q?x?= =? ?= ' %41 *0* = /""".split()
TOKENS += [b" ", b"\r\n ", b"\xc3\xa9", b"\xff", b"\0"]
VALUES = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=3), max_size=30).map(b"".join)


@settings(max_examples=500, deadline=None)
@given(VALUES)
def test_any_header_value_reads(value: bytes) -> None:
    text = decode_header(value)
    assert not set(text) & set("\r\n\0\t\u2028\u202e")
    for name, address in parse_addresses(value):
        assert not set(name + address) & set("\r\n\0")
    parse_date(value)
    assert all(not set(found) & set("<> \r\n") for found in parse_ids(value))
    assert len(parse_parameters(value)[1]) <= 100
    block = b"Subject: " + value + b"\r\n\r\n"
    assert all(name == name.lower() for name, _ in split_fields(block))
    assert select_fields(block, [b"subject"]).startswith(b"Subject: ")


ENTRIES = [
    b"Bob <bob@b.test>",
    b'"B, C" <b@c.test>',
    b"a@b.test",
    b" x  y <q@r.test>",
    b"=?utf-8?q?=C3=A9?= <e@f.test>",
    b"d.e@f.test",
    b'"" <s@x.test>',
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(ENTRIES), max_size=6))
def test_the_fast_and_the_full_address_reader_agree(entries: list[bytes]) -> None:
    value = b", ".join(entries)
    assert parse_mailboxes(value) == headers._AddressReader(value, 0, 2000).read()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80).filter(lambda text: "\r" not in text and "\n" not in text), st.text(max_size=200))
def test_what_the_standard_library_writes_is_read(subject: str, body: str) -> None:
    """EmailMessage composes (policy.SMTP); what a person could type comes back."""
    subject, body = "".join(filter(str.isprintable, subject)), "".join(filter(str.isprintable, body))
    mail = EmailMessage(policy=policy.SMTP)
    mail["Subject"] = subject
    mail.set_content(body)
    message = parse(mail.as_bytes())
    assert "".join(text_of(message).split()) == "".join(body.split())
    assert "".join((message.header("subject") or "").split()) == "".join(subject.split())


# --- long bytes in short steps: one call into C keeps every thread waiting -----------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 90))
def test_transfer_encodings_in_steps_say_the_same(data: bytes, step: int) -> None:
    encoded = base64.encodebytes(data).replace(b"\n", b"\r\n")
    assert b"".join(content._from_base64(mime.steps(encoded, step=step))) == data
    quoted = binascii.b2a_qp(data)
    assert b"".join(content._from_quoted_printable(mime.steps(quoted, step=step))) == binascii.a2b_qp(quoted)
    uu = b"begin 644 x\n" + b"".join(binascii.b2a_uu(data[at : at + 45]) for at in range(0, len(data), 45)) + b"`\nend\n"
    assert b"".join(content._from_uuencode(mime.steps(uu, step=step))) == data


@settings(max_examples=200, deadline=None)
@given(MAILS, st.integers(4, 40))
def test_steps_change_no_part_and_no_line_end(data: bytes, step: int) -> None:
    whole, crlf = [(part.number, part.body_start, part.body_end) for part in parse(data).parts], with_crlf(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mime, "STEP", step)
        assert [(part.number, part.body_start, part.body_end) for part in parse(data).parts] == whole
        patch.setattr(mime, "MAX_MISSES", 0)  # the expression that is for floods, from the first line on
        assert [(part.number, part.body_start, part.body_end) for part in parse(data).parts] == whole
    assert crlf == re.sub(rb"(?<!\r)\n", b"\r\n", data)
    assert with_crlf(data, lone_cr=True) == re.sub(rb"\r\n|\r|\n", b"\r\n", data)
    assert b"".join(mime.steps(data, step=step)) == data
    assert not any(piece.endswith(b"\r") and after.startswith(b"\n") for piece, after in pairwise(mime.steps(data, step=step)))


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "x-uuencode"])
def test_4_mb_of_random_octets_are_decoded_in_steps(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of 70 ms at delivery, in whatever thread, stops every session for as long."""
    raw, given = random.Random(1).randbytes(3_000_000), list[int]()

    class Spy:
        Error = binascii.Error

        def __getattr__(self, name: str) -> Any:
            def call(data: bytes) -> bytes:
                given.append(len(data))
                return bytes(getattr(binascii, name)(data))

            return call

    uu = b"begin 644 x\n" + b"".join(binascii.b2a_uu(raw[at : at + 45]) for at in range(0, len(raw), 45)) + b"end\n"
    body = {"base64": base64.encodebytes(raw), "quoted-printable": binascii.b2a_qp(raw, istext=False), "x-uuencode": uu}[encoding]
    message = parse(b"Content-Type: a/b\nContent-Transfer-Encoding: " + encoding.encode() + b"\n\n" + body)
    monkeypatch.setattr(content, "binascii", Spy())
    assert decode_body(message, message.parts[0]) == raw
    assert max(given) <= 524_288  # octets: about two milliseconds


UU = b"begin 644 chat.txt\r\n#0V%T\r\n`\r\nend\r\nbye"


@pytest.mark.parametrize("name", ["x-uuencode", "X-UUEncode", "x-uue", "uuencode"])
def test_uuencoded_bodies_are_decoded(name: str) -> None:
    message = parse(b"Content-Transfer-Encoding: " + name.encode() + b"\r\n\r\nHi, here it is\r\n" + UU)
    assert decode_body(message, message.parts[0]) == b"Cat"
    assert decode_body(message, message.parts[0], 2) == b"Ca"
    assert text_of(message) == "Cat"


@pytest.mark.parametrize(
    "body",
    [b"", b"begin", b"begin 644 x\n", b"begin 644 x\n" + b"M" * 5_000_000, b"begin 644 x\n\xff\xfe\n~~~\n", b"#0V%T\nend\n"],
)
def test_uuencoded_nonsense_is_nothing(body: bytes) -> None:
    message = parse(b"Content-Transfer-Encoding: x-uuencode\n\n" + body)
    assert decode_body(message, message.parts[0]).strip(b"\0") == b""


def test_unfold_is_one_line() -> None:
    assert unfold(b" a\r\n b\n\tc\r\n") == b"a b\tc"


@pytest.mark.parametrize("text", ["&" * 1_048_576, "&amp;" * 200_000, "&nbsp;x" * 150_000, "&#38;" * 200_000])
def test_ampersands_without_end_are_never_given_to_the_html_cleaner(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """nh3 takes quadratic time for them: 7.5 s for a megabyte."""
    given: list[str] = []
    monkeypatch.setattr("nh3.clean", lambda html, **_: given.append(html) or "")
    assert sanitise(f"<p>{text}</p>").html.startswith("<pre>") and not given
    sanitise("<p>" + "&eacute;t&eacute;&nbsp;" * 1000 + "</p>")
    assert len(given) == 1


def test_words_before_a_bare_address_are_no_part_of_it() -> None:
    """Bob bob@x.test is not Bobbob@x.test, an address that nobody has written and somebody may have."""
    assert parse_mailboxes(b"Bob Smith bob@x.test") == [(b"Bob Smith", None, b"bob", b"x.test")]
    assert parse_mailboxes(b"bob@x.test Smith, a@b.test") == [(None, None, b"bob", b"x.test"), (None, None, b"a", b"b.test")]
    assert parse_mailboxes(b"<bob smith@x.test>") == [(None, None, b"bob smith", b"x.test")]
    assert parse_mailboxes(b"bob . smith @ x . test") == [(None, None, b"bob.smith", b"x.test")]


@pytest.mark.parametrize(("value", "main", "parameters"), [
    (b'text/plain charset="utf-8"', b"text/plain", ((b"charset", b"utf-8"),)),
    (b"text / plain; charset=utf-8", b"text / plain", ((b"charset", b"utf-8"),)),
    (b"attachment filename=x.pdf", b"attachment", ((b"filename", b"x.pdf"),)),
    (b'"base64"', b"base64", ()),
    (b"", b"", ()),
])
def test_a_missing_semicolon_loses_no_parameter(value: bytes, main: bytes, parameters: object) -> None:
    assert parse_parameters(value) == (main, parameters)


def test_lines_that_are_no_fields_are_among_all_but_these_rfc3501_6_4_5() -> None:
    block = b"From somebody Thu Feb  1\r\nFrom: a@x.test\r\nX: 1\r\r\n 2\r\nno colon\r\n\r\n"
    assert select_fields(block, [b"FROM"]) == b"From: a@x.test\r\n\r\n"
    assert select_fields(block, [b"from"], without=True) == b"From somebody Thu Feb  1\r\nX: 1\r\r\n 2\r\nno colon\r\n\r\n"
    assert select_fields(block, [b"none"]) == b"\r\n" and select_fields(b"", [b"none"], without=True) == b"\r\n"


def test_the_line_break_before_a_delimiter_belongs_to_it_rfc2046_5_1_1() -> None:
    """Also where a part ends before its header does."""
    mail = parse(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n--b\r\n\r\nx\r\n--b--\r\n")
    one, two = mail.parts[1:]
    assert mail.data[one.header_start : one.body_start] == b"Content-Type: text/html" and one.size == 0
    assert mail.data[two.body_start : two.body_end] == b"x"


def test_a_report_of_a_delivery_is_found_by_its_text() -> None:
    report = parse(
        b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        b"Final-Recipient: rfc822; carol@example.test\r\nAction: failed\r\n--b--\r\n"
    )
    assert "carol@example.test action: failed" in search_text(report)[0]


def test_a_comment_within_a_date() -> None:
    assert parse_date("Thu, 1 (first) Feb 2024 10:00:00 +0100") == parse_date("Thu, 1 Feb 2024 10:00:00 +0100") is not None


def test_file_names_and_dates_keep_their_spaces_in_bodystructure_and_envelope() -> None:
    found = digest(b'Date: Thu Feb  1 10:00:00 2024\r\nContent-Type: text/plain; name="a  b.txt"\r\n\r\nx\r\n')
    assert b'"a  b.txt"' in found.bodystructure and b'"Thu Feb  1 10:00:00 2024"' in found.envelope
