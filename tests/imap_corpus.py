"""Mails as they come, real-looking and hostile: what IMAP servers are compared on. Each is a name and its octets, the same every time."""

# ruff: noqa: E501 (tables)

from __future__ import annotations

import base64
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP

HEAD = "MIME-Version: 1.0\nFrom: Ann <ann@example.test>\nTo: Alice <alice@example.test>\nDate: Thu, 1 Feb 2024 10:00:00 +0100\n"

ADDRESSES = [
    "plain@example.test", "<angle@example.test>", "Name <a@example.test>", '"Quoted, Name" <a@example.test>', '"a \\"b\\" c\\\\" <a@x.test>',
    "a@x.test (Comment)", "a@x.test (Nested (comment) here)", "a (mid) @ x.test", "(before) a@x.test", "a . b @ x . test", '"a b"@x.test',
    '"a\\"b"@x.test', "a@[192.0.2.1]", "a@[IPv6:2001:db8::1]", "Group: a@x.test, B <b@x.test>;", "Group:;", "undisclosed-recipients:;",
    "Group: a@x.test", "A: a@x.test; B: b@x.test;", "A: a@x.test;, c@x.test", "a@x.test, A: b@x.test;, c@x.test",
    "<@relay.test:a@x.test>", "<@r1.test,@r2.test:a@x.test>", "Route <@r1.test:a@x.test>", "a@x.test,b@x.test", "a@x.test,, b@x.test", ",a@x.test",
    "a@x.test,", "a@x.test; b@x.test", "root", "Just a name", "First Last", "<>", "Empty <>", "a@", "@x.test", "<a@>", "<@x.test>", "<a>", "Name <a>",
    "a@b@x.test", "<a@b@x.test>", "Name <a@x.test", "Name a@x.test>", "Name <<a@x.test>>", '"unclosed <a@x.test>', "Name (unclosed <a@x.test>",
    "=?utf-8?Q?D=C3=A9j=C3=A0?= <a@x.test>", "=?utf-8?B?w4ljb2xl?= =?utf-8?B?IG5ldmU=?= <a@x.test>", '"=?utf-8?Q?in_quotes?=" <a@x.test>',
    "=?utf-8?Q?a=40x=2Etest?=", "J. R. R. Tolkien <j@x.test>", "Dr. X <x@x.test>", "a.b.c@x.test", ".a@x.test", "a.@x.test", "a..b@x.test",
    "Name\t<a@x.test>", "Two  Spaces <a@x.test>", '"Two  Spaces" <a@x.test>', "Name <a@x.test> trailing", "Name<a@x.test>", "a@x.test <b@x.test>",
    "user%host@x.test", "a+b=c@x.test", "O'Neil <o@x.test>", "(only a comment)", "", " ", "a@x.test (c1) (c2)", "<a@x.test> (c)", "N (c) <a@x.test>",
    "\n Folded\n <a@x.test>,\n\tb@x.test", "Group: A (c) <a@x.test>, \"B; b\" <b@x.test>; (after)", "A@X.TEST", "a@xn--bcher-kva.test",
    ":a@x.test", "Name: <a@x.test>", ";", ",", "<", ">", "@", '"', "(", "\\", "a\\@b@x.test", "[a]@x.test", "a@[unclosed", "a@x.test]",
    '"" <a@x.test>', '""@x.test', 'A "B" C <a@x.test>', 'A"B"C <a@x.test>', "a@x..test", "a@-x.test", "a@x.test.", "mailto:a@x.test", "Name <mailto:a@x.test>",
]  # fmt: skip

TYPES = [
    "text/plain", "TEXT/PLAIN", "text", "text/", "/plain", "", ";", "text/plain;", "text/plain; charset", "text/plain; charset=",
    'text/plain; charset=""', "text/plain; charset=utf-8; charset=latin1", "text/plain; CHARSET=UTF-8", 'text/plain; charset="utf-8', "text/plain;charset=utf-8;format=flowed",
    "text/plain; charset = utf-8", "text/plain; charset=utf-8 (comment)", "text/plain (comment); charset=utf-8", "text / plain; charset=utf-8",
    "text/plain charset=utf-8", 'text/plain; name="a b.txt"', 'text/plain; name="a\\"b.txt"', "text/plain; name=a b.txt", "text/plain; name*=utf-8''d%C3%A9j%C3%A0.txt",
    "text/plain; name*0=a; name*1=b; name*2=c", "text/plain; name*0*=utf-8''d%C3%A9; name*1*=j%C3%A0; name*2=.txt", "text/plain; name*1=b; name*0=a", "text/plain; name*0=a; name*2=c",
    "text/plain; name*00=a; name*01=b", "text/plain; name*=unknown'x'%ff", "text/plain; name*=no-ticks", "text/plain; name=plain; name*=utf-8''starred",
    'text/plain; name="=?utf-8?Q?caf=C3=A9.txt?="', "text/plain; name==?utf-8?Q?caf=C3=A9.txt?=", "text/html", "TeXt/HtMl; charset=x-lie", "application/pdf; name=x.pdf", "application/octet-stream",
    "image/png", "audio/x-wav", "message/partial; id=1; number=1; total=2", "message/external-body; access-type=URL; URL=http://x.test", "message/delivery-status", "x-unknown/y",
    "text/plain; a=b; c=d; e=f; g=h", "text/plain; =x", "text/plain; a=;b=c", "text/plain;;;charset=utf-8", "text/plain; charset=utf-8,x", "multipart/mixed", 'multipart/mixed; boundary=""',
    "multipart/mixed; boundary", "message/rfc822", "message/rfc822; x=y", "text/plain; charset=\n utf-8", "text/plain;\n\tcharset=utf-8;\n\tname=x", "text/plain; charset='utf-8'", "text/plain; a\tb=c",
    "text/plain; name=" + "x" * 2000, 'text/plain; name="' + "y " * 600 + '"', "text/calendar; method=REQUEST", "text/x.y+z-1", "te xt/plain", "text/pl ain", "text/plain/extra",
]  # fmt: skip

DATES = [
    "Thu, 1 Feb 2024 10:00:00 +0100", "1 Feb 2024 10:00:00 +0100", "1 Feb 24 10:00 GMT", "Thu, 01 Feb 2024 10:00:00 EST", "Thu, 1 Feb 2024 10:00:00 -0000", "Thu, 1 Feb 2024 23:59:60 +0000",
    "Thu, 1 Feb 2024 10:00:00", "Thu, 1 Feb 2024 10:00:00 +0100 (CET)", "Thu,1 Feb 2024 10:00:00 +0100", "thu, 1 feb 2024 10:00:00 +0100", "Thu Feb  1 10:00:00 2024", "2024-02-01T10:00:00Z",
    "31 Feb 2024 10:00:00 +0000", "1 Feb 1969 10:00:00 +0000", "1 Feb 2050 10:00:00 +0000", "1 Feb 99 10:00:00 +0000", "1 Feb 49 10:00:00 +0000", "1 Feb 124 10:00:00 +0000", "32 Feb 2024 10:00:00 +0000",
    "1 Feb 2024 25:00:00 +0000", "1 Feb 2024 23:30:00 -0800", "1 Feb 2024 00:30:00 +0900", "1 Feb 2024 10:00:00 +9999", "1 Feb 2024 10:00:00 Z", "1 Feb 2024 10:00:00 A", "", "yesterday", "Thu, 1 Feb 2024",
    "Thu, 1 (first) Feb 2024 10:00:00 +0100", "1 Feb 2024\n 10:00:00 +0100", "1 Xyz 2024 10:00:00 +0000", "29 Feb 2023 10:00:00 +0000", "29 Feb 2024 10:00:00 +0000",
]  # fmt: skip

SUBJECTS = [
    "plain", "", " ", "  leading and trailing  ", "two  spaces", "tab\there", "folded\n once", "folded\n\ttab\n  spaces", "=?utf-8?Q?D=C3=A9jeuner?=", "=?UTF-8?B?RMOpamV1bmVy?=", "=?utf-8?Q?a?= =?utf-8?Q?b?=",
    "=?utf-8?Q?a?=\n =?utf-8?Q?b?=", "=?utf-8?Q?broken", "=?nonsense?Q?x?=", "=?utf-8?X?x?=", "=?utf-8*fr?Q?d=C3=A9j?=", "=?iso-8859-1?Q?caf=E9?=", "=?utf-8?Q?caf=E9?=", "=?utf-8?B?not base64!?=", 'with "quotes"', "back\\slash",
    "percent % %s %d", "{5}", "NIL", "(paren", "\x01control\x02", "very long " + "word " * 300, "x" * 3000, "=?utf-8?Q?=00?=", "a:b", ": colon", "emoji =?utf-8?B?8J+OiQ==?=", "\n folded from the start", "end folded\n ",
]  # fmt: skip


def crlf(text: str | bytes) -> bytes:
    """The octets with CRLF line ends."""
    octets = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def fields() -> Iterator[tuple[str, bytes]]:
    """One mail for each oddity of a field."""
    for number, address in enumerate(ADDRESSES):
        where = ("From", "To", "Cc", "Reply-To", "Sender", "Bcc")[number % 6]
        yield f"{where}: {address}", crlf(f"{where}: {address}\nSubject: s\n\nbody\n")
    for number, value in enumerate(TYPES):
        encoding = ("7bit", "BASE64", "quoted-printable", "8bit (comment)", "x-uue", "")[number % 6]
        yield f"type {value[:60]}", crlf(f"{HEAD}Content-Type: {value}\nContent-Transfer-Encoding: {encoding}\n\nline one\nline two\n")
        yield f"disposition {value[:60]}", crlf(f"{HEAD}Content-Type: text/plain\nContent-Disposition: {value.replace('text/plain', 'attachment')}\n\nx\n")
    for value in DATES:
        yield f"date {value}", crlf(f"From: a@x.test\nDate: {value}\nSubject: d\n\nx\n")
    for value in SUBJECTS:
        yield f"subject {value[:40]}", crlf(f"From: a@x.test\nSubject: {value}\nMessage-ID: <{abs(len(value))}@x.test>\n\nx\n")


def multipart(boundary: str, *parts: str, preamble: str = "", epilogue: str = "", closing: str = "--", subtype: str = "mixed") -> str:
    """A multipart with its header."""
    body = "".join(f"--{boundary}\n{part}\n" for part in parts)
    return f'Content-Type: multipart/{subtype}; boundary="{boundary}"\n\n{preamble}{body}--{boundary}{closing}\n{epilogue}'


TEXT = "Content-Type: text/plain\n\ntext\n"
HTML = "Content-Type: text/html; charset=utf-8\n\n<p>html</p>\n"
PDF = (
    'Content-Type: application/pdf; name="r.pdf"\nContent-Disposition: attachment; filename="r.pdf"; size=12\n'
    "Content-Transfer-Encoding: base64\nContent-ID: <cid@x>\nContent-Description: a report\nContent-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\n"
    "Content-Language: fr, en\nContent-Location: http://x.test/r.pdf\n\nJVBERi0xLjQK\n"
)


def nested(depth: int, kind: str = "mixed") -> str:
    """Multiparts within each other, a text in the middle."""
    text = TEXT
    for level in range(depth):
        text = multipart(f"b{level:03}", text, subtype=kind)
    return text


def wrapped(depth: int) -> str:
    """Messages within each other."""
    text = "Subject: innermost\nFrom: deep@x.test\n\ndeep\n"
    for level in range(depth):
        text = f"Subject: level {level}\nFrom: l{level}@x.test\nContent-Type: message/rfc822\n\n{text}"
    return text


def structures() -> Iterator[tuple[str, str]]:
    """What a MIME reader has to make sense of, with LF line ends."""
    inner = "From: in@x.test\nSubject: inner\nDate: 1 Jan 2024 00:00:00 +0000\n\ninner text\n"
    yield "two halves", HEAD + multipart("b", TEXT, HTML, subtype="alternative")
    yield "attachment", HEAD + multipart("b", TEXT, PDF)
    yield "preamble and epilogue", HEAD + multipart("b", TEXT, preamble="This is MIME\n", epilogue="behind\nit\n")
    yield "no closing", HEAD + multipart("b", TEXT, HTML, closing="")[:-4]
    yield "no parts", HEAD + 'Content-Type: multipart/mixed; boundary="b"\n\nonly a preamble\n'
    yield "empty multipart", HEAD + 'Content-Type: multipart/mixed; boundary="b"\n\n--b--\n'
    yield "no body", HEAD + 'Content-Type: multipart/mixed; boundary="b"\n\n'
    yield "part without header", HEAD + multipart("b", "\nno header\n", "\n\n")
    yield "part without empty line", HEAD + multipart("b", "Content-Type: text/html", TEXT)
    yield "part of nothing", HEAD + 'Content-Type: multipart/mixed; boundary="b"\n\n--b\n--b\n--b--\n'
    yield "header runs into delimiter", HEAD + 'Content-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: text/html\n--b\n\nx\n--b--\n'
    yield "boundary is prefix", HEAD + multipart("outer", multipart("outer-in", TEXT, HTML), PDF)
    yield "boundary is longer", HEAD + multipart("bb", multipart("b", TEXT, HTML), PDF)
    yield "same boundary inside", HEAD + multipart("b", multipart("b", TEXT, HTML), PDF)
    yield "inner not closed", HEAD + multipart("o", multipart("i", TEXT, HTML, closing="")[:-5], PDF)
    yield "inner closes outer first", HEAD + 'Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\na\n--o--\n--i--\n'
    yield "delimiter with spaces", HEAD + 'Content-Type: multipart/mixed; boundary="b"\n\n--b  \t\n\na\n--b--  \nend\n'
    yield "delimiter like", HEAD + multipart("b", "\n--bx\n--b-\n --b\n-- b\n---b\ntext\n")
    yield "boundary with spaces", HEAD + multipart("a b c", TEXT, HTML)
    yield "boundary of 70", HEAD + multipart("x" * 70, TEXT, HTML)
    yield "boundary of 100", HEAD + multipart("y" * 100, TEXT, HTML)
    yield "boundary with =?:()/,", HEAD + multipart("=_?:(/),'+.", TEXT, HTML)
    yield "boundary unquoted", HEAD + "Content-Type: multipart/mixed; boundary=b=1\n\n--b=1\n\na\n--b=1--\n"
    yield "boundary in 2231 pieces", HEAD + "Content-Type: multipart/mixed; boundary*0=ab; boundary*1=cd\n\n--abcd\n\na\n--abcd--\n"
    yield "boundary twice", HEAD + "Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--a\n\nfirst\n--b\n\nsecond\n--a--\n"
    yield "two content types", HEAD + "Content-Type: text/html\nContent-Type: multipart/mixed; boundary=a\n\n--a\n\nfirst\n--a--\n"
    yield "multipart in base64", HEAD + "Content-Transfer-Encoding: base64\n" + multipart("b", TEXT)
    yield "related", HEAD + multipart("b", HTML, PDF, subtype="related")
    yield "signed", HEAD + multipart("b", TEXT, "Content-Type: application/pgp-signature; name=s.asc\n\nsig\n", subtype=["signed", " micalg=pgp-sha256", ' protocol="application/pgp-signature"'][0])
    yield "report", HEAD + multipart("b", TEXT, "Content-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nFinal-Recipient: rfc822; a@x\nAction: failed\n", "Content-Type: text/rfc822-headers\n\nSubject: s\n", subtype="report")
    yield "digest", HEAD + multipart("b", "\n" + inner, "\n" + inner, subtype="digest")
    yield "digest with type", HEAD + multipart("b", "Content-Type: text/plain\n\n" + inner, subtype="digest")
    yield "forwarded", HEAD + multipart("b", TEXT, "Content-Type: message/rfc822\n\n" + inner)
    yield "forwarded, header only", HEAD + multipart("b", "Content-Type: message/rfc822\n\nSubject: only a header\n\n")
    yield "forwarded, header without end", HEAD + multipart("b", "Content-Type: message/rfc822\n\nSubject: no end")
    yield "forwarded, empty", HEAD + multipart("b", "Content-Type: message/rfc822\n\n")
    yield "forwarded, nothing", HEAD + multipart("b", "Content-Type: message/rfc822")
    yield "forwarded multipart", HEAD + multipart("b", "Content-Type: message/rfc822\n\nSubject: in\n" + multipart("i", TEXT, HTML), PDF)
    yield "forwarded multipart unclosed", HEAD + multipart("b", "Content-Type: message/rfc822\n\nSubject: in\n" + multipart("i", TEXT, HTML, closing="")[:-4], PDF)
    yield "forwarded in base64", HEAD + multipart("b", "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + base64.b64encode(inner.encode()).decode() + "\n")
    yield "message in message", wrapped(2)
    yield "message in message, ten", wrapped(10)
    yield "message at the top holds multipart", "Subject: o\nContent-Type: message/rfc822\n\nSubject: i\n" + multipart("b", TEXT, "Content-Type: message/rfc822\n\nSubject: ii\n" + multipart("c", HTML, PDF))
    yield "rfc822 in rfc822 in part", HEAD + multipart("b", "Content-Type: message/rfc822\n\nContent-Type: message/rfc822\nSubject: one\n\n" + inner, TEXT)
    yield "message/global", HEAD + multipart("b", "Content-Type: message/global\n\n" + inner)
    for depth in (2, 3, 10, 30, 45):
        yield f"{depth} multiparts deep", HEAD + nested(depth)
    yield "mixed of related of alternative", HEAD + multipart("m", multipart("r", multipart("a", TEXT, HTML, subtype="alternative"), PDF, subtype="related"), PDF)
    yield "many parts", HEAD + multipart("b", *[TEXT] * 60)
    yield "charset lie", HEAD + "Content-Type: text/plain; charset=utf-8\n\nna\udcefve caf\udce9\n"
    yield "8-bit without a word", HEAD + "\ncafé naïve\n"
    yield "uuencode", HEAD + "Content-Transfer-Encoding: x-uuencode\n\nbegin 644 a.txt\n#0V%T\n`\nend\n"
    yield "empty lines before delimiter", HEAD + multipart("b", "\n\n\n\ntext\n\n\n", "\n\n")
    yield "delimiter at once", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\na\n--b--"
    yield "delimiter in the header", "Content-Type: multipart/mixed; boundary=b\n--b\nSubject: x\n\n--b\n\na\n--b--\n"


def headers() -> Iterator[tuple[str, str]]:
    """Header blocks that are not quite what RFC 5322 has in mind, with LF line ends."""
    yield "header only", "From: a@x.test\nSubject: header only\n"
    yield "header without line end", "From: a@x.test\nSubject: cut off"
    yield "header and an empty line", "From: a@x.test\nSubject: x\n\n"
    yield "body only", "\nbody only\n"
    yield "one empty line", "\n"
    yield "one letter", "x"
    yield "text without a header", "no header at all\nreally\n"
    yield "line without a colon", "From: a@x.test\nnonsense line\nSubject: after nonsense\n\nbody\n"
    yield "folded first line", " folded first\nFrom: a@x.test\nSubject: s\n\nbody\n"
    yield "space before the colon", "From : a@x.test\nSubject\t: spaced\nDate: 1 Feb 2024 10:00:00 +0000\n\nbody\n"
    yield "no space after the colon", "From:a@x.test\nSubject:tight\n\nbody\n"
    yield "space in a name", "From: a@x.test\nBad Name: x\nSubject: s\n\nbody\n"
    yield "mbox line", "From someone Thu Feb  1 10:00:00 2024\nFrom: a@x.test\nSubject: mbox\n\nbody\n"
    yield "mbox line quoted", ">From someone Thu Feb  1 10:00:00 2024\nFrom: a@x.test\nSubject: mbox\n\nbody\n"
    yield "empty name", ": nothing\nFrom: a@x.test\nSubject: s\n\nbody\n"
    yield "white line in the header", "From: a@x.test\n \nSubject: after white\n\nbody\n"
    yield "white line folded", "From: a@x.test\nX-A: 1\n \t \n more\nSubject: s\n\nbody\n"
    yield "duplicates", "".join(f"{name}: {value}\n" for name, value in [
        ("From", "a@x.test"), ("From", "b@x.test"), ("To", "c@x.test"), ("To", "d@x.test"), ("Subject", "one"), ("Subject", "two"), ("Date", "1 Feb 2024 10:00:00 +0000"),
        ("Date", "2 Feb 2024 10:00:00 +0000"), ("Message-ID", "<1@x>"), ("Message-ID", "<2@x>"), ("In-Reply-To", "<3@x>"), ("In-Reply-To", "<4@x>"), ("Cc", "e@x.test"), ("Cc", "f@x.test"),
        ("Sender", "g@x.test"), ("Sender", "h@x.test"), ("Reply-To", "i@x.test"), ("Reply-To", "j@x.test"), ("Content-Type", "text/html"), ("Content-Type", "text/plain"),
        ("Content-Transfer-Encoding", "7bit"), ("Content-Transfer-Encoding", "8bit"), ("Content-Disposition", "inline"), ("Content-Disposition", "attachment"),
    ]) + "\nbody\n"
    yield "duplicate from, one empty", "From:\nFrom: b@x.test\nTo: \nTo: c@x.test\nSubject:\nSubject: two\n\nbody\n"
    yield "8-bit header", "From: Ren\u00e9 <rene@x.test>\nTo: \u53f0\u5317 <t@x.test>\nSubject: D\u00e9jeuner \u00e0 midi\n\nbody\n"
    yield "8-bit header in Latin 1", "From: Ren\udce9 <rene@x.test>\nSubject: D\udce9jeuner\nContent-Type: text/plain; name=caf\udce9.txt\n\nbody\n"
    yield "many received", "".join(f"Received: from h{n} by h{n + 1};\n Thu, 1 Feb 2024 10:00:{n:02} +0000\n" for n in range(50)) + HEAD + "\nbody\n"
    yield "references", HEAD + "Message-ID: <me@x.test>\nIn-Reply-To: <up@x.test> (comment)\nReferences: <1@x.test>\n <2@x.test>\n\t<3@x.test>\n\nbody\n"
    yield "odd ids", HEAD + "Message-ID: no-brackets\nIn-Reply-To: Your mail of Monday <x@y>\n\nbody\n"
    yield "ids folded", HEAD + "Message-ID:\n <folded@x.test>\nIn-Reply-To:\n\t<a@x>\n <b@x>\n\nbody\n"
    yield "priorities", HEAD + "X-Priority: 1\nImportance: high\nList-Id: The list <list.x.test>\nX-Empty:\nX-Spaces:   \n\nbody\n"
    yield "mime without version", "Subject: x\nContent-Type: text/html\n\n<p>\n"
    yield "content fields", HEAD + "Content-ID: <c@x>\nContent-Description: described (really)\nContent-MD5: abc\nContent-Language: en\nContent-Location: loc\n\nx\n"
    yield "content fields empty", HEAD + "Content-ID:\nContent-Description:\nContent-MD5:\nContent-Language:\nContent-Location:\nContent-Disposition:\nContent-Transfer-Encoding:\n\nx\n"
    for value in ("en", "en,fr", "en, fr , de", '"en"', "en (English), fr", ",", "en;q=1", "x y"):
        yield f"language {value}", HEAD + f"Content-Language: {value}\n\nx\n"
    for value in ("7BIT", "7bit; x=y", '"base64"', "base64 ", "(c) base64", "base 64", "base64, 7bit", "=?utf-8?Q?x?="):
        yield f"encoding {value}", HEAD + f"Content-Transfer-Encoding: {value}\n\neHg=\n"
    for value in ("attachment", "ATTACHMENT; FILENAME=X", 'attachment; filename="a;b.txt"', "inline; filename*=utf-8'fr'%e2%82%ac.txt", "; filename=x", "attachment; filename=\"\"", "attachment filename=x",
                  "attachment; filename=a b.txt", 'attachment; filename="a\\b.txt"', "(c) attachment; size=1", "attachment; filename=\n x.txt", '"attachment"; filename=x'):
        yield f"disposition: {value}", HEAD + f"Content-Disposition: {value}\n\nx\n"


def octets() -> Iterator[tuple[str, bytes]]:
    """What only octets can say: line ends, long lines, big mails."""
    yield "LF only", b"From: a@x.test\nSubject: unix\n\nline\nline\n"
    yield "mixed ends", b"From: a@x.test\r\nSubject: mixed\n\r\nline\nline\r\n"
    yield "mixed ends of a multipart", b"Subject: m\nContent-Type: multipart/mixed; boundary=b\r\n\n--b\n\r\na\r\n--b\r\n\nb\n--b--\n"
    yield "CR within a line", b"From: a@x.test\r\nSubject: c\rr\r\n\r\nbefore\rafter\r\n"
    yield "CR CR LF", b"From: a@x.test\r\r\nSubject: crcrlf\r\r\n\r\r\nbody\r\r\n"
    yield "CR only", b"From: a@x.test\rSubject: mac\r\rbody\r"
    yield "a line of 5 000", crlf(HEAD) + b"\r\n" + b"x" * 5000 + b"\r\n"
    yield "a line of 100 000", crlf(HEAD) + b"\r\n" + b"0123456789" * 10_000 + b"\r\n"
    yield "a header line of 9 000", b"From: a@x.test\r\nX-Long: " + b"y" * 9000 + b"\r\nSubject: after\r\n\r\nbody\r\n"
    yield "a header of 2 000 fields", b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(2000)) + b"Subject: after\r\n\r\nbody\r\n"
    yield "no line end at the end", crlf(HEAD) + b"\r\nno end"
    yield "dots", crlf(HEAD) + b"\r\n.\r\n..\r\n.x\r\n"
    yield "from lines", crlf(HEAD) + b"\r\nFrom here\r\n>From there\r\n"
    yield "8-bit soup", crlf(HEAD) + b"\r\n" + bytes(range(1, 10)) + bytes(range(14, 256)) + b"\r\n"
    yield "big", crlf(HEAD) + b"\r\n" + b"A line of a long letter, one of many.\r\n" * 20_000


def ordinary() -> Iterator[tuple[str, bytes]]:
    """Letters as Python writes them."""
    for number in range(40):
        mail = EmailMessage(policy=SMTP)
        mail["From"] = f"Person {number} <p{number}@example.test>"
        mail["To"] = "Alice <alice@example.test>" + ", Zoé <zoe@example.test>" * (number % 3)
        mail["Subject"] = ("Rapport", "Déjeuner de vendredi", "Re: project plan", "台北からの手紙", "Facture n° 7")[number % 5] + f" {number}"
        mail["Date"] = f"{['Thu', 'Fri', 'Sat'][number % 3]}, {1 + number % 28:02} Feb 2024 {number % 24:02}:00:00 +0{number % 9}00"
        mail["Message-ID"] = f"<{number}@example.test>"
        if number % 4 == 0:
            mail["In-Reply-To"] = f"<{number - 1}@example.test>"
        mail.set_content(("Good morning.\n", "À demain, je passe vers midi.\n", "word " * 200 + "\n")[number % 3], cte=("7bit", "base64", "quoted-printable")[number % 3])
        if number % 2:
            mail.add_alternative("<p>Bonjour à <b>tous</b></p>\n", subtype="html")
        if number % 5 == 0:
            mail.add_attachment(b"%PDF" * 50, maintype="application", subtype="pdf", filename="rapport été.pdf")
        yield f"ordinary {number}", mail.as_bytes()


def corpus() -> list[tuple[str, bytes]]:
    """All of them, with a name for each."""
    found = [*ordinary(), *fields(), *((name, crlf(text)) for made in (structures(), headers()) for name, text in made), *octets()]
    return [(name, mail) for name, mail in found if mail]
