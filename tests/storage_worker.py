"""A process that accepts and delivers mail as fast as it can, until `test_storage.py` kills it, again and again.

It prints a number once `Queue.submit` has returned for the mail of that number: from then on that mail must never be
lost, nor doubled."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import sys
import time
from pathlib import Path

import structlog

from gk.core.database import Database
from gk.mail import maildir
from gk.mail.folders import insert_defaults
from gk.mail.mailbox import Delivery, MailboxError, Mailboxes
from gk.mail.queue import Queue, Result, Submission


def prepare(folder: Path) -> None:
    """A database with one person, alice, account 1."""
    database = Database.open(folder)

    def people(tx):
        tx.driver.execute("INSERT INTO domain (id, name, created) VALUES (1, 'example.test', 0)")
        tx.driver.execute("INSERT INTO account (id, domain_id, address, created) VALUES (1, 1, 'alice@example.test', 0)")
        insert_defaults(tx, 1)

    database.write_now(people)
    database.close()


async def deliver_due(queue: Queue, mailboxes: Mailboxes, limit: int = 20) -> int:
    """One round of what smtp/delivery does for local recipients."""
    batch = await queue.claim(limit, time.time())
    pairs = [(message, recipient) for message in batch for recipient in message.recipients]
    names = [maildir.delivery_name(message.created, message.id, recipient.id) for message, recipient in pairs]
    items = [
        Delivery(1, message.data or message.spool, name, b"Return-Path: <>\r\n")
        for (message, _), name in zip(pairs, names, strict=True)
    ]

    def settle(tx, outcomes):
        queue.settle(tx, [
            Result(recipient.id, "failed" if isinstance(outcome, MailboxError) else "sent")
            for (_, recipient), outcome in zip(pairs, outcomes, strict=True)
        ])

    if items:
        await mailboxes.ingest.deliver(items, settle)
    return len(items)


async def work(folder: Path, first: int) -> None:
    database = Database.open(folder)
    queue, mailboxes = Queue(database, folder / "spool"), Mailboxes(database, folder / "mail")
    await queue.recover()
    await mailboxes.recover()
    numbers = itertools.count(first)

    async def accept() -> None:
        while True:
            number = next(numbers)
            body = b"x" * (300_000 if number % 50 == 0 else 400)  # some are spooled
            data = b"Subject: mail %d\r\nMessage-ID: <%d@x>\r\n\r\n%b\r\n" % (number, number, body)
            await queue.submit(Submission("bob@example.test", [("alice@example.test", 1)], data, "test"))
            os.write(1, b"%d\n" % number)

    async def deliver() -> None:
        while True:
            if not await deliver_due(queue, mailboxes):
                await asyncio.sleep(0.001)

    await asyncio.gather(*(accept() for _ in range(4)), deliver())


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # stdout is for numbers
    asyncio.run(work(Path(sys.argv[1]), int(sys.argv[2])))
