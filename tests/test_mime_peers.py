"""ENVELOPE, BODY, BODYSTRUCTURE and sections of ordinary mail, beside Dovecot's."""

from __future__ import annotations

import email
import os
import random
import re
import socket
from collections.abc import Iterator
from email import encoders, policy
from email.message import EmailMessage, Message
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from typing import Any

import pytest
from dovecot import PASSWORD, USER, Dovecot, program

from gk.mail.content import decode_body
from gk.mail.digest import digest
from gk.mail.mime import filename_of, parse, with_crlf
from gk.mail.structure import load_rows, section

HEAD = """From: "Léa M." <lea@example.test>
To: Bob <bob@example.test>, carol@example.test (Carol), team: dave@example.test, "E, F" <e@example.test>;, root
Cc: =?utf-8?q?Ren=C3=A9?= =?utf-8?q?e?= <renee@example.test>
Subject: =?utf-8?q?R=C3=A9union?=
 de   demain "matin"
Date: Fri, 05 Jan 2024 08:30:00 +0100 (CET)
Message-ID: <2@example.test>
In-Reply-To: <1@example.test>
MIME-Version: 1.0
"""

MAILS = {
    "plain": HEAD + "\nBonjour\n",
    "no headers at all": "\nBonjour\n",
    "no body": "From: a@b.test\nSubject: x\n",
    "two empty lines": "From: a@b.test\n\n\n\n",
    "undisclosed": "From: a@b.test\nTo: undisclosed-recipients:;\nSender: s@b.test\nReply-To: Bob <r@b.test>\n\nx\n",
    "routes and literals": "From: <@r1,@r2:u@h.test>\nTo: a@[192.0.2.1], \"a b\"@x.test, Dr. John Q. Public <d@x.test>\n\nx\n",
    "charset": HEAD + """Content-Type: Text/HTML; Charset="UTF-8"; format=flowed
Content-Transfer-Encoding: Quoted-Printable

<p>=C3=A9</p>
""",
    "no charset": HEAD + 'Content-Type: text/plain; name="x.txt"\n\nx\n',
    "mixed": HEAD + """Content-Type: multipart/mixed; boundary="=_b"

preamble
--=_b
Content-Type: multipart/alternative; boundary="=_b-in"

--=_b-in
Content-Type: text/plain; charset=utf-8

one
two
--=_b-in
Content-Type: text/html; charset=utf-8
Content-Language: fr, en

<p>one</p>

--=_b-in--
--=_b
Content-Type: image/png; name="p.png"
Content-Disposition: attachment; filename*0="long "; filename*1="name.png"; size=12
Content-Transfer-Encoding: base64
Content-ID: <cid@x>
Content-Description: a picture
Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==
Content-Location: http://example.test/p.png

aGVsbG8=
--=_b--
epilogue
""",
    "forwarded": HEAD + """Content-Type: multipart/mixed; boundary=b

--b

intro
--b
Content-Type: message/rfc822
Content-Disposition: inline

From: Inner <inner@example.test>
Subject: inside
Content-Type: multipart/mixed; boundary=c

--c
Content-Type: text/plain

in one
--c
Content-Type: message/rfc822

Subject: innermost

text
--c--

--b--
""",
    "digest": HEAD + """Content-Type: multipart/digest; boundary=d

--d

From: one@example.test
Subject: one

first
--d

Subject: two

second

--d--
""",
    "message as body": HEAD + "Content-Type: message/rfc822\n\nSubject: inside\n\nx\n",
    "unclosed multipart": HEAD + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nx\n",
    "empty multipart": HEAD + "Content-Type: multipart/mixed; boundary=b\n\nnothing\n",
    "empty part": HEAD + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b\nContent-Type: text/plain\n\n--b--\n",
    "report": HEAD + """Content-Type: multipart/report; report-type=delivery-status; boundary=r

--r

It failed.
--r
Content-Type: message/delivery-status

Reporting-MTA: dns; example.test

Final-Recipient: rfc822; x@example.test
Action: failed
--r
Content-Type: text/rfc822-headers

Subject: what failed
--r--
""",
    "8-bit": HEAD.replace("=?utf-8?q?R=C3=A9union?=", "Réunion") + 'Content-Type: text/plain; charset=utf-8; name="é.txt"\n\né\n',
    "comments": HEAD + "Content-Type: text/plain (plain); charset=us-ascii (so)\nContent-Transfer-Encoding: 8bit (eight)\n\nx\n",
    "spaces": "Subject:    many   spaces\ttab   \nFrom:   Bob    B   <b@x.test>\nContent-Type:text/html;charset=utf-8\n\nx\n",
}  # fmt: skip


def written_by_python() -> Iterator[tuple[str, bytes]]:
    """The same shapes as EmailMessage writes them."""
    for number in range(4):
        mail = EmailMessage(policy=policy.SMTP)
        mail["From"], mail["To"], mail["Subject"] = "Léa <lea@example.test>", "bob@example.test", "Été " * (number * 20 + 1)
        mail.set_content("Bonjour à tous\n" * 5)
        if number > 0:
            mail.add_alternative("<p>Bonjour à tous</p>", subtype="html")
        if number > 1:
            mail.add_attachment(b"\x89PNG" * 50, maintype="image", subtype="png", filename="l'été.png")
        if number > 2:
            inner = EmailMessage(policy=policy.SMTP)
            inner["Subject"] = "inside"
            inner.set_content("inner")
            mail.add_attachment(inner)
        yield f"python {number}", mail.as_bytes()


LEAVES = [
    ("text", "plain", "Bonjour à tous\n> cité\n"), ("text", "html", "<p>Bonjour</p>"), ("text", "plain", "日本語\n" * 20),
    ("text", "plain", ""), ("application", "pdf", "%PDF-1.4"), ("image", "png", "\x89PNG"),
    ("text", "calendar", "BEGIN:VCALENDAR\n"),
]  # fmt: skip
NAMES = ["", "plan.pdf", "l'été prochain.pdf", "日本.txt", 'a "b" c;d=e.txt', "x" * 120 + ".bin", "sans extension"]
KINDS = ["mixed", "alternative", "related", "report", "signed", "x-unknown"]


def leaf(chance: random.Random) -> Message:
    """A part with a name, an encoding and a disposition, some of them odd."""
    kind, subtype, text = chance.choice(LEAVES)
    part = Message()
    part.add_header("Content-Type", f"{kind}/{subtype}", **({"charset": "utf-8"} if kind == "text" else {}))
    part.set_payload(text.encode("utf-8"))
    chance.choice([encoders.encode_base64, encoders.encode_quopri, encoders.encode_7or8bit])(part)
    name = chance.choice(NAMES)
    if name:
        value = name if name.isascii() else ("utf-8", "", name)
        part.add_header("Content-Disposition", chance.choice(["attachment", "inline"]), filename=value)
    if chance.random() < 0.3:
        part["Content-ID"] = f"<{chance.randrange(1000)}@x>"
    return part


def tree(chance: random.Random, depth: int) -> Message:
    """A part, or several in a multipart, or a whole mail in a message/rfc822."""
    if depth == 0 or chance.random() < 0.4:
        return leaf(chance)
    if chance.random() < 0.2:
        inner = tree(chance, depth - 1)
        inner["Subject"] = "=?utf-8?q?int=C3=A9rieur?="
        return MIMEMessage(inner)
    whole = MIMEMultipart(chance.choice(KINDS), boundary=f"=_{chance.randrange(10**9)}")
    for _ in range(chance.randrange(1, 4)):
        whole.attach(tree(chance, depth - 1))
    return whole


def generated(seed: int) -> bytes:
    """A mail that the standard library writes and reads."""
    chance = random.Random(seed)
    mail = tree(chance, 4)
    mail["From"], mail["To"] = "Bob <bob@example.test>", ", ".join(f"p{n}@example.test" for n in range(chance.randrange(1, 9)))
    mail["Subject"] = chance.choice(["Plan", "=?utf-8?b?w6l0w6k=?= et plus", "a" * 200])
    return mail.as_bytes(policy=policy.compat32.clone(linesep="\r\n"))


GENERATED = {f"generated {seed}": generated(seed) for seed in range(60)}


@pytest.mark.parametrize("name", GENERATED)
def test_parts_agree_with_the_standard_library(name: str) -> None:
    theirs = list(email.message_from_bytes(GENERATED[name]).walk())
    message = parse(GENERATED[name])
    assert [part.type for part in message.parts] == [part.get_content_type() for part in theirs]
    for ours, other in zip(message.parts, theirs, strict=True):
        if not other.is_multipart():
            assert decode_body(message, ours) == other.get_payload(decode=True)
            assert filename_of(ours) == (other.get_filename() or "")


CORPUS = {name: with_crlf(text.encode()) for name, text in MAILS.items()} | dict(written_by_python())
CORPUS |= dict(list(GENERATED.items())[:30])


@pytest.fixture(scope="module")
def dovecot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dovecot]:
    if program() is None:
        message = "dovecot is not installed (Debian: dovecot-imapd)"
        pytest.fail(message) if os.environ.get("REQUIRE_PEERS") == "1" else pytest.skip(message)
    with Dovecot(tmp_path_factory.mktemp("dovecot"), CORPUS.values()) as running:
        yield running


class Connection:
    """Sends a command, gives back all bytes up to the tagged answer."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.file = self.socket.makefile("rb")
        self.file.readline()

    def command(self, text: str) -> bytes:
        self.socket.sendall(f"t {text}\r\n".encode())
        answer = b""
        while True:
            line = self.file.readline()
            if line.startswith(b"t "):
                assert line.startswith(b"t OK"), line
                return answer
            answer += line
            while found := re.search(rb"\{(\d+)\}\r\n$", line):
                answer += self.file.read(int(found[1]))
                line = self.file.readline()
                answer += line


def read(data: bytes) -> list[Any]:
    """IMAP data as nested lists of bytes and None."""
    stack: list[list[Any]] = [[]]
    at = 0
    while at < len(data):
        if found := re.compile(rb'"((?:[^"\\]|\\.)*)"', re.S).match(data, at):
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", found[1]))
            at = found.end()
        elif found := re.compile(rb"\{(\d+)\}\r\n").match(data, at):
            at = found.end() + int(found[1])
            stack[-1].append(data[found.end() : at])
        elif found := re.compile(rb"[^\s()\"{]+").match(data, at):
            stack[-1].append(None if found[0] == b"NIL" else found[0])
            at = found.end()
        else:
            if data[at : at + 1] == b"(":
                stack.append([])
            elif data[at : at + 1] == b")":
                done = stack.pop()
                stack[-1].append(done)
            at += 1
    assert len(stack) == 1, data
    return stack[0]


def fetched(connection: Connection, number: int, items: str) -> dict[bytes, Any]:
    """One FETCH answer as a dictionary."""
    answer = read(connection.command(f"FETCH {number} ({items})"))
    pairs = next(item for item in answer if isinstance(item, list))
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


@pytest.fixture(scope="module")
def connection(dovecot: Dovecot) -> Connection:
    made = Connection(dovecot.port)
    made.command(f'LOGIN {USER} "{PASSWORD}"')
    made.command("SELECT INBOX")
    return made


@pytest.mark.parametrize("name", CORPUS)
def test_structures_agree_with_dovecot(connection: Connection, name: str) -> None:
    number, data = list(CORPUS).index(name) + 1, CORPUS[name]
    theirs, ours = fetched(connection, number, "RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE"), digest(data)
    assert theirs[b"RFC822.SIZE"] == b"%d" % ours.size
    assert read(ours.envelope) == [theirs[b"ENVELOPE"]]
    assert read(ours.body) == [theirs[b"BODY"]]
    assert read(ours.bodystructure) == [theirs[b"BODYSTRUCTURE"]]


@pytest.mark.parametrize("name", CORPUS)
def test_sections_agree_with_dovecot(connection: Connection, name: str) -> None:
    number, data = list(CORPUS).index(name) + 1, CORPUS[name]
    parts = digest(data).parts
    specs = ["", "HEADER", "TEXT"]
    multiparts, empty = set(), set()
    for row in load_rows(parts):
        if not row.number.endswith("TEXT"):
            specs += [row.number, f"{row.number}.MIME"]
        if row.type.startswith("multipart/"):
            multiparts.add(row.number)
        if row.body_start == row.body_end:
            empty.add(f"{row.number}.MIME")
        if row.type == "message/rfc822":
            specs += [f"{row.number}.HEADER", f"{row.number}.TEXT"]
    for spec in specs:
        answer = connection.command(f"FETCH {number} (BODY.PEEK[{spec}])")
        found = re.search(rb"\] (?:\{(\d+)\}\r\n|NIL|\"(.*)\")", answer)
        assert found, answer
        theirs = answer[found.end() : found.end() + int(found[1])] if found[1] else found[2] or b""
        start, end = section(parts, spec) or (0, 0)
        ours = data[start:end]
        if spec in multiparts:  # the last line break belongs to the delimiter after it (RFC 2046 §5.1.1), Dovecot counts it in
            ours, theirs = ours.removesuffix(b"\r\n"), theirs.removesuffix(b"\r\n")
        if spec in empty:  # there Dovecot gives the empty line after the header to the delimiter
            ours, theirs = ours.rstrip(b"\r\n"), theirs.rstrip(b"\r\n")
        assert ours == theirs, spec
