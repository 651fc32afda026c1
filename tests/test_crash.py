"""kill -9 of the whole server, again and again, under load: what was acknowledged is there, exactly once (DESIGN §4, rule 2).

Three kinds of work run while it is killed, at moments that chance picks, start-up included:

- senders deliver by SMTP, some of it large enough to be spooled, so it dies while receiving and while delivering;
- a mail program appends, deletes for good, and moves a whole inbox aside (RENAME INBOX, RFC 3501 §6.3.5);
- and what a client was told is written down only after it was told.
"""

from __future__ import annotations

import contextlib
import imaplib
import itertools
import json
import random
import re
import smtplib
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import BIN, PASSWORD, Server

KILLS = 24
SENDERS = 3
LARGE = b"a line of a large message\r\n" * 12_000  # 324 kB: has a file of its own in the queue


@dataclass
class Told:
    """What clients tried, and what they were told is done."""

    tried: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)  # 250 to the message, or OK to APPEND
    going: set[str] = field(default_factory=set)  # asked to be deleted for good …
    gone: set[str] = field(default_factory=set)  # … and told that it is


def mail(name: str, large: bool) -> bytes:
    return f"Subject: crash {name}.\r\nMessage-ID: <{name}@crash.example>\r\n\r\n".encode() + (LARGE if large else b"small\r\n")


def send_until_cut(server: Server, prefix: str, told: Told) -> None:
    """Deliver numbered mails on one connection until the server dies; note each number only after its 250."""
    with contextlib.suppress(OSError, smtplib.SMTPException):
        client = smtplib.SMTP("127.0.0.1", server.smtp, timeout=5)
        for number in itertools.count():
            name = f"{prefix}n{number}"
            told.tried.add(name)
            client.sendmail("load@client.example", ["alice@example.test"], mail(name, number % 20 == 10))
            told.kept.add(name)


def work_until_cut(server: Server, prefix: str, told: Told) -> None:
    """Append, delete for good, and move the inbox aside, on one IMAP connection until the server dies."""
    with contextlib.suppress(OSError, imaplib.IMAP4.error):
        client = imaplib.IMAP4("127.0.0.1", server.imap, timeout=5)
        client.login("alice@example.test", PASSWORD)
        client.create("Kept")
        client.select("Kept")
        for number in itertools.count():
            name = f"{prefix}a{number}"
            told.tried.add(name)
            if client.append("Kept", "", "", mail(name, number % 10 == 5))[0] == "OK":
                told.kept.add(name)
            if number % 3 == 1:
                (found,) = client.uid("SEARCH", "SUBJECT", f'"crash {name}."')[1]
                told.going.add(name)
                client.uid("STORE", found.decode(), "+FLAGS", r"(\Deleted)")
                if client.expunge()[0] == "OK":
                    told.gone.add(name)
            if number % 8 == 3:
                client.rename("INBOX", f"Aside {name}")


def found_by_imap(server: Server) -> Counter[str]:
    """How often each numbered mail stands in alice's folders, all together, read as any mail program would."""
    text = b""
    with imaplib.IMAP4("127.0.0.1", server.imap) as client:
        client.login("alice@example.test", PASSWORD)
        for line in client.list()[1]:
            assert isinstance(line, bytes)
            client.select(line.rpartition(b' "/" ')[2].decode(), readonly=True)
            rows = client.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
            text += b"".join(row[1] for row in rows if isinstance(row, tuple))
    return Counter(re.findall(r"crash (\w+)\.", text.decode()))


def files_and_rows(data: Path) -> tuple[set[str], set[str]]:
    """The messages of everybody as the disk holds them, and as the index does: mailbox and base name."""
    paths = [path for kind in ("new", "cur") for path in data.glob(f"mail/*/*/{kind}/*")]
    files = {f"{path.parts[-3]}/{path.name.partition(':')[0]}" for path in paths}
    with contextlib.closing(sqlite3.connect(f"file:{data / 'gk.db'}?mode=ro", uri=True)) as file:
        rows = file.execute("SELECT mailbox_id, filename FROM message").fetchall()
    return files, {f"{mailbox}/{name.rpartition('/')[2].partition(':')[0]}" for mailbox, name in rows}


def wait_until(check, what: str, seconds: float = 60) -> None:
    """Until `check` says nothing any more."""
    deadline = time.monotonic() + seconds
    while wrong := check():
        assert time.monotonic() < deadline, f"{what}: {wrong}"
        time.sleep(0.1)


def waiting(server: Server) -> int:
    status = json.loads(server.gk("queue", "status", "--json").stdout)
    return int(status["pending"] + status["sending"])


def killed_while_starting(server: Server, seconds: float) -> None:
    """Start it and kill it before it is ready, or just after: recovery must survive this too."""
    process = subprocess.Popen([BIN / "gk-serve", "--config", server.config, "--data", server.data, "--demo"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=server.environment)
    time.sleep(seconds)
    process.kill()
    process.wait()


@pytest.mark.timeout(900)  # two dozen starts, which a busy machine makes slow
def test_every_acknowledged_mail_survives_kill_9_exactly_once(gk_serve):
    server = gk_serve("--demo")
    chance, told = random.Random(5321), Told()
    for number in range(KILLS):
        jobs = [threading.Thread(target=send_until_cut, args=(server, f"r{number}s{sender}", told)) for sender in range(SENDERS)]
        jobs.append(threading.Thread(target=work_until_cut, args=(server, f"r{number}", told)))
        for job in jobs:
            job.start()
        time.sleep(chance.uniform(0.05, 2.5 if number % 4 == 3 else 0.9))  # now and then long enough to go through everything
        server.kill()
        for job in jobs:
            job.join()
        if number % 6 == 5:
            killed_while_starting(server, chance.uniform(0.2, 1.5))
        server.start()

    wait_until(lambda: waiting(server), "the queue did not empty")
    found = found_by_imap(server)
    large = [name for name in told.kept if re.search(r"n\d*10$|a\d*5$", name)]
    assert len(told.kept) > KILLS and told.gone and large, "the load did not reach the server"
    assert sorted(name for name in told.kept - told.going if found[name] == 0) == [], "acknowledged, and lost"
    assert sorted(name for name, count in found.items() if count > 1) == [], "there twice"
    assert sorted(name for name in told.gone if found[name]) == [], "deleted for good, and back"
    assert set(found) <= told.tried

    def holes() -> str:
        files, rows = files_and_rows(server.data)
        return f"only files: {sorted(files - rows)}, only rows: {sorted(rows - files)}" if files != rows else ""

    wait_until(holes, "the disk and the index do not hold the same", 90)  # what a killed process left is found after 30 s
    wait_until(lambda: list((server.data / "spool").glob("*")), "spooled files that nobody needs")
    server.stop()
    assert "Traceback" not in server.log.read_text()
