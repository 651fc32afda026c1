"""An office whose web server answers on a free port, in this process: real parts, small enough for every test to have its own."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn

from gk.accounts.directory import Account
from gk.agent.loop import Assistant
from gk.agent.model import ChatModel
from gk.core.config import Settings
from gk.mail.service import Mail
from gk.office import Office
from gk.web.app import create_app
from gk.web.listener import WebServer

PASSWORD = "correct horse battery"
ALICE, BOB = "alice@example.test", "bob@example.test"


@dataclass
class Site:
    """The office, and where its web server answers."""

    office: Office
    port: int
    alice: Account
    bob: Account
    server: uvicorn.Server
    web: WebServer
    clients: list[Client] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def mail(self, account: Account) -> Mail:
        return self.office.mail.of(account)

    async def deliver(self, data: bytes, to: Account | None = None, folder: str = "INBOX") -> str:
        """Puts a mail into a folder; its id."""
        account = to or self.alice
        box = await self.office.mailboxes.folders.get(account.id, folder)
        return str((await self.office.mailboxes.ingest.append(box.id, data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))).id)

    async def client(self, address: str | None = None, language: str = "en") -> Client:
        """A browser without scripts; signed in when an address is given."""
        client = Client(self, language)
        self.clients.append(client)
        if address:
            await client.sign_in(address)
        return client

    async def ticket(self, address: str = ALICE) -> str:
        """An API ticket."""
        account = await self.office.directory.find(address)
        assert account is not None
        return await self.office.credentials.issue_jwt(account)


class Client:
    """Keeps cookies and the form token of the last page; follows no redirect."""

    def __init__(self, site: Site, language: str) -> None:
        self.site, self.token = site, ""
        self.session = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True), headers={"Accept-Language": language},
            timeout=aiohttp.ClientTimeout(total=90),  # aiohttp's own is five minutes: longer than a test may take
        )

    async def ask(
        self, method: str, path: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None, **more: Any
    ) -> tuple[int, Mapping[str, str], str]:
        """One request; its status, headers and body. A form carries the token unless it brings its own."""
        data = {"csrf": self.token, **form} if form is not None else None
        async with self.session.request(
            method, self.site.url + path, data=data, headers=headers, allow_redirects=False, **more
        ) as answer:
            body = (await answer.read()).decode("utf-8", "replace")
            found = re.search(r'name="csrf" value="([^"]+)"', body)
            self.token = found[1] if found else self.token
            return answer.status, answer.headers, body

    async def sign_in(self, address: str, password: str = PASSWORD) -> int:
        await self.ask("GET", "/sign-in")
        status, _, _ = await self.ask("POST", "/sign-in", {"email": address, "password": password})
        if status == 303:
            await self.ask("GET", "/")
        return status

    def cookie(self, name: str = "gk-session") -> str:
        return next((cookie.value for cookie in self.session.cookie_jar if cookie.key == name), "")

    async def conversation(self) -> str:
        """The id of the conversation that the office page shows."""
        _, _, body = await self.ask("GET", "/")
        found = re.search(r'data-conversation="([^"]+)"', body)
        assert found, body[:500]
        return found[1]

    @contextlib.asynccontextmanager
    async def socket(
        self, conversation: str, after: int = 0, headers: Mapping[str, str] | None = None, compress: int = 0
    ) -> AsyncIterator[Socket]:
        url, headers = f"{self.site.url}/chat/{conversation}/ws?after={after}", headers or {"Origin": self.site.url}
        async with self.session.ws_connect(url, headers=headers, compress=compress) as socket:
            yield Socket(socket)


@dataclass
class Socket:
    """The browser's end of the conversation."""

    raw: aiohttp.ClientWebSocketResponse
    seen: list[dict[str, Any]] = field(default_factory=list)

    async def next(self, seconds: float = 60) -> dict[str, Any] | None:
        """The next message; None when the socket was closed."""
        message = await self.raw.receive(seconds)
        if message.type is not aiohttp.WSMsgType.TEXT:
            return None
        self.seen.append(json.loads(message.data))
        return self.seen[-1]

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """The first message that has these values."""
        while (message := await self.next()) is not None:
            if all(message.get(key) == value for key, value in wanted.items()):
                return message
        raise AssertionError(f"closed ({self.raw.close_code}) before {wanted}; seen: {self.seen}")

    async def closed(self) -> int | None:
        """Read on until it is closed; the close code."""
        while await self.next() is not None:
            pass
        return self.raw.close_code

    async def send(self, **message: Any) -> None:
        await self.raw.send_str(json.dumps(message))

    @property
    def numbers(self) -> list[int]:
        return [message["n"] for message in self.seen if message["type"] in ("turn", "token") and message["n"]]


@contextlib.asynccontextmanager
async def web_office(folder: Path, model: ChatModel | None = None, **settings: Any) -> AsyncIterator[Site]:
    """A started office with alice and bob; `model` plays the assistant's part, else it is the built-in planner."""
    office = Office.open(Settings(data=folder, **settings))
    if model is not None:
        office.__dict__["assistant"] = Assistant(model, office.registry, office.conversations, office.settings.agent, office.now)
    await office.directory.add_domain("example.test")
    hashed = await office.credentials.hash(PASSWORD)
    alice = await office.directory.add_account(ALICE, hashed, "Alice Martin")
    bob = await office.directory.add_account(BOB, hashed, "Bob Durand")
    for account in (alice, bob):
        await office.mailboxes.defaults.ensure(account.id)
    await office.start()
    bound = socket.create_server(("127.0.0.1", 0))
    web = WebServer(create_app(office), office.settings.limits)
    await web.start([bound])
    site = Site(office, bound.getsockname()[1], alice, bob, web.server, web)
    try:
        yield site
    finally:
        for client in site.clients:
            await client.session.close()
        await web.stop()
        await office.close()
