"""How long a person waits: the planner's answers on the demo mailbox, and a page of a mailbox of 100 000 over REST.

    python benchmarks/assistant.py [--rounds 20] [--messages 100000]

Prints, a row each, median, minimum and maximum in milliseconds. A planner row is a whole turn: the request stored, the plan,
policy, tool and answer, each stored as an event; a REST row is one HTTP request on a kept connection, from the first byte out to
the last byte in.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ports import configuration

from gk.core.config import load
from gk.mail.ingest import Delivery
from gk.mail.maildir import delivery_name
from gk.office import Office

BIN = Path(sys.executable).parent
PASSWORD = "a benchmark's own"
PHRASES = [
    "liste mes mails", "list my mail", "combien de mails non lus ?", "lis le deuxième", "cherche les mails de Bob",
    "les mails de la semaine dernière avec pièce jointe", "réponds à Bob que j'arrive demain", "what can you do?",
]


def serve(folder: Path) -> subprocess.Popen[str]:
    """A demo server on this folder, ready."""
    process = subprocess.Popen(
        [BIN / "gk-serve", "--demo", "--config", folder / "gk.toml", "--data", folder / "data"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "GK_DEMO_PASSWORD": PASSWORD},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "gk ready" in line:
            return process
    raise SystemExit(f"gk-serve ended with {process.wait()}")


def row(title: str, seconds: list[float]) -> None:
    values = [1000 * s for s in seconds]
    print(f"{title:58} median {statistics.median(values):7.2f} ms   min {min(values):7.2f}   max {max(values):7.2f}", flush=True)


def mail(number: int) -> bytes:
    """One of the many mails of the large mailbox."""
    return (
        f"From: Person {number % 97} <person{number % 97}@elsewhere.example>\r\nTo: bob@example.test\r\n"
        f"Subject: Message number {number}\r\nMessage-ID: <{number}@elsewhere.example>\r\n\r\nThe text of message {number}.\r\n"
    ).encode()


async def fill(folder: Path, messages: int) -> None:
    """Deliver into bob's inbox, through the same door as the queue's worker."""
    office = Office.open(load(data=folder / "data"))
    try:
        bob = await office.directory.find("bob@example.test")
        assert bob is not None
        for start in range(0, messages, 500):
            numbers = range(start, min(start + 500, messages))
            await office.mailboxes.ingest.deliver([Delivery(bob.id, mail(n), delivery_name(n, n + 1, n + 1)) for n in numbers])
    finally:
        await office.close()


async def planner(folder: Path, rounds: int) -> None:
    """Whole turns of the assistant, as the web page and `gk ask` make them."""
    office = Office.open(load(data=folder / "data"))
    try:
        alice = await office.directory.find("alice@example.test")
        assert alice is not None
        for phrase in PHRASES:
            took = []
            for _ in range(rounds + 1):
                conversation = await office.conversations.create(alice)
                async for _event in office.assistant.say(alice, conversation.id, "liste mes mails"):
                    pass
                began = time.perf_counter()
                async for _event in office.assistant.say(alice, conversation.id, phrase):
                    pass
                took.append(time.perf_counter() - began)
            row(f"planner: {phrase}", took[1:])
    finally:
        await office.close()


def listing(port: int, rounds: int, messages: int) -> None:
    """GET /api/mails?limit=50, the first page and one in the middle."""
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def call(method: str, path: str, body: object = None, token: str = "") -> dict:
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        data = response.read()
        assert response.status == 200, data
        return json.loads(data)

    token = call("POST", "/api/auth/login", {"email": "bob@example.test", "password": PASSWORD})["access_token"]
    for title, path in (("first page", "/api/mails?limit=50"), ("unread count of every folder", "/api/folders")):
        took = []
        for _ in range(rounds + 1):
            began = time.perf_counter()
            call("GET", path, token=token)
            took.append(time.perf_counter() - began)
        row(f"REST, {messages} messages: {title}", took[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--messages", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ports = configuration(folder)
        server = serve(folder)
        server.terminate()
        server.wait(10)
        asyncio.run(planner(folder, options.rounds))
        asyncio.run(fill(folder, options.messages))
        server = serve(folder)
        try:
            listing(ports.web, options.rounds, options.messages)
        finally:
            server.terminate()
            server.wait(10)


if __name__ == "__main__":
    main()
