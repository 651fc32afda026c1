"""What the IMAP tests share: a small house to talk to, and dialogues as text."""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from gk.core.config import Settings
from gk.imap.dialogue import PASSWORD, Dialogue, House
from gk.imap.server import HANDLERS, ImapServer

CLOCK = 1_700_000_000.0
ALICE, BOB = "alice@example.test", "bob@example.test"
PLAIN = "From: Bob <bob@example.test>\r\nTo: Alice <alice@example.test>\r\nSubject: Hello\r\n\r\nGood morning.\r\n"


@functools.cache
def _template() -> dict[str, bytes]:
    """The files of a furnished house, made once a process: hashing two passwords takes its time."""
    import asyncio
    import threading

    folder = Path(tempfile.mkdtemp(prefix="gk-imap-"))

    async def furnish() -> None:
        house = await House(folder, clock=lambda: CLOCK).furnish()
        await house.close()

    thread = threading.Thread(target=lambda: asyncio.run(furnish()))  # a test's loop may be running in this one
    thread.start()
    thread.join()
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shutil.rmtree(folder)
    return files


@contextlib.asynccontextmanager
async def a_house(**settings: object) -> AsyncIterator[House]:
    """Alice and Bob in a folder of their own, with a clock that stands still."""
    folder = Path(tempfile.mkdtemp(prefix="gk-imap-"))
    try:
        for name, octets in _template().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(octets)
        house = House(folder, Settings(data=folder, **settings), clock=lambda: CLOCK)
        await house.hub.start()
        house.search.start()
        try:
            yield house
        finally:
            await house.close()
    finally:
        shutil.rmtree(folder)


@contextlib.asynccontextmanager
async def a_client(house: House, login: str = ALICE, select: str = "", **where: object) -> AsyncIterator[Dialogue]:
    """A client made of text, signed in unless `login` is empty, with a mailbox open if one is named."""
    client = Dialogue(house.services, HANDLERS, **where)
    await client("z0 NOOP")
    if login:
        assert "z1 OK" in await client(f'z1 LOGIN {login} "{PASSWORD}"')
    if select:
        assert "z2 OK" in await client(f"z2 SELECT {select}")
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def a_server(house: House, **settings: object) -> AsyncIterator[ImapServer]:
    """The listeners of a house, on ports of their own."""
    from gk.core.certificates import load_or_make

    imap = {"listen": ["127.0.0.1:0"], "listen_tls": ["127.0.0.1:0"]}
    house.settings = Settings(data=house.settings.data, imap=imap, **settings)
    tls = load_or_make(house.settings)
    server = ImapServer(house.settings, house.mailboxes, house.search, house.credentials, house.hub, tls)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def put(house: House, message: bytes | str, mailbox: str = "INBOX", owner: str = ALICE, **more: object) -> int:
    """A message into a mailbox, behind every session's back; returns its uid."""
    account = await house.directory.find(owner)
    assert account is not None
    data = message.encode() if isinstance(message, str) else message
    entry = await house.mailboxes.ingest.append((await house.mailboxes.folders.get(account.id, mailbox)).id, data, **more)
    return entry.uid


async def play(client: Dialogue, dialogue: str) -> None:
    """Says the C: lines, compares the answers with the S: lines. `…` in a line stands for anything, alone for any lines."""
    lines = [line.lstrip() for line in dialogue.strip().splitlines() if line.strip()]
    said: list[str] = []
    position = 0
    while position < len(lines):
        spoken = []
        while position < len(lines) and lines[position].startswith("C:"):
            spoken.append(lines[position][3:])
            position += 1
        expected = []
        while position < len(lines) and lines[position].startswith("S:"):
            expected.append(lines[position][3:])
            position += 1
        if not spoken and not expected:
            raise AssertionError(f"neither C: nor S: in {lines[position]!r}")
        answer = await client("\n".join(spoken)) if spoken else await client.news()
        said += [*(f"C: {line}" for line in spoken), *(f"S: {line}" for line in answer.split("\n"))]
        pattern = "\n".join(".*" if line == "…" else re.escape(line).replace("…", ".*") for line in expected)
        if not re.fullmatch(pattern, answer, re.DOTALL if "…" in expected else 0):
            raise AssertionError("the dialogue went otherwise:\n" + "\n".join(said) + "\nexpected last:\n" + "\n".join(expected))
