"""The main job from end to end, with programs that nobody here wrote: a mail arrives, and you can ask for it."""

from __future__ import annotations

import contextlib
import imaplib
import json
import smtplib
import subprocess
import time
import urllib.error
import urllib.request
from email.message import EmailMessage

import pytest
from conftest import PASSWORD, PATIENCE, Server, eventually

ALICE, BOB = "alice@example.test", "bob@example.test"


def deliver(server: Server, subject: str, text: str = "Bonjour.") -> None:
    """One mail to alice by SMTP, as any program would send it."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Carol <carol@elsewhere.example>", ALICE, subject
    message["Message-ID"] = f"<{time.time_ns()}@elsewhere.example>"
    message.set_content(text)
    with smtplib.SMTP("127.0.0.1", server.smtp) as client:
        client.send_message(message)


def call(server: Server, path: str, token: str = "", body: dict | None = None) -> tuple[int, dict]:
    """One REST call: status and JSON."""
    request = urllib.request.Request(
        server.url + path, data=json.dumps(body).encode() if body is not None else None,
        headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


def login(server: Server, email: str = ALICE, password: str = PASSWORD) -> str:
    status, answer = call(server, "/api/auth/login", body={"email": email, "password": password})
    assert status == 200, answer
    assert answer["token_type"] == "bearer" and answer["expires_in"] == 24 * 3600
    return answer["access_token"]


def listed(server: Server, subject: str, token: str) -> dict | None:
    _, page = call(server, "/api/mails?folder=INBOX&limit=50", token)
    return next((item for item in page["items"] if item["subject"] == subject), None)


@pytest.mark.parametrize("program", ["smtplib", "swaks", "curl"])
def test_a_mail_by_any_smtp_client_is_listed_and_read(demo, peer, program, tmp_path):
    subject = f"par {program}"
    if program == "smtplib":
        deliver(demo, subject, "Voici la pièce.")
    elif program == "swaks":
        subprocess.run(
            [peer("swaks"), "--server", "127.0.0.1", "--port", str(demo.smtp), "--from", "carol@elsewhere.example", "--to", ALICE,
             "--header", f"Subject: {subject}", "--body", "Voici la pièce."], check=True, capture_output=True, timeout=30,
        )
    else:
        mail = tmp_path / "mail.txt"
        mail.write_bytes(f"From: carol@elsewhere.example\r\nTo: {ALICE}\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n"
                         f"Content-Type: text/plain; charset=utf-8\r\n\r\nVoici la pièce.\r\n".encode())
        subprocess.run(
            [peer("curl"), "-sS", f"smtp://127.0.0.1:{demo.smtp}", "--mail-from", "carol@elsewhere.example",
             "--mail-rcpt", ALICE, "-T", mail],
            check=True, capture_output=True, timeout=30,
        )
    token = login(demo)
    item = eventually(lambda: listed(demo, subject, token))
    assert item["unread"] is True and "carol@elsewhere.example" in json.dumps(item["from"])
    status, email = call(demo, f"/api/mails/{item['id']}", token)
    assert status == 200 and "Voici la pi" in email["text"]
    assert listed(demo, subject, token)["unread"] is True, "reading by the API does not mark as seen"


def test_it_is_on_disk_before_the_250(gk_serve):
    server = gk_serve("--demo")
    deliver(server, "avant le 250")
    server.kill()
    server.start()
    token = login(server)
    assert eventually(lambda: listed(server, "avant le 250", token))


def test_imap_idle_shows_a_new_mail_within_a_second(demo):
    """Once is enough to show that nothing but the mail is waited for; on a busy machine it may take several."""
    with imaplib.IMAP4("127.0.0.1", demo.imap, timeout=PATIENCE) as client:
        client.login(ALICE, PASSWORD)
        client.select("INBOX")
        client.send(b"X1 IDLE\r\n")
        assert client.readline().startswith(b"+")

        def told_after() -> float:
            deliver(demo, "pour IDLE")
            delivered = time.monotonic()
            while b"EXISTS" not in client.readline():
                pass
            return time.monotonic() - delivered

        assert any(told_after() < 1 for _ in range(20))
        client.send(b"DONE\r\n")
        while not client.readline().startswith(b"X1 OK"):
            pass


def test_imap_reads_the_same_mailbox_over_tls_and_flags_reach_the_api(demo):
    import ssl

    deliver(demo, "sous TLS", "Un secret.")
    token = login(demo)
    item = eventually(lambda: listed(demo, "sous TLS", token))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with imaplib.IMAP4_SSL("127.0.0.1", demo.imaps, ssl_context=context) as client:
        client.login(ALICE, PASSWORD)
        client.select("INBOX")
        _, (numbers,) = client.search(None, "SUBJECT", '"sous TLS"')
        _, rows = client.fetch(numbers.split()[-1], "(BODY[])")
        assert b"Un secret." in rows[0][1]
    assert eventually(lambda: listed(demo, "sous TLS", token)["unread"] is False)
    assert item["unread"] is True


def ask(server: Server, text: str, *options: str, person: str = ALICE) -> list[dict]:
    """`gk ask --json`: its events."""
    run = server.gk("ask", "--as", person, "--json", *options, text)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.mark.parametrize("text", ["liste mes mails", "list my mail"])
def test_listing_in_both_languages(demo, text):
    events = ask(demo, text)
    assert [event["name"] for event in events if event["type"] == "tool_call"] == ["list_emails"]
    assert any(event["type"] == "tool_result" and event["structured"]["items"] for event in events)
    assert events[-1]["type"] == "done" and any(event["type"] == "answer" for event in events)


def test_counting_in_the_terminal(demo):
    run = demo.gk("ask", "--as", ALICE, "combien de mails non lus ?")
    token = login(demo)
    _, folders = call(demo, "/api/folders", token)
    folders = folders["items"] if isinstance(folders, dict) else folders
    unread = next(folder["unread"] for folder in folders if folder["name"] == "INBOX")
    assert run.returncode == 0 and str(unread) in run.stdout


def ever_queued(server: Server) -> int:
    """How many recipients the queue has ever taken: whatever leaves goes through it."""
    status = json.loads(server.gk("queue", "status", "--json").stdout)
    return sum(count for state, count in status.items() if state != "oldest_seconds")


def test_a_reply_waits_for_approval_then_arrives_threaded(demo):
    queued = ever_queued(demo)
    shown = ask(demo, "réponds à Bob que j'arrive demain")
    approval = next((event for event in shown if event["type"] == "approval"), None)
    assert approval, shown
    assert approval["name"] == "reply_email"
    with imaplib.IMAP4("127.0.0.1", demo.imap) as client:
        client.login(BOB, PASSWORD)
        assert ever_queued(demo) == queued, "nothing may leave before it is approved"
        before = int(client.select("INBOX", readonly=True)[1][0])

        done = ask(demo, "réponds à Bob que j'arrive demain", "--yes")
        assert not any(event["type"] == "error" for event in done), done

        def arrived():
            count = int(client.select("INBOX", readonly=True)[1][0])
            return count > before and count

        number = str(eventually(arrived))
        _, rows = client.fetch(number, "(BODY.PEEK[])")
        mail = rows[0][1].decode()
    assert "In-Reply-To: <" in mail and "References:" in mail and "From: " in mail and ALICE in mail
    assert "arrive demain" in mail and "\r\nBcc:" not in mail


def test_sending_by_rest_goes_through_the_same_road(demo):
    token = login(demo)
    status, sent = call(demo, "/api/mails/send", token, {"to": [BOB], "subject": "par REST", "text": "Bonjour Bob."})
    assert status in {200, 201, 202}, sent
    bob = login(demo, BOB)
    assert eventually(lambda: listed(demo, "par REST", bob))


def test_what_is_not_yours_is_not_there(demo):
    deliver(demo, "à alice seule")
    alice, bob = login(demo), login(demo, BOB)
    item = eventually(lambda: listed(demo, "à alice seule", alice))
    assert call(demo, f"/api/mails/{item['id']}", bob) == call(demo, "/api/mails/999999999", bob)
    assert call(demo, f"/api/mails/{item['id']}", bob)[0] == 404
    assert call(demo, "/api/mails", "not.a.token")[0] == 401


def test_neither_a_password_nor_the_text_of_a_mail_is_in_the_log(demo):
    deliver(demo, "sujet confidentiel", "Le coffre s'ouvre avec 7-31-9.")
    token = login(demo)
    item = eventually(lambda: listed(demo, "sujet confidentiel", token))
    assert call(demo, f"/api/mails/{item['id']}", token)[0] == 200
    call(demo, "/api/auth/login", None, {"email": ALICE, "password": "wrong but telling"})
    with imaplib.IMAP4("127.0.0.1", demo.imap) as client:
        with contextlib.suppress(imaplib.IMAP4.error):
            client.login(ALICE, "wrong but telling")
        client.login(ALICE, PASSWORD)
    _, _, log = demo.log.read_text().partition("gk ready")  # before it, a demo says its password
    assert ALICE in log, "who came is there"
    assert [secret for secret in (PASSWORD, "telling", "confidentiel", "7-31-9", token) if secret in log] == []


def test_queue_status_beside_a_running_server(demo):
    status = json.loads(demo.gk("queue", "status", "--json").stdout)
    assert {"pending", "sending", "sent", "failed", "bounced", "oldest_seconds"} <= set(status)
