"""Dovecot is asked the same: several hundred mails as they come, several hundred commands, and every difference has its reason here."""

# ruff: noqa: E501 (tables)

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import imap_questions as questions
import pytest
from dovecot import PASSWORD as DOVECOT_PASSWORD
from dovecot import Dovecot
from imap_corpus import corpus
from imap_house import ALICE, PASSWORD, a_client, a_house, a_server, put

from gk.mail.search import Search

Peer = Callable[[str], str]
ARRIVED = 1_700_000_000  # the first mail; one a second
FEW = 45  # mails for the commands that change something

# (what is asked, about which mails ("" for the other lines of an answer), why we answer otherwise)
EXPLAINED: list[tuple[str, str, str]] = [
    # how strictly a command is read
    (r"FETCH .*<0\.0>|FETCH 1 BODY\.PEEK\[]<(5|0\.4294967296)>", ".*", "partial = '<' number '.' nz-number '>', of 32 bits (§9)"),
    (r"(UID )?FETCH (1,|\$|99999999999) UID", ".*", "a set is numbers of 32 bits with commas between them (§9); $ is RFC 5182"),
    (r"FETCH 1:3 \(.*[ ,].*\)|SEARCH (\( SEEN\)|ALL | ALL)|STORE 1 \+FLAGS \(a  b\)|STATUS One \( MESSAGES\)|NOOP ", ".*", "one space, and only where the grammar has one (§9)"),
    (r"FETCH 1 (BODY\[(1\.)?0]|\w+\[1?]|\w+\.(SILENT|X))", ".*", "nothing follows the name of an item, and parts are counted from 1 (§9)"),
    (r"FETCH 1 BINARY\[1]", ".*", "BINARY (RFC 3516) is not offered"),
    (r"ENABLE.*", "", "ENABLE (RFC 5161) is not offered"),
    (r"SEARCH ON (31|0)-Feb-2024", "", "there is no such day"),
    (r'APPEND In (".*"|\(\\Seen\)\{).*', ".*", "there is no such day, hour or zone, and a space before the literal (§9)"),
    (r"SEARCH HEADER (Subject:|\"\") .*", "", "no field can have this name"),
    (r'SEARCH SUBJECT "bad\\escape"', "", "in a quoted string a backslash stands before a quote or a backslash (§9)"),
    (r"STORE 1 \+?FLAGS( a]b| \(a[%*\\]b\))?", ".*", "a flag is an atom, and there is at least a list (§9)"),
    (r'LIST "" \(One Two\)|LIST \* x', "", "LIST takes one name, and a reference without wildcards (§9)"),
    (r"(EXPUNGE|NOOP|CHECK|CLOSE|CAPABILITY|NAMESPACE|SELECT x|ID) ?[1xy]?|ID \(\"a\"\)", "", "nothing follows these commands, and ID takes pairs (§9, RFC 2971)"),
    # flags
    (r"FETCH 1 BODY\[header\.fields \(subject\)]", "ordinary 0", "Dovecot has marked it as read with BODY[0], which we refuse"),
    (r"STORE 1 \+FLAGS \((work WORK|\\Flagged)\)", ".*", "the outcome is said also when nothing has changed (§6.4.6)"),
    (r"STORE 1 \+FLAGS \(\\Seen\)|(UID )?EXPUNGE( 1:\*)?", "", "after EXAMINE we say NO; Dovecot does nothing and says OK"),
    # structure
    (r"FETCH 1:\* BODY.*", "same boundary inside|delimiter like|boundary of 100|boundary unquoted", "which lines end a part: mail/01_mime says how we decide"),
    (r"FETCH 1:\* BODY.*", "forwarded, header without end", "the line break before a delimiter belongs to it (RFC 2046 §5.1.1), also where a header ends there"),
    (r"FETCH 1:\* BODY.PEEK\[(2\.1|1\.1\.1|[1.]{21,})(\.MIME)?]", ".*", "Dovecot takes 1.1 of a text for the text; only a multipart or a message has parts (§6.4.5)"),
    (r"FETCH 1:\* BODY(STRUCTURE)?", "type .*", "a type that is none is text/plain, and of a broken parameter we keep what can be read"),
    (r"FETCH 1:\* BODY(STRUCTURE)?", "encoding .*", "Dovecot shows an encoding that it does not know as 7bit, we show it as it is written"),
    (r"FETCH 1:\* BODYSTRUCTURE", "disposition.*", "of a disposition that is none we show the first word"),
    (r"FETCH 1:\* BODYSTRUCTURE", "duplicates|content fields empty|language .*", "of a field that comes twice we show the first; an empty one is an empty string; a language is not parsed"),
    (r"FETCH 1:\* BODY.PEEK\[1\.HEADER]", "forwarded, empty|forwarded in base64", "a header block without its empty line ends where the message does"),
    (r"FETCH 1:\* BODY.PEEK\[(1\.)?HEADER.FIELDS.*", "type message/.*|header .*|one letter|text without a header|CR .*", "the answer always ends in an empty line; a CR before the line end is part of the value"),
    # envelope
    (r"FETCH 1:\* ENVELOPE", "(From|To|Cc|Bcc|Reply-To|Sender):.*", "addresses that are none: we keep what can be read, and Dovecot says SYNTAX_ERROR and the like"),
    (r"FETCH 1:\* ENVELOPE", "duplicate.*|ids folded|CR only", "of a field that comes twice Dovecot shows the last, and it keeps the white space of a fold"),
    # search
    (r"SEARCH SENT.*", "", "a mail without a readable Date was never sent; for Dovecot it was in 1970. A year of three digits is 1900 and more (RFC 5322 §4.3)"),
    (r'SEARCH CHARSET UTF-8 \w+ "(Déjeuner|a|é|two ? spaces|rapport|inner)"|SEARCH BODY innermost', "", "accents and runs of space do not count, names of attachments and subjects of forwarded mails belong to the body"),
    (r"SEARCH (FROM|TO|CC|BCC) (@|x.test)", "", "Dovecot searches its own MISSING_DOMAIN, and not the addresses that it gave up"),
    # folders
    (r'LIST Two(/Deep)? /.*|L(IST|SUB) .*""', "", "a reference is put before the pattern; the root of every name is empty (§6.3.8)"),
    (r'LSUB "" \*', "", "what is renamed stays subscribed"),
    (r"STATUS INBOX \(MESSAGES RECENT .*\)", "", "what this session has been told to be recent is not recent any more"),
    (r"RENAME Uno Uno", "", "NO, with another code"),
]

TOKEN = re.compile(rb'\s*(?:(\()|(\))|"((?:[^"\\]|\\.)*)"|\{(\d+)\}\r\n|((?:[^\s()"{\[]|\[[^\]]*\])+))', re.DOTALL)
Value = Any  # octets, None for NIL, or a list of values


class Wire:
    """A client that keeps whole answers, and sends a literal when it is asked for it."""

    def __init__(self, port: int, password: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=600)  # slow machines are no failure
        self.file = self.socket.makefile("rb")
        self.file.readline()
        self.ask(f'LOGIN {ALICE} "{password}"')

    def ask(self, command: str | bytes) -> list[bytes]:
        """The lines of an answer, literals included; the tagged one last."""
        octets = b"q " + (command if isinstance(command, bytes) else command.encode()) + b"\r\n"
        waits = re.search(rb"\{\d+\}\r\n", octets)
        self.socket.sendall(octets[: waits.end()] if waits else octets)
        lines = []
        while True:
            line = self.file.readline()
            assert line, f"hung up after {command!r}"
            if line.startswith(b"+ ") and waits:
                self.socket.sendall(octets[waits.end() :])
                continue
            while found := re.search(rb"\{(\d+)\}\r\n\Z", line):
                line += self.file.read(int(found[1])) + self.file.readline()
            lines.append(line)
            if line.startswith(b"q "):
                return lines

    def close(self) -> None:
        self.socket.close()
        self.file.close()


def values(line: bytes) -> list[Value]:
    """The words of an answer: what a string is, not how it is spelled."""
    open_lists: list[list[Value]] = [[]]
    at = 0
    while found := TOKEN.match(line, at):
        at = found.end()
        if found[1]:
            open_lists.append([])
        elif found[2]:
            closed = open_lists.pop()
            open_lists[-1].append(closed)
        elif found[3] is not None:
            open_lists[-1].append(re.sub(rb"\\(.)", rb"\1", found[3]))
        elif found[4]:
            open_lists[-1].append(line[at : at + int(found[4])])
            at += int(found[4])
        else:
            open_lists[-1].append(None if found[5].upper() == b"NIL" else found[5])
    return open_lists[0]


def fetched(lines: list[bytes]) -> dict[int, dict[bytes, Value]]:
    """What an answer says about each message, by item; the order of items and of flags means nothing."""
    found: dict[int, dict[bytes, Value]] = {}
    for line in lines:
        if head := re.match(rb"\* (\d+) FETCH ", line):
            items = values(line[head.end() :])[0]
            cells = {name.upper().replace(b'"', b""): value for name, value in zip(items[::2], items[1::2], strict=True)}
            if b"INTERNALDATE" in cells:  # the zone it is shown in is the server's choice
                cells[b"INTERNALDATE"] = datetime.strptime(cells[b"INTERNALDATE"].decode(), "%d-%b-%Y %H:%M:%S %z").timestamp()
            if b"FLAGS" in cells:
                cells[b"FLAGS"] = sorted(flag for flag in cells[b"FLAGS"] if flag != rb"\Recent")
            found.setdefault(int(head[1]), {}).update(cells)
    return found


def other_lines(lines: list[bytes]) -> list[Value]:
    """The rest of an answer: no words for people, names without attributes, codes that a program acts on."""
    kept: list[Value] = []
    for line in lines:
        if line.startswith(b"q "):
            code = re.search(rb"\[(TRYCREATE|READ-WRITE|READ-ONLY|ALREADYEXISTS|(?:APPEND|COPY)UID \d+)( [^\]]*)?\]", line)
            status = line.split(b" ")[1].strip()
            kept.append((status, code and re.sub(rb" \d+$", b"", code[1]), code and code[2] if status == b"OK" else None))
        elif re.match(rb"\* (LIST|LSUB) ", line):
            kept.append(sorted((word or b"NIL") for word in values(line)[1:] if not isinstance(word, list)))
        elif line.startswith(b"* STATUS "):
            name, numbers = values(line)[2:4]
            kept.append((name.upper() if name.upper() == b"INBOX" else name, dict(zip(numbers[::2], numbers[1::2], strict=True))))
        elif not re.match(rb"\* (\d+ FETCH|\d+ RECENT|OK|FLAGS|ID|CAPABILITY) ?", line):
            kept.append(line.strip())
    return sorted(kept, key=repr)


def differences(asked: str, ours: list[bytes], theirs: list[bytes], names: list[str]) -> Iterator[tuple[str, str, Value, Value]]:
    """(what was asked, the mail or "", our answer, theirs) wherever the two differ."""
    one, other = other_lines(ours), other_lines(theirs)
    if one != other:
        yield asked, "", [line for line in one if line not in other], [line for line in other if line not in one]
    here, there = fetched(ours), fetched(theirs)
    for number in sorted(here.keys() | there.keys()):
        mine, its = here.get(number, {}), there.get(number, {})
        if mine != its:
            only = {name: value for name, value in its.items() if mine.get(name) != value}
            yield asked, names[number - 1], {name: value for name, value in mine.items() if its.get(name) != value}, only


def explanation(asked: str, mail: str) -> int | None:
    """Which entry of EXPLAINED says why."""
    for at, (question, mails, _) in enumerate(EXPLAINED):
        if re.fullmatch(question, asked, re.DOTALL) and re.fullmatch(mails, mail, re.DOTALL):
            return at
    return None


def in_trouble(asked: str, answer: list[bytes]) -> bool:
    """Whether this NO is no answer: nothing forbids reading, so Dovecot could not (seen on a very slow machine)."""
    reading = asked.removeprefix("UID ").startswith(("SEARCH ", "FETCH ", "STATUS "))
    return reading and answer[-1].startswith(b"q NO") and b"BADCHARSET" not in answer[-1]


async def compared(group: list[str], mails: list[tuple[str, bytes]], folder: Path) -> list[tuple[str, str, Value, Value]]:
    """All differences of a row of questions, asked on one connection to each server."""
    found: list[tuple[str, str, Value, Value]] = []

    names = [name for name, _ in mails] + [f"added {number}" for number in range(100)]

    def talk(ours: int, theirs: int) -> None:
        gk, dovecot = Wire(ours, PASSWORD), Wire(theirs, DOVECOT_PASSWORD)
        try:
            for name in ("Archive", "Drafts", "Junk", "Sent", "Trash"):  # ours makes them for everybody
                gk.ask(f"DELETE {name}")
                gk.ask(f"UNSUBSCRIBE {name}")
            for wire in (gk, dovecot):
                wire.ask("SELECT INBOX")
            for asked in group:
                octets = asked.encode("latin-1") if "\xe9" in asked and "{" in asked else asked.encode()
                one, other = gk.ask(octets), dovecot.ask(octets)
                if not in_trouble(asked, other):
                    found.extend(differences(asked, one, other, names))
        finally:
            gk.close()
            dovecot.close()

    async with a_house() as house, a_server(house) as server:
        for number, (_, mail) in enumerate(mails):
            await put(house, mail, internal_date=datetime.fromtimestamp(ARRIVED + number, UTC))
        with Dovecot(folder, [mail for _, mail in mails]) as dovecot:
            await asyncio.to_thread(talk, server.addresses()[0][1], dovecot.port)
    return found


async def unexplained_differences(group: str, mails: list[tuple[str, bytes]], folder: Path) -> list[tuple[str, str, Value, Value]]:
    """The differences that EXPLAINED says nothing about."""
    found = await compared(getattr(questions, group), mails, folder)
    return [difference for difference in found if explanation(*difference[:2]) is None]


@pytest.mark.parametrize("group", ["FETCHES", "SEARCHES", "STORES", "FOLDERS", "COPIES", "APPENDS", "OTHERS"])
async def test_dovecot_gives_the_same_answers(group: str, peer: Peer, tmp_path: Path) -> None:
    peer("dovecot")
    mails = corpus()
    if group not in ("FETCHES", "SEARCHES"):
        mails = mails[:FEW]
    unexplained = await unexplained_differences(group, mails, tmp_path / "dovecot")
    if unexplained:  # what is ours comes again; what Dovecot could not do on a machine that is very slow does not
        again = {difference[:2] for difference in await unexplained_differences(group, mails, tmp_path / "again")}
        unexplained = [difference for difference in unexplained if difference[:2] in again]
    assert not unexplained, "\n".join("\n    ".join(str(part)[:300] for part in difference) for difference in unexplained)


async def test_search_says_the_same_before_the_index_has_caught_up_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question once with nothing indexed, where all texts are looked through, and once with everything."""
    start = Search.start
    monkeypatch.setattr(Search, "start", lambda self: None)
    async with a_house() as house:
        for _, mail in corpus():
            await put(house, mail)
        async with a_client(house, select="INBOX") as client:
            before = [await client(f"q {asked}\r\n".encode()) for asked in questions.SEARCHES]
            start(house.search)
            assert await house.search.indexer.caught_up(600)
            after = [await client(f"q {asked}\r\n".encode()) for asked in questions.SEARCHES]
    assert sum("* SEARCH" in answer for answer in before) > 200
    assert {asked for asked, one, other in zip(questions.SEARCHES, before, after, strict=True) if one != other} == set()
