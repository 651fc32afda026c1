"""Reading a mailbox of 2 000 messages over IMAP: gk beside Dovecot, in alternating rounds, with the same small client.

    .venv/bin/python benchmarks/imap_fetch.py [--rounds 7] [--messages 2000]

Both serve the same messages, on the same disk and the same loopback, each as a process of its own. Prints the median of the
rounds for each command and the ratio; below 1.00 gk is faster. Needs Debian's dovecot-imapd.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from dovecot import PASSWORD, USER, Dovecot, program

COMMANDS = {
    "SELECT": "SELECT INBOX",
    "FLAGS UID": "FETCH 1:* (FLAGS UID)",
    "ENVELOPE BODYSTRUCTURE …": "FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE FLAGS)",
    "BODY.PEEK[]": "FETCH 1:* BODY.PEEK[]",
}
TEXT = """the report is attached please have a look before friday we could meet for lunch
thanks and best regards bonjour à demain je passe vers midi"""


def message(number: int, dice: random.Random) -> bytes:
    """One mail of a realistic mix: half plain, a third with an HTML half, a sixth with an attachment; about 4 kB on average."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = f"Person {number % 50} <person{number % 50}@example.test>"
    mail["To"] = "Alice <alice@example.test>" + "".join(f", Person {n} <person{n}@example.test>" for n in range(number % 4))
    mail["Subject"] = ("Déjeuner de vendredi " if number % 5 == 0 else "The report ") + str(number)
    mail["Date"] = time.strftime("%a, %d %b %Y %H:%M:%S +0100", time.gmtime(1_700_000_000 + 60 * number))
    mail["Message-ID"] = f"<{number}@example.test>"
    if number % 3 == 0:
        mail["In-Reply-To"] = f"<{max(0, number - 3)}@example.test>"
    for hop in range(3):
        trace = f"from host{hop}.example.test by mx.example.test with ESMTP id {number}{hop}"
        mail["Received"] = f"{trace}; Tue, 14 Nov 2023 22:13:20 +0000"
    words = TEXT.split()
    text = "\n".join(" ".join(dice.choice(words) for _ in range(12)) for _ in range(dice.randrange(10, 60)))
    mail.set_content(text)
    if number % 6 in (1, 2):
        mail.add_alternative(f"<html><body><p>{text}</p></body></html>", subtype="html")
    elif number % 6 == 3:
        mail.add_attachment(dice.randbytes(2000), maintype="application", subtype="pdf", filename=f"report{number}.pdf")
    return mail.as_bytes()


class Client:
    """The smallest IMAP client: sends a command, counts octets until its tagged answer."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = 0
        self.socket.recv(4096)
        self.run(f'LOGIN {USER} "{PASSWORD}"')

    def run(self, command: str) -> int:
        self.number += 1
        tag = f"Zq{self.number}x"
        self.socket.sendall(f"{tag} {command}\r\n".encode())
        done, total, tail = f"{tag} ".encode(), 0, b"\r\n"
        while True:
            octets = self.socket.recv(1 << 20)
            if not octets:
                raise ConnectionError(f"closed during {command}: {tail!r}")
            total += len(octets)
            tail = (tail + octets)[-4096:]
            at = tail.rfind(b"\r\n" + done)
            if at >= 0 and tail.endswith(b"\r\n"):
                if not tail[at + 2 :].startswith(done + b"OK"):
                    raise RuntimeError(tail[at:].decode())
                return total


@contextlib.contextmanager
def serve_gk(folder: Path, messages: list[bytes]) -> Iterator[int]:
    """gk's IMAP listener in a process of its own; yields the port."""
    subprocess.run([sys.executable, __file__, "--fill", folder], check=True, input=b"".join(
        base64.b64encode(one) + b"\n" for one in messages))
    process = subprocess.Popen([sys.executable, __file__, "--serve", folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


async def fill(folder: Path) -> None:
    """Alice's mailbox, from base64 lines on standard input."""
    from gk.imap.dialogue import House

    house = await House(folder).furnish()
    account = await house.directory.find(USER)
    assert account is not None
    await house.credentials.set_password(account, PASSWORD)
    inbox = await house.mailboxes.folders.get(account.id, "INBOX")
    for line in sys.stdin.buffer:
        await house.mailboxes.ingest.append(inbox.id, base64.b64decode(line))
    await house.close()


async def serve(folder: Path) -> None:
    """The listener, until the process is ended; prints its port."""
    from gk.core.config import Settings
    from gk.imap.dialogue import House
    from gk.imap.server import ImapServer

    house = House(folder, Settings(data=folder, imap={"listen": ["127.0.0.1:0"], "listen_tls": []}))
    await house.hub.start()
    server = ImapServer(house.settings, house.mailboxes, house.search, house.credentials, house.hub)
    await server.start()
    print(server.addresses()[0][1], flush=True)
    await asyncio.Event().wait()


def rounds(clients: dict[str, Client], count: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of every command, server and round; the servers take turns, and so does who begins."""
    times: dict[str, dict[str, list[float]]] = {name: {server: [] for server in clients} for name in COMMANDS}
    for name, command in COMMANDS.items():
        for number in range(-1, count):  # one round to warm up
            for server in sorted(clients, reverse=bool(number % 2)):
                repeats = 20 if name == "SELECT" else 1
                began = time.perf_counter()
                for _ in range(repeats):
                    octets = clients[server].run(command)
                if number >= 0:
                    times[name][server].append((time.perf_counter() - began) / repeats)
                elif name == "BODY.PEEK[]":
                    print(f"{server}: {octets:,} octets")
    return times


def compare(count: int, number: int) -> None:
    """Fills both, measures both, prints the table."""
    dice = random.Random(2000)
    messages = [message(number, dice) for number in range(count)]
    print(f"{len(messages)} messages, {sum(map(len, messages)) / len(messages) / 1000:.1f} kB on average")
    with (
        tempfile.TemporaryDirectory() as folder,
        Dovecot(Path(folder) / "dovecot", messages) as dovecot,
        serve_gk(Path(folder) / "gk", messages) as port,
    ):
        clients = {"dovecot": Client(dovecot.port), "gk": Client(port)}
        for client in clients.values():
            client.run("SELECT INBOX")
        times = rounds(clients, number)
    print(f"\n{'median of ' + str(number) + ' rounds':28}{'gk':>12}{'Dovecot':>12}{'gk/Dovecot':>12}")
    for name, servers in times.items():
        ours, theirs = statistics.median(servers["gk"]), statistics.median(servers["dovecot"])
        print(f"{name:28}{ours * 1000:9.2f} ms{theirs * 1000:9.2f} ms{ours / theirs:12.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--fill", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fill:
        asyncio.run(fill(arguments.fill))
    elif arguments.serve:
        import uvloop

        uvloop.run(serve(arguments.serve))
    elif program() is None:
        raise SystemExit("dovecot is not installed: apt-get install dovecot-imapd")
    else:
        compare(arguments.messages, arguments.rounds)


if __name__ == "__main__":
    main()
