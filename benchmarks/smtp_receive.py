"""Receiving mail durably, beside Postfix on the same machine, in alternating rounds, driven by Postfix's own `smtp-source`.

    python benchmarks/smtp_receive.py [--rounds 5] [--messages 3000] [--size 1024] [--sessions 20]

Three figures, in messages a second:
  kept   sessions that keep their connection; until the last `250`
  new    a new connection for each message; until the last `250`
  there  sessions that keep their connection; until every message is in the mailbox (Postfix: Maildir, gk: mailbox, and
         IMAP SEARCH finds them all)

Both servers sync to disk before they say `250`, as they do by default, write their logs to a file, and run from a
temporary folder that is removed afterwards. Each round begins when both have come to rest: gk indexes for its search behind
delivery, and that is neither to slow down the other nor to stay out of sight: the seconds of it are printed.

Postfix is a private instance with its own configuration and queue; it needs root and Debian's package `postfix`. On a
machine that does other things too, `chrt -r 1 python benchmarks/smtp_receive.py` keeps them out of the way of both.
"""

from __future__ import annotations

import argparse
import imaplib
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ports import configuration
from postfix import ALICE, Postfix, greets, wait_for

BIN = Path(sys.executable).parent
PASSWORD = "correct horse battery"  # of an account that lives for a minute


class Gk:
    """gk-serve with one person."""

    name = "gk"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        ports = configuration(folder, "[limits]\nper_address = false\n")
        self.port, self.imap = ports.smtp, ports.imap
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._gk("domain", "add", "example.test")
        self._gk("user", "add", ALICE, text=f"{PASSWORD}\n{PASSWORD}\n")
        with (self.folder / "serve.log").open("wb") as log:
            self.process = subprocess.Popen(
                [BIN / "gk-serve", "--config", self.folder / "gk.toml", "--data", self.folder / "data"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )
        wait_for(lambda: greets(self.port), 20)

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(20)

    def _gk(self, noun: str, verb: str, *arguments: str, text: str = "") -> None:
        command = [BIN / "gk", noun, verb, "--config", self.folder / "gk.toml", "--data", self.folder / "data", *arguments]
        subprocess.run(command, check=True, capture_output=True, input=text, text=True)

    def there(self) -> int:
        """Messages in the mailbox."""
        database = sqlite3.connect(f"file:{self.folder / 'data' / 'gk.db'}?mode=ro", uri=True)
        try:
            row = database.execute("SELECT messages FROM mailbox WHERE name = 'INBOX'").fetchone()
            return int(row[0]) if row else 0
        finally:
            database.close()

    def check(self, subject: str, count: int) -> None:
        """IMAP finds every message of this round."""
        with imaplib.IMAP4("127.0.0.1", self.imap) as client:
            client.login(ALICE, PASSWORD)
            client.select("INBOX", readonly=True)
            found = client.search(None, "SUBJECT", subject)[1][0].split()
        if len(found) != count:
            raise SystemExit(f"gk: SEARCH SUBJECT {subject} found {len(found)} of {count}")

    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid


Server = Postfix | Gk


def busy_seconds(pid: int) -> float:
    """CPU time that a process and its children have used so far."""
    used = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, rest = stat.parent.name, stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        used[int(number)] = (int(rest[1]), (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK"))
    return sum(seconds for number, (parent, seconds) in used.items() if pid in (number, parent))


def come_to_rest(server: Server) -> float:
    """Wait until a server has had nothing to do for a second; the seconds that it still worked."""
    began = last = time.monotonic()
    before = busy_seconds(server.pid())
    while time.monotonic() - last < 1.0:
        time.sleep(0.2)
        now = busy_seconds(server.pid())
        if now - before >= 0.02:
            last = time.monotonic()
        before = now
    return last - began


def load(server: Server, keep: bool, subject: str, arguments: argparse.Namespace) -> tuple[float, float, float]:
    """Messages a second until the last 250, and until all of them are in the mailbox; seconds of work left behind then."""
    count = arguments.messages
    goal = server.there() + count
    began = time.perf_counter()
    subprocess.run(
        ["smtp-source", *(["-d"] if keep else []), "-s", str(arguments.sessions), "-m", str(count), "-l", str(arguments.size),
         "-S", subject, "-f", "carol@elsewhere.example", "-t", ALICE, f"127.0.0.1:{server.port}"],
        check=True,
    )
    accepted = time.perf_counter() - began
    wait_for(lambda: server.there() >= goal, 300)
    server.check(subject, count)
    there = time.perf_counter() - began
    return count / accepted, count / there, come_to_rest(server)


def machine(folder: Path) -> str:
    """What these figures were measured on."""
    facts = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.split(":")[1].strip() for line in facts if "model name" in line), "?")
    disk = subprocess.run(["df", "--output=fstype", folder], capture_output=True, text=True).stdout.split()[-1]
    postfix = subprocess.run(["postconf", "-d", "-h", "mail_version"], capture_output=True, text=True).stdout.strip()
    return (f"{os.cpu_count()} cores, {processor}, Linux {platform.release()}, {disk}, Python {platform.python_version()}, "
            f"SQLite {sqlite3.sqlite_version}, Postfix {postfix}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--sessions", type=int, default=20)
    arguments = parser.parse_args()
    for program in ("postfix", "smtp-source"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is missing: apt-get install postfix")
    if os.geteuid():
        raise SystemExit("a Postfix of one's own needs root")
    figures: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="gk-receive-") as name:
        folder = Path(name)
        print(machine(folder))
        servers: list[Server] = [Postfix(folder / "postfix"), Gk(folder / "gk")]
        started: list[Server] = []
        try:
            for server in servers:
                server.start()
                started.append(server)
                load(server, True, "warm", argparse.Namespace(**{**vars(arguments), "messages": 200}))
            for number in range(arguments.rounds):
                for keep in (True, False):
                    for server in servers if number % 2 == 0 else servers[::-1]:
                        accepted, there, behind = load(server, keep, f"round{number}{'k' if keep else 'n'}x", arguments)
                        figures.setdefault((server.name, "kept" if keep else "new"), []).append(accepted)
                        if keep:
                            figures.setdefault((server.name, "there"), []).append(there)
                        print(f"  round {number + 1} {'kept' if keep else 'new ':4} {server.name:8} {accepted:7.0f}/s accepted"
                              f" {there:7.0f}/s there, {behind:4.1f} s behind", flush=True)
        finally:
            for server in started:
                server.stop()
    print(f"\n{arguments.messages} messages of {arguments.size} bytes, {arguments.sessions} sessions, "
          f"medians of {arguments.rounds} rounds")
    for what, bar in (("kept", 3.0), ("new", 1.5), ("there", 1.0)):
        postfix, gk = (statistics.median(figures[server, what]) for server in ("postfix", "gk"))
        print(f"{what:6} postfix {postfix:7.0f}/s   gk {gk:7.0f}/s   ratio {gk / postfix:5.2f}   (to reach: {bar})")


if __name__ == "__main__":
    main()
