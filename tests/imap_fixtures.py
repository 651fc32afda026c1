"""Fixtures of the IMAP tests that need nothing special; a test module names this one in `pytest_plugins`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from imap_house import ALICE, PLAIN, a_client, a_house, put

from gk.imap.dialogue import Dialogue, House


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Alice and Bob at home."""
    async with a_house() as furnished:
        yield furnished


@pytest.fixture
async def five(house: House) -> None:
    """Five messages in Alice's inbox; asked for before the clients, so that they find them there."""
    for _ in range(5):
        await put(house, PLAIN)


def connected(login: str = ALICE, select: str = "", **where: object) -> object:
    """A fixture: a client made of text."""

    async def fixture(house: House) -> AsyncIterator[Dialogue]:
        async with a_client(house, login, select, **where) as found:
            yield found

    return pytest.fixture(fixture)


alice = connected()  # signed in
reader = connected(select="INBOX")  # signed in, with the inbox open
one = connected(select="INBOX")  # two devices of Alice's, both with the inbox open
other = connected(select="INBOX")
stranger = connected(login="")  # on this machine, not signed in
outsider = connected(login="", peer="192.0.2.1")  # from another machine, in the clear
