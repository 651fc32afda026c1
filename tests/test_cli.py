"""The command line as a process: beside a running server and without one."""

from __future__ import annotations

import contextlib
import fcntl
import imaplib
import json
import os
import pty
import smtplib
import subprocess
import termios
from pathlib import Path

import pytest
from conftest import BIN, PASSWORD, Server, eventually

ALICE, BOB = "alice@example.test", "bob@example.test"


@pytest.fixture
def house(gk_serve) -> Server:
    """A data folder with a domain and alice; no server runs."""
    server = gk_serve(ready=False)
    assert server.gk("domain", "add", "example.test").returncode == 0
    assert server.gk("user", "add", ALICE, "--name", "Alice Martin", text=f"{PASSWORD}\n").returncode == 0
    return server


def failed(run: subprocess.CompletedProcess[str]) -> str:
    """What a command says that could not do it: one line or more on standard error, no traceback, status 1."""
    assert run.returncode == 1, run.stdout + run.stderr
    assert run.stderr.startswith("gk: ") and "Traceback" not in run.stderr
    return run.stderr


def events(run: subprocess.CompletedProcess[str]) -> list[dict]:
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def kinds(run: subprocess.CompletedProcess[str]) -> list[str]:
    return [event["type"] for event in events(run)]


def recipient(server: Server, address: str) -> int:
    """What the server answers to RCPT for an address."""
    with smtplib.SMTP("127.0.0.1", server.smtp, timeout=10) as client:
        client.ehlo()
        client.mail("a@client.example")
        return client.rcpt(address)[0]


def can_log_in(server: Server, address: str, password: str) -> bool:
    with imaplib.IMAP4("127.0.0.1", server.imap) as client:
        try:
            return client.login(address, password)[0] == "OK"
        except imaplib.IMAP4.error:
            return False


# --- people, aliases, tokens ---------------------------------------------------------------------------------------------


def test_a_person_from_beginning_to_end(house):
    assert house.gk("user", "exists", ALICE).returncode == 0
    assert house.gk("user", "exists", BOB).returncode == 1
    assert house.gk("user", "add", BOB, text="a long password\n").returncode == 0
    assert json.loads(house.gk("user", "list", "--json").stdout) == [
        {"address": ALICE, "name": "Alice Martin"}, {"address": BOB, "name": ""}]
    assert house.gk("user", "delete", BOB).returncode == 0
    assert house.gk("user", "exists", BOB).returncode == 1
    assert "no bob@example.test" in failed(house.gk("user", "delete", BOB))


@pytest.mark.parametrize(("arguments", "said"), [
    (["user", "add", "alice@example.test"], "exists already"),
    (["user", "add", "alice@other.example"], "gk domain add other.example"),
    (["user", "add", "alice"], "no @"),
    (["user", "passwd", "nobody@example.test"], "gk user list"),
    (["domain", "add", "example.test"], "already"),
    (["domain", "add", "exa mple"], "not a domain"),
    (["alias", "add", "alice@example.test", "bob@example.test"], "own address"),
    (["alias", "delete", "team@example.test"], "no alias"),
    (["token", "revoke", "99"], "gk token list"),
    (["token", "add", "--as", "nobody@example.test"], "gk user list"),
    (["ask", "--as", "nobody@example.test", "bonjour"], "gk user list"),
    (["ask", "--as", "alice@example.test", "--now", "yesterday", "bonjour"], "--now yesterday"),
    (["ask", "--as", "alice@example.test", "--now", "0001-01-01T00:00:00+00:00", "bonjour"], "between the years"),
    (["ask", "--as", "alice@example.test", "--now", "9999-12-31T23:59:59+00:00", "bonjour"], "between the years"),
    (["ask", "--as", "alice@example.test", "--continue", "nonsense", "bonjour"], "no such conversation"),
    (["ask", "--as", "alice@example.test", "\udcff\udcfe"], "not text"),
    (["ask", "--as", "alice@example.test", "--continue", "\udcff", "bonjour"], "not text"),
    (["mcp", "--as", "nobody@example.test"], "gk user list"),
    (["ask", "--as", "alice@example.test", " "], "say what you want"),
    (["token", "add", "--as", "alice@example.test", "--days", "-1"], "--days -1"),
    (["token", "add", "--as", "alice@example.test", "--days", "nan"], "--days nan"),
    (["token", "add", "--as", "alice@example.test", "--kind", "bogus"], "use mcp or app"),
    (["token", "add", "--as", "alice@example.test", "--scope", "bogus"], "no scope 'bogus'"),
])
def test_a_mistake_is_one_sentence_that_helps(house, arguments, said):
    assert said in failed(house.gk(*arguments, text="a long password\n"))


def test_several_targets_of_an_alias_are_added_together_or_not_at_all(house):
    assert "nonsense" in failed(house.gk("alias", "add", "team@example.test", ALICE, "nonsense"))
    assert "already" in failed(house.gk("alias", "add", "team@example.test", ALICE, ALICE))
    assert json.loads(house.gk("alias", "list", "--json").stdout) == []


def test_an_alias_that_leads_nowhere_is_said(house):
    run = house.gk("alias", "add", "info@example.test", "typo@example.test")
    assert run.returncode == 0 and "nobody receives info@example.test" in run.stderr
    assert house.gk("alias", "add", "a@example.test", "b@example.test").returncode == 0
    assert "nobody receives b@example.test" in house.gk("alias", "add", "b@example.test", "a@example.test").stderr, "a circle"
    assert house.gk("alias", "add", "team@example.test", ALICE).stderr == ""


def test_a_number_that_no_token_can_have_is_refused(house):
    run = house.gk("token", "revoke", "99999999999999999999999")
    assert run.returncode == 2 and "Traceback" not in run.stderr


def piped(server: Server, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line in a shell, with the status of `gk` and not of what follows it."""
    return subprocess.run(["bash", "-o", "pipefail", "-c", line.format(gk=BIN / "gk", data=server.data)],
                          capture_output=True, text=True, timeout=60, env=server.environment, cwd=server.folder)


def test_a_reader_that_stops_reading_is_no_error(house):
    """gk user list | head -1"""
    run = piped(house, "{gk} user list --data {data} | true")
    assert run.stderr == "" and run.returncode in (0, 1, 141)
    run = piped(house, "{gk} ask --as alice@example.test --data {data} --json 'liste mes mails' | head -c 1")
    assert run.stderr == ""


def test_output_on_a_full_disk_is_said(house):
    run = piped(house, "unset PYTHONUNBUFFERED; {gk} queue status --data {data} > /dev/full")
    assert run.returncode == 1 and run.stderr.startswith("gk: ") and "No space left" in run.stderr
    assert run.stderr.count("\n") == 1, "once: it is not tried again when the program ends"


@pytest.mark.parametrize(("closed", "status"), [
    ("user list --data {data} >&-", 0), ("user list --data {data} 2>&-", 0),
    ("ask --as alice@example.test --data {data} bonjour >&-", 0),
    ("user add --data {data} bob@example.test <&-", 1), ("mcp --as alice@example.test --data {data} <&-", 0),
    ("user list --data {data} <&- >&- 2>&-", 0),
])  # fmt: skip
def test_a_stream_that_is_closed_is_an_empty_one(house, closed, status):
    run = piped(house, "{gk} " + closed)
    assert run.returncode == status and "Traceback" not in run.stdout + run.stderr, run.stderr


def test_no_file_of_ours_gets_the_number_of_a_closed_stream(tmp_path):
    """A library in C that complains on number 2 would write into the lock, a mail or the database."""
    code = ("from gk.core.logs import fill_streams; fill_streams(); import os; "
            "os._exit(any(os.readlink(f'/proc/self/fd/{n}') != '/dev/null' for n in (0, 1, 2)))")
    assert subprocess.run(["bash", "-c", '"$0" -c "$1" <&- >&- 2>&-', BIN / "python", code]).returncode == 0


@pytest.mark.parametrize("folder", ["{config}", "{config}/x", "/dev/null/x", "x" * 300])
@pytest.mark.parametrize("verb", ["domain add other.example", "user list"])
def test_a_data_folder_that_cannot_be_is_one_sentence(house, folder, verb):
    folder = folder.format(config=house.config)
    run = subprocess.run([BIN / "gk", *verb.split(), "--data", folder], capture_output=True, text=True, timeout=60)
    assert folder in failed(run)


def test_a_password_that_is_not_utf_8_is_refused(house):
    run = piped(house, r"printf 'a\xff long password\n' | {gk} user add --data {data} bob@example.test")
    assert "not text" in failed(run)
    assert house.gk("user", "exists", BOB).returncode == 1


def test_without_a_terminal_nobody_is_asked(house):
    run = piped(house, "{gk} user add --data {data} bob@example.test < /dev/null")
    assert "standard input" in failed(run)


@pytest.mark.parametrize("key", [b"\x03", b"\x04"])
def test_ctrl_c_and_ctrl_d_at_the_password_end_it_without_a_traceback(house, key):
    ours, theirs = pty.openpty()
    process = subprocess.Popen([BIN / "gk", "user", "add", "--data", house.data, BOB], stdin=theirs, stdout=theirs, stderr=theirs,
                               start_new_session=True, close_fds=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(theirs)
    shown = b""
    while b":" not in shown:
        shown += os.read(ours, 1000)
    os.write(ours, key)
    with contextlib.suppress(OSError):  # the terminal is closed with the process
        while more := os.read(ours, 1000):
            shown += more
    assert process.wait(20) != 0
    assert b"Traceback" not in shown, shown.decode()
    os.close(ours)
    assert house.gk("user", "exists", BOB).returncode == 1


def test_a_folder_without_a_gk_is_not_made_by_a_typing_error(tmp_path):
    server = Server(tmp_path)
    assert str(server.data) in failed(server.gk("user", "list"))
    assert not server.data.exists()


def test_a_wrong_config_is_named(house):
    house.config.write_text("[smtp]\nlissten = []\n")
    assert "did you mean 'smtp.listen'" in failed(house.gk("user", "list"))


@pytest.mark.parametrize("text", ["", "\n", "short\n"])
def test_no_password_no_account(house, text):
    failed(house.gk("user", "add", BOB, text=text))
    assert house.gk("user", "exists", BOB).returncode == 1


def test_at_a_terminal_the_password_is_asked_for_twice_and_never_shown(house):
    for second, made in (("another password\n", False), ("a long password\n", True)):
        ours, theirs = pty.openpty()
        process = subprocess.Popen([BIN / "gk", "user", "add", "--config", house.config, "--data", house.data, BOB],
                                   stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, close_fds=True)
        os.close(theirs)
        shown = b""
        for text in ("a long password\n", second):
            while not shown.rstrip().endswith(b":"):
                shown += os.read(ours, 1000)
            os.write(ours, text.encode())
            shown += b"(typed)"
        while process.poll() is None or b"gk" not in shown:
            try:
                shown += os.read(ours, 1000)
            except OSError:
                break
        assert process.wait(20) == (0 if made else 1), shown
        assert b"a long password" not in shown
        os.close(ours)
    assert house.gk("user", "exists", BOB).returncode == 0


def test_deleting_a_person_removes_the_mail_from_the_disk(house):
    house.start()
    with smtplib.SMTP("127.0.0.1", house.smtp) as client:
        client.sendmail("a@client.example", [ALICE], "Subject: secret plans\r\n\r\nburn after reading\r\n")

    def kept() -> list[Path]:
        return [path for path in (house.data / "mail").rglob("*") if path.is_file() and b"burn after" in path.read_bytes()]

    eventually(kept)
    assert house.gk("user", "delete", ALICE).returncode == 0
    assert eventually(lambda: not kept())
    assert recipient(house, ALICE) == 550
    assert not can_log_in(house, ALICE, PASSWORD)


def test_a_running_server_knows_at_once_what_the_command_did(house):
    house.start()
    assert recipient(house, BOB) == 550
    assert house.gk("user", "add", BOB, text="a long password\n").returncode == 0
    assert recipient(house, BOB) == 250
    assert can_log_in(house, BOB, "a long password")
    assert house.gk("user", "passwd", BOB, text="another password\n").returncode == 0
    assert not can_log_in(house, BOB, "a long password")
    assert can_log_in(house, BOB, "another password")
    assert house.gk("alias", "add", "team@example.test", ALICE, BOB).returncode == 0
    assert recipient(house, "team@example.test") == 250
    assert recipient(house, "whoever@example.test") == 550
    assert house.gk("alias", "add", "@example.test", ALICE).returncode == 0
    assert recipient(house, "whoever@example.test") == 250
    assert house.gk("alias", "delete", "@example.test").returncode == 0
    assert eventually(lambda: recipient(house, "whoever@example.test") == 550)


def test_a_token_is_alone_on_standard_output_and_an_app_password_logs_in(house):
    house.start()
    run = house.gk("token", "add", "--as", ALICE, "--kind", "app", "--name", "mutt")
    text = run.stdout.strip()
    assert text.startswith("gk_app_") and "\n" not in text
    assert can_log_in(house, ALICE, text)
    (row,) = json.loads(house.gk("token", "list", "--json").stdout)
    assert row["name"] == "mutt" and text not in json.dumps(row)
    assert house.gk("token", "revoke", str(row["id"])).returncode == 0
    assert not can_log_in(house, ALICE, text)
    assert json.loads(house.gk("token", "list", "--json").stdout) == []


def test_the_queue_as_json(house):
    status = json.loads(house.gk("queue", "status", "--json").stdout)
    assert status == {"pending": 0, "sending": 0, "sent": 0, "failed": 0, "bounced": 0, "oldest_seconds": 0}


# --- asking --------------------------------------------------------------------------------------------------------------


def test_asking_without_a_server_reads_and_delivers(house):
    assert house.gk("user", "add", BOB, "--name", "Bob Durand", text="a long password\n").returncode == 0
    run = house.gk("ask", "--as", ALICE, "--json", "--yes", "écris à bob@example.test : le café est prêt")
    assert "tool_result" in kinds(run) and kinds(run)[-1] == "done", run.stdout
    assert json.loads(house.gk("queue", "status", "--json").stdout)["pending"] == 0, "delivered without a server"
    assert any(event.get("structured", {}).get("count") == 1
               for event in events(house.gk("ask", "--as", BOB, "--json", "combien de mails non lus ?")))


def test_asking_beside_a_server_leaves_delivery_to_it(demo):
    run = demo.gk("ask", "--as", BOB, "--json", "--yes", f"écris à {ALICE} : rendez-vous au hangar")
    assert kinds(run)[-1] == "done", run.stdout
    eventually(lambda: "rendez-vous au hangar" in demo.gk("ask", "--as", ALICE, "--json", "cherche hangar").stdout.casefold(), 30)


def test_what_needs_approval_is_shown_and_not_done(demo):
    before = json.loads(demo.gk("queue", "status", "--json").stdout)["sent"]
    run = demo.gk("ask", "--as", ALICE, "--json", "réponds à Bob que j'arrive demain")
    (approval,) = [event for event in events(run) if event["type"] == "approval"]
    assert approval["name"] == "reply_email" and "demain" in approval["args"]["body"]
    assert json.loads(demo.gk("queue", "status", "--json").stdout)["sent"] == before
    text = demo.gk("ask", "--as", ALICE, "réponds à Bob que j'arrive demain")
    assert BOB in text.stderr and "rien n’est fait" in text.stderr and "pour continuer" in text.stderr
    assert "Un message aux personnes que vous avez nommées." in text.stderr  # the language of the request, not of the terminal


def test_a_conversation_goes_on_for_its_owner_only(demo):
    first = events(demo.gk("ask", "--as", ALICE, "--json", "liste mes mails"))
    conversation = first[0]["conversation"]
    second = events(demo.gk("ask", "--as", ALICE, "--json", "--continue", conversation, "lis le deuxième"))
    shown = next(event["structured"]["items"] for event in first if event["type"] == "tool_result")
    opened = next(event["structured"] for event in second if event["type"] == "tool_result")
    assert opened["id"] == shown[1]["id"]
    assert "no such conversation" in failed(demo.gk("ask", "--as", BOB, "--continue", conversation, "lis le deuxième"))


def test_now_replaces_the_clock_with_its_time_zone(demo):
    def since(now: str) -> str:
        run = demo.gk("ask", "--as", ALICE, "--json", "--now", now, "montre les mails d'hier")
        return next(json.dumps(event["args"]) for event in events(run) if event["type"] == "tool_call")

    assert "2031-05-05" in since("2031-05-06T10:00:00+02:00")
    assert since("2031-05-06T23:30:00+00:00") != since("2031-05-07T01:30:00+02:00"), "the same moment, another day"


def test_in_text_the_mails_are_lines_and_nothing_drives_the_terminal(house):
    house.start()
    with smtplib.SMTP("127.0.0.1", house.smtp) as client:
        client.sendmail("m@client.example", [ALICE], "From: =?utf-8?q?=1B=5B31mMallory?= <m@client.example>\r\n"
                        "Subject: =?utf-8?q?=1B=5D0=3Bowned=07?=\r\n\r\n\x1b[2J\x9b2Jcleared?\r\n".encode("latin-1"))
    run = eventually(lambda: (r := house.gk("ask", "--as", ALICE, "lis le premier mail")).stdout.count("cleared") and r)
    assert "Mallory" in run.stdout
    assert "\x1b" not in run.stdout + run.stderr and "\x9b" not in run.stdout and "\x07" not in run.stdout


# --- speed of the small things -------------------------------------------------------------------------------------------


def test_help_imports_neither_the_database_nor_the_web():
    code = ("import sys; from gk.cli import app; "
            "assert not {'sqlalchemy', 'fastapi', 'mcp', 'alembic', 'dateparser'} & set(sys.modules), sys.modules.keys()")
    subprocess.run([BIN / "python", "-c", code], check=True)


def test_adding_a_person_imports_neither_the_web_nor_the_tools(house):
    code = ("import sys; sys.argv = ['gk', 'user', 'list', '--data', sys.argv[1]]\n"
            "from gk.cli import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            "assert not {'fastapi', 'mcp', 'alembic', 'dateparser', 'aiosmtpd'} & set(sys.modules)")
    subprocess.run([BIN / "python", "-c", code, house.data], check=True, capture_output=True)
