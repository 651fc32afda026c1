"""A receiving office for the SMTP tests: server, directory and queue, in a thread of their own and on a free port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from gk.accounts.directory import Directory
from gk.core.config import Settings
from gk.core.database import Database
from gk.core.hub import Hub
from gk.mail.queue import Queue
from gk.smtp.server import SmtpServer

T = TypeVar("T")


class Office:
    """alice, bob and élise at example.test; team@ is alice and bob, away@ is forwarded outside. Nobody empties the queue."""

    def __init__(
        self, folder: Path, loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop, **changes: Any
    ) -> None:
        limits = changes.pop("limits", {})
        reachable = changes.pop("reachable", None)
        self.settings = Settings(
            data=folder, hostname="mx.example.test", limits=limits, smtp={"listen": ["127.0.0.1:0"], **changes},
        )  # fmt: skip
        self.folder = folder
        self.loop = loop()
        self.faults: list[dict[str, Any]] = []  # what the loop caught: there must be none
        self.loop.set_exception_handler(lambda loop, context: self.faults.append(context))
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.database = Database.open(folder)
        self.options = {"reachable": reachable} if reachable else {}
        self.call(self._open())

    async def _open(self) -> None:
        self.hub = Hub(self.database)
        self.directory = Directory(self.database, self.hub)
        self.queue = Queue(self.database, self.folder / "spool")
        await self.directory.add_domain("example.test")
        for name in ("alice", "bob", "élise"):
            await self.directory.add_account(f"{name}@example.test", name=name.title())
        for target in ("alice@example.test", "bob@example.test"):
            await self.directory.add_alias("team@example.test", target)
        await self.directory.add_alias("away@example.test", "alice@outside.example")
        self.server = SmtpServer(self.settings, self.directory, self.queue, **self.options)
        await self.server.start()
        self.port = self.server.addresses[0][1]

    def call(self, work: Coroutine[Any, Any, T], seconds: float = 60) -> T:
        """Run a coroutine in the office's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    def close(self) -> None:
        self.call(self.server.stop())
        self.database.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()
        assert not self.faults, self.faults

    def queued(self) -> list[tuple[str, list[str], bytes]]:
        """Sender, recipients and content of every message, oldest first."""
        found = []
        for number, sender, data, spool in self._rows("SELECT id, sender, data, spool FROM queue ORDER BY id"):
            to = [
                address for (address,) in self._rows("SELECT address FROM queue_recipient WHERE queue_id = ? ORDER BY id", number)
            ]
            found.append((sender, to, bytes(data) if data is not None else (self.folder / "spool" / spool).read_bytes()))
        return found

    def _rows(self, query: str, *values: object) -> list[Any]:
        return self.database.read_now(lambda reader: reader.driver.execute(query, values).fetchall())

    def client(self, greeting: bool = True) -> Client:
        client = Client(self.port)
        if greeting:
            assert client.reply().startswith("220 mx.example.test")
        return client


class Client:
    """A socket that reads replies."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), timeout=60)
        self.file = self.socket.makefile("rb")

    def send(self, data: bytes | str) -> None:
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def reply(self) -> str:
        """The last line of the next reply; empty at the end of the connection."""
        while True:
            try:
                line = self.file.readline().decode()
            except ConnectionResetError:
                return ""
            if line[3:4] != "-":
                return line.rstrip("\r\n")

    def say(self, line: bytes | str) -> str:
        """One command and its reply."""
        self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return self.reply()

    def begin(self, *recipients: str, sender: str = "carol@elsewhere.example") -> None:
        """Up to the 354."""
        assert self.say("EHLO client.example").startswith("250")
        assert self.say(f"MAIL FROM:<{sender}>").startswith("250")
        for recipient in recipients or ("alice@example.test",):
            assert self.say(f"RCPT TO:<{recipient}>").startswith("250")
        assert self.say("DATA").startswith("354")

    def at_end(self) -> bool:
        """Whether the server has closed."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


@contextlib.contextmanager
def office(folder: Path, **changes: Any) -> Iterator[Office]:
    """An office for one test."""
    opened = Office(folder, **changes)
    try:
        yield opened
    finally:
        opened.close()
