"""What RFC 3501 promises a client, checked by clients that believe only what they are told, while everything happens at once."""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass, field

import pytest
from imap_house import ALICE, PASSWORD, PLAIN, a_house, a_server, put

NUMBERED = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH)(?: \((.*)\))?\r\n\Z", re.DOTALL)


@dataclass
class World:
    """What all clients together have been told."""

    validity: bytes = b""
    recent: dict[int, object] = field(default_factory=dict)  # uid → the one selection that it was \\Recent in
    stored: set[int] = field(default_factory=set)  # uids that APPEND and COPY have promised
    expunged: set[int] = field(default_factory=set)
    nameless: int = 0  # expunged before anybody was told the uid


class Client:
    """A connection, and the picture that its server has drawn for it."""

    def __init__(self, name: str, world: World, seed: int) -> None:
        self.name, self.world, self.dice = name, world, random.Random(f"{name}{seed}")
        self.uids: list[int | None] = []  # by number; None until it was told
        self.selection: object = None
        self.looks_only = False

    async def connect(self, port: int) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        await self.line()
        await self.ask(f'LOGIN {ALICE} "{PASSWORD}"')
        await self.select("SELECT")

    async def line(self) -> bytes:
        """One line of an answer, its literals included."""
        line = await self.reader.readline()
        while found := re.search(rb"\{(\d+)\}\r\n\Z", line):
            line += await self.reader.readexactly(int(found[1])) + await self.reader.readline()
        assert line.endswith(b"\r\n"), f"{self.name}: hung up"
        return line

    async def ask(self, command: str) -> bytes:
        """Sends a command and takes in what is said; the tagged line."""
        self.writer.write(b"q " + command.encode() + b"\r\n")
        while not (line := await self.line()).startswith(b"q "):
            self.hear(command, line)
        assert not line.startswith(b"q BAD") and b"SERVERBUG" not in line, (command, line)
        for uids in re.findall(rb"\[(?:APPENDUID \d+|COPYUID \d+ [\d:,]+) (\d+)\]", line):
            assert int(uids) not in self.world.stored, "a uid is given once (§2.3.1.1)"
            self.world.stored.add(int(uids))
        return line

    async def select(self, verb: str) -> None:
        """Begins a new picture, and learns all uids in it."""
        self.uids, self.selection, self.looks_only = [], object(), verb == "EXAMINE"
        await self.ask(f"{verb} INBOX")
        if self.uids:
            await self.ask("FETCH 1:* (UID FLAGS)")

    def hear(self, during: str, line: bytes) -> None:
        """Takes an untagged line into the picture, if it may be said at all."""
        if validity := re.search(rb"\[UIDVALIDITY (\d+)\]", line):
            assert self.world.validity in (b"", validity[1]), "the mailbox is still the same one"
            self.world.validity = validity[1]
        if not (said := NUMBERED.fullmatch(line)):
            return
        number, size = int(said[1]), len(self.uids)
        if said[2] == b"EXISTS":
            assert number >= size, f"{during}: messages went without a word (§7.3.1)"
            self.uids += [None] * (number - size)
        elif said[2] == b"EXPUNGE":
            assert not re.match("(FETCH|STORE|SEARCH) ", during), f"EXPUNGE during {during} (§7.4.1)"
            assert 1 <= number <= size
            uid = self.uids.pop(number - 1)
            self.world.expunged |= {uid} if uid else set()
            self.world.nameless += not uid
        else:
            assert 1 <= number <= size, f"{during}: FETCH of {number}, there are {size}"
            if uid := re.search(rb"\bUID (\d+)", said[3]):
                self.learn(number, int(uid[1]), rb"\Recent" in said[3])

    def learn(self, number: int, uid: int, recent: bool) -> None:
        assert self.uids[number - 1] in (None, uid), "a number means another message, and nobody has said so"
        self.uids[number - 1] = uid
        known = [one for one in self.uids if one is not None]
        assert known == sorted(set(known)), "uids ascend with the numbers (§2.3.1.1)"
        if recent and not self.looks_only:  # EXAMINE sees what is recent, and takes it from nobody
            assert self.world.recent.setdefault(uid, self.selection) is self.selection, "recent in one session (§2.3.2)"

    async def something(self) -> None:
        """One command, by chance."""
        number = str(self.dice.randint(1, len(self.uids))) if self.uids else "1:*"
        some = f"{number}:{self.dice.randint(1, len(self.uids))}" if self.uids else "1:*"
        flag, sign, silent = (self.dice.choice(words) for words in (("\\Seen", "\\Flagged", "Work"), "+-", ("", ".SILENT")))
        command = self.dice.choice([
            "NOOP", "NOOP", "SEARCH FLAGGED", "IDLE\r\nDONE", "SELECT", "EXAMINE", "EXPUNGE", "UID EXPUNGE 1:*",
            "FETCH 1:* (UID FLAGS)", "UID FETCH 1:* (FLAGS)", f"FETCH {some} (UID BODY.PEEK[])", f"COPY {number} INBOX",
            *[f"STORE {number} +FLAGS (\\Deleted)"] * 2, f"STORE {some} {sign}FLAGS{silent} ({flag})",
            f"APPEND INBOX {{{len(PLAIN)}+}}\r\n{PLAIN}",
        ])
        if command in ("SELECT", "EXAMINE"):
            await self.select(command)
        elif self.uids or command.startswith(("NOOP", "APPEND", "IDLE")):
            await self.ask(command)


@pytest.mark.parametrize("seed", range(3))
async def test_what_rfc_3501_promises_holds_while_everything_happens_at_once(seed: int) -> None:
    """Four clients, deliveries beside them, no order between them."""
    world = World()
    clients = [Client(name, world, seed) for name in ("one", "two", "three", "four")]
    async with a_house() as house, a_server(house) as server:

        async def live(client: Client) -> None:
            await client.connect(server.addresses()[0][1])
            for _ in range(60):
                await client.something()

        async def deliver() -> None:
            for _ in range(40):
                await put(house, PLAIN)
                await asyncio.sleep(0)

        await asyncio.gather(deliver(), *map(live, clients))
        for client in clients:
            await client.select("SELECT")
        there = clients[0].uids
        assert all(client.uids == there for client in clients)
        lost = world.stored - {*there, *world.expunged}
        assert len(lost) <= world.nameless, "what was stored is there, or somebody was told that it went"
        for client in clients:
            client.writer.close()
