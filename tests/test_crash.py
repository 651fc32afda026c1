"""kill -9 of the whole server, again and again, under load: what was acknowledged is there, exactly once (DESIGN §4, rule 2)."""

from __future__ import annotations

import contextlib
import imaplib
import random
import re
import smtplib
import threading
import time
from collections import Counter

from conftest import PASSWORD, Server

KILLS = 20
SENDERS = 4


def send_until_cut(server: Server, sender: int, round_number: int, acknowledged: list[str], tried: list[str]) -> None:
    """Deliver numbered mails on one connection until the server dies; note each number only after its 250."""
    with contextlib.suppress(OSError, smtplib.SMTPException):
        client = smtplib.SMTP("127.0.0.1", server.smtp, timeout=5)
        for number in range(10_000):
            name = f"r{round_number}s{sender}n{number}"
            tried.append(name)
            client.sendmail("load@client.example", ["alice@example.test"], f"Subject: crash {name}\r\n\r\nbody {name}\r\n")
            acknowledged.append(name)


def subjects(server: Server) -> Counter[str]:
    """How often each numbered mail stands in alice's inbox, read as any mail program would."""
    with imaplib.IMAP4("127.0.0.1", server.imap) as client:
        client.login("alice@example.test", PASSWORD)
        client.select("INBOX", readonly=True)
        _, rows = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    text = b"".join(row[1] for row in rows if isinstance(row, tuple)).decode()
    return Counter(re.findall(r"crash (\w+)", text))


def wait_for_empty_queue(server: Server) -> None:
    """Until nothing is pending or on its way; `gk queue status` asks the same of the same folder."""
    import json

    for _ in range(300):
        status = json.loads(server.gk("queue", "status", "--json").stdout)
        if status["pending"] + status["sending"] == 0:
            return
        time.sleep(0.1)
    raise AssertionError(f"the queue did not empty: {status}")


def test_every_acknowledged_mail_survives_kill_9_exactly_once(gk_serve):
    server = gk_serve("--demo")
    chance = random.Random(5321)
    acknowledged: list[str] = []
    tried: list[str] = []
    for round_number in range(KILLS):
        threads = [
            threading.Thread(target=send_until_cut, args=(server, sender, round_number, acknowledged, tried))
            for sender in range(SENDERS)
        ]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(0.05, 0.6))
        server.kill()
        for thread in threads:
            thread.join()
        server.start()
    wait_for_empty_queue(server)
    found = subjects(server)
    assert len(acknowledged) > KILLS, "the load did not reach the server"
    assert [name for name in acknowledged if found[name] == 0] == []
    assert [name for name, count in found.items() if count > 1] == []
    assert set(found) <= set(tried)
