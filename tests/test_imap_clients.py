"""Programs that nobody here wrote, on our listeners."""

from __future__ import annotations

import asyncio
import contextlib
import imaplib
import os
import pty
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest
from conftest import comes
from imap_house import ALICE, PASSWORD, a_house, a_server, put
from imapclient import IMAPClient

from gk.imap.dialogue import House
from gk.imap.server import ImapServer
from gk.mail.maildir import Flag

Peer = Callable[[str], str]


def trusting() -> ssl.SSLContext:
    """A client's view of a self-signed certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def mail(subject: str, text: str = "Good morning.", html: str = "", attachment: bytes = b"") -> bytes:
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = "Bob <bob@example.test>", "Alice <alice@example.test>", subject
    message["Date"], message["Message-ID"] = "Thu, 01 Feb 2024 10:00:00 +0100", f"<{abs(hash(subject))}@example.test>"
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    if attachment:
        message.add_attachment(attachment, maintype="application", subtype="pdf", filename="rapport été.pdf")
    return message.as_bytes()


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[House, ImapServer, int, int]]:
    """A house with a mailbox of three, its listeners, and their ports in the clear and under TLS."""
    async with a_house() as house, a_server(house) as server:
        for message in (mail("First"), mail("Déjeuner", html="<p>Hi</p>"), mail("Report", attachment=b"%PDF" * 100)):
            await put(house, message)
        yield house, server, server.addresses()[0][1], server.addresses(secure=True)[0][1]


async def run(*command: str | Path, folder: Path | None = None) -> str:
    """Runs a program to its end; what it printed, or an error with it."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode(errors="replace")
    return output.decode(errors="replace")


# Python's imaplib


async def test_imaplib() -> None:
    def talk(clear: int, tls: int) -> None:
        with imaplib.IMAP4_SSL("127.0.0.1", tls, ssl_context=trusting()) as client:
            assert client.login(ALICE, PASSWORD)[0] == "OK"
            assert client.select("INBOX") == ("OK", [b"3"])
            assert client.search(None, "SUBJECT", '"report"') == ("OK", [b"3"])
            status, data = client.fetch("2", "(UID RFC822)")
            assert status == "OK" and b"Subject: =?utf-8?" in data[0][1]  # type: ignore[index]
            assert client.store("1", "+FLAGS", "(\\Deleted)")[0] == "OK"
            assert client.copy("1", "Archive")[0] == "OK"
            assert client.expunge() == ("OK", [b"1"])
            assert client.create("Projects/2024")[0] == "OK" and client.rename("Projects", "Work")[0] == "OK"
            assert b'(\\HasNoChildren) "/" Work/2024' in client.list()[1]
            assert client.append("Work/2024", "\\Seen", imaplib.Time2Internaldate(1700000000), mail("Fourth"))[0] == "OK"
            assert client.status("Work/2024", "(MESSAGES UNSEEN)") == ("OK", [b"Work/2024 (MESSAGES 1 UNSEEN 0)"])
            assert client.uid("SEARCH", "ALL") == ("OK", [b"2 3"])  # type: ignore[arg-type]
            assert client.namespace()[1] == [b'(("" "/")) NIL NIL']
            assert client.close()[0] == "OK"
        with imaplib.IMAP4("127.0.0.1", clear) as client:
            client.starttls(trusting())
            assert client.authenticate("PLAIN", lambda challenge: f"\0{ALICE}\0{PASSWORD}".encode())[0] == "OK"
            assert client.select("INBOX", readonly=True) == ("OK", [b"2"])

    async with serving() as (_, _, clear, tls):
        await asyncio.to_thread(talk, clear, tls)


# IMAPClient: what a Thunderbird-like program does on its first day


async def test_imapclient_with_idle() -> None:
    def talk(port: int, deliver: Callable[[], None]) -> None:
        with IMAPClient("127.0.0.1", port, ssl_context=trusting()) as client:
            client.login(ALICE, PASSWORD)
            assert client.has_capability("IDLE") and client.has_capability("UIDPLUS") and not client.has_capability("CONDSTORE")
            client.id_({"name": "test"})
            assert client.find_special_folder(b"\\Trash") == "Trash"
            assert client.select_folder("INBOX")[b"EXISTS"] == 3
            found = client.fetch(client.search("ALL"), ["ENVELOPE", "BODYSTRUCTURE", "INTERNALDATE", "FLAGS", "RFC822.SIZE"])
            assert found[2][b"ENVELOPE"].from_[0].mailbox == b"bob" and found[3][b"BODYSTRUCTURE"].is_multipart
            assert client.search(["TEXT", "dejeuner"], charset="UTF-8") == [2]
            client.create_folder("Été")
            assert ((b"\\HasNoChildren",), b"/", "Été") in client.list_folders()
            client.add_flags([1], ["$Important", b"\\Flagged"])
            assert b"$Important" in client.get_flags([1])[1]
            client.copy([1, 2], "Été")
            client.idle()
            deliver()
            news: list[Any] = []
            while (1, b"EXISTS") not in [(1, line[1]) for line in news if len(line) == 2]:
                news += client.idle_check(timeout=10)
            client.idle_done()
            client.delete_messages([1])
            client.uid_expunge([1])
            assert client.search("ALL") == [2, 3, 4]

    async with serving() as (house, _, _, tls):
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(talk, tls, lambda: asyncio.run_coroutine_threadsafe(put(house, mail("Fresh")), loop).result(10))


# curl


async def test_curl(peer: Peer, tmp_path: Path) -> None:
    curl = peer("curl")
    async with serving() as (_, _, clear, tls):
        who = ("--user", f"{ALICE}:{PASSWORD}", "--silent", "--show-error", "--insecure")
        listed = await run(curl, *who, f"imaps://127.0.0.1:{tls}/")
        assert '* LIST (\\HasNoChildren \\Sent) "/" Sent' in listed
        assert "Subject: First" in await run(curl, *who, f"imaps://127.0.0.1:{tls}/INBOX;UID=1")
        assert (await run(curl, *who, f"imaps://127.0.0.1:{tls}/INBOX;UID=1;SECTION=TEXT")).strip() == "Good morning."
        assert "* SEARCH 3" in await run(curl, *who, "--request", "SEARCH SUBJECT report", f"imaps://127.0.0.1:{tls}/INBOX")
        (tmp_path / "mail").write_bytes(mail("By curl"))
        await run(curl, *who, "--ssl-reqd", "--upload-file", tmp_path / "mail", f"imap://127.0.0.1:{clear}/Drafts")
        assert "(MESSAGES 1)" in await run(curl, *who, "--request", "STATUS Drafts (MESSAGES)", f"imap://127.0.0.1:{clear}")


# mutt, at a terminal


async def test_mutt_reads_flags_and_deletes(peer: Peer, tmp_path: Path) -> None:
    mutt = peer("mutt")
    async with serving() as (house, _, _, tls):
        (tmp_path / "muttrc").write_text("\n".join([
            f'set imap_user="{ALICE}" imap_pass="{PASSWORD}" certificate_file="{tmp_path}/accepted" folder="{tmp_path}"',
            "unset ssl_verify_host ssl_verify_dates copy record move confirmappend wait_key mark_old",
            "set delete=yes quit=yes timeout=1 pipe_decode=no sleep_time=0",
            f"push '<search>Report<enter><pipe-message>cat > {tmp_path}/piped<enter><first-entry><flag-message>"
            "<search>jeuner<enter><delete-message><quit>'",
        ]))
        shown = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", tls))
        (tmp_path / "accepted").write_text(shown)
        url = f"imaps://127.0.0.1:{tls}/INBOX"
        output = await at_a_terminal(mutt, "-n", "-F", str(tmp_path / "muttrc"), "-f", url, folder=tmp_path)
        assert "Subject: Report" in (tmp_path / "piped").read_text(), output
        alice = await house.directory.find(ALICE)
        assert alice is not None
        view = await house.mailboxes.views.get((await house.mailboxes.folders.get(alice.id, "INBOX")).id)
        flags = {entry.uid: entry.flags for entry in view.entries}
        assert flags[1] & Flag.FLAGGED and 2 not in flags and 3 in flags, (flags, output)


async def at_a_terminal(*command: str, folder: Path) -> str:
    """Runs a program that wants a terminal; what it drew on it."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "HOME": str(folder), "LANG": "C.UTF-8"}
    process = await asyncio.create_subprocess_exec(
        *command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder
    )
    os.close(theirs)
    drawn = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):
            drawn.extend(os.read(ours, 65536))

    loop = asyncio.get_running_loop()
    loop.add_reader(ours, read)
    try:
        async with asyncio.timeout(30):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError(drawn.decode(errors="replace")) from None
    finally:
        loop.remove_reader(ours)
        os.close(ours)
    return drawn.decode(errors="replace")


# mbsync: two-way synchronisation


async def test_mbsync_both_ways(peer: Peer, tmp_path: Path) -> None:
    mbsync = peer("mbsync")
    async with serving() as (house, _, clear, _):
        (tmp_path / "mbsyncrc").write_text(
            f"IMAPAccount gk\nHost 127.0.0.1\nPort {clear}\nUser {ALICE}\nPass \"{PASSWORD}\"\n"
            "SSLType None\nAuthMechs LOGIN\n\nIMAPStore far\nAccount gk\n\n"
            f"MaildirStore near\nPath {tmp_path}/mail/\nInbox {tmp_path}/mail/INBOX\nSubFolders Verbatim\n\n"
            "Channel all\nFar :far:\nNear :near:\nPatterns *\nSync All\nCreate Both\nExpunge Both\nSyncState *\n"
        )
        (tmp_path / "mail").mkdir()
        await run(mbsync, "-c", tmp_path / "mbsyncrc", "all")
        inbox = tmp_path / "mail" / "INBOX"
        files = {subject(path.read_bytes()): path for path in [*inbox.glob("new/*"), *inbox.glob("cur/*")]}
        assert set(files) == {"First", "Report", "=?utf-8?q?D=C3=A9jeuner?="}
        # here: one is read, one is thrown away, one is written; there: one is flagged, one arrives
        files["First"].rename(inbox / "cur" / (files["First"].name.partition(":")[0] + ":2,S"))
        files["Report"].rename(inbox / "cur" / (files["Report"].name.partition(":")[0] + ":2,ST"))
        (inbox / "new" / "1700000000.1_1.host").write_bytes(mail("Written here"))
        alice = await house.directory.find(ALICE)
        assert alice is not None
        box = await house.mailboxes.folders.get(alice.id, "INBOX")
        await house.mailboxes.entries.store(box.id, [2], "add", 4)
        await put(house, mail("Arrived there"))
        await run(mbsync, "-c", tmp_path / "mbsyncrc", "all")
        await run(mbsync, "-c", tmp_path / "mbsyncrc", "all")
        view = await house.mailboxes.views.get(box.id)
        there = {subject(await house.mailboxes.bodies.raw(entry, box)): entry.flags for entry in view.entries}
        assert there == {"First": 1, "=?utf-8?q?D=C3=A9jeuner?=": 4, "Written here": 0, "Arrived there": 0}
        files = {subject(path.read_bytes()): path for path in [*inbox.glob("new/*"), *inbox.glob("cur/*")]}
        names = {name: path.name.rpartition(",")[2] for name, path in files.items()}
        assert set(names) == {"First", "=?utf-8?q?D=C3=A9jeuner?=", "Written here", "Arrived there"}
        assert "F" in names["=?utf-8?q?D=C3=A9jeuner?="] and "S" in names["First"]


def subject(message: bytes) -> str:
    return re.search(rb"^Subject: (.*?)\r?$", message, re.MULTILINE)[1].decode()  # type: ignore[index]


# the wire itself


async def test_idle_on_the_wire_within_a_second() -> None:
    """Delivered, and said to a waiting client, over a real socket; in one of twenty, should the machine be busy."""
    async with serving() as (house, _, clear, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", clear)
        writer.write(f'a1 LOGIN {ALICE} "{PASSWORD}"\r\na2 SELECT INBOX\r\na3 IDLE\r\n'.encode())
        while await reader.readline() != b"+ idling\r\n":
            pass
        for _ in range(20):
            began = time.monotonic()
            await put(house, mail("Now"))
            while not (await reader.readline()).endswith(b" EXISTS\r\n"):
                pass
            if (took := time.monotonic() - began) < 1:
                break
        assert took < 1
        writer.close()


@pytest.mark.parametrize("port", ["clear", "tls"])
async def test_a_client_that_breaks_off_anywhere_leaves_a_server_that_works(port: str) -> None:
    script = f'a1 LOGIN {ALICE} "{PASSWORD}"\r\na2 SELECT INBOX\r\na3 APPEND INBOX {{20}}\r\nSubject: x\r\n\r\nhello\r\n'.encode()
    async with serving() as (_, server, clear, tls):
        for cut in range(0, len(script), 7):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", clear if port == "clear" else tls, ssl=None if port == "clear" else trusting()
            )
            await reader.readline()
            writer.write(script[:cut])
            writer.transport.abort()
        await comes(lambda: not server.guests.wires and server.guests.caps.total == 0)
