"""gk-serve as a process: how it starts, how it fails to start, how it stops, and what it leaves behind."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import imaplib
import json
import os
import resource
import signal
import smtplib
import socket
import sqlite3
import ssl
import subprocess
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from conftest import BIN, PASSWORD, Server, eventually
from cryptography.hazmat.primitives import serialization
from prometheus_client.parser import text_string_to_metric_families

from gk.core.certificates import make_self_signed

ALICE = "alice@example.test"


def obey_permissions() -> None:
    """Called in the child: root without the right to ignore permissions is an ordinary user to its own files."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; holds from the exec on


def run(server: Server, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start it where it should refuse to start, and wait for its end."""
    return subprocess.run(
        [BIN / "gk-serve", "--config", server.config, "--data", server.data, *arguments], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, env={**server.environment, **environment}, cwd=server.folder,
        preexec_fn=obey_permissions if os.geteuid() == 0 else None,
    )


def refused(server: Server, *arguments: str, **environment: str) -> str:
    """What it says when it does not start: on standard error, without a traceback, with a status that is not 0."""
    end = run(server, *arguments, **environment)
    assert end.returncode not in (0, None) and end.returncode > 0
    assert "Traceback" not in end.stderr and "gk ready" not in end.stdout
    assert all(line.startswith("gk-serve: ") for line in end.stderr.splitlines()), end.stderr
    return end.stderr


def logged(server: Server) -> str:
    return server.log.read_text()


# --- starting ------------------------------------------------------------------------------------------------------------


def test_an_empty_folder_is_told_how_to_make_the_first_account_and_then_no_more(gk_serve):
    server = gk_serve()
    greeting = logged(server)
    for word in ("gk domain add", "gk user add", "gk alias add", f"http://127.0.0.1:{server.web}/", f"127.0.0.1:{server.smtp}",
                 f"127.0.0.1:{server.imap}", f"127.0.0.1:{server.imaps}", str(server.data)):
        assert word in greeting
    assert greeting.splitlines()[-1] == "gk ready"
    assert server.stop() == 0
    assert server.gk("domain", "add", "example.test").returncode == 0
    assert server.gk("user", "add", ALICE, text=f"{PASSWORD}\n").returncode == 0
    server.start()
    assert "gk user add" not in logged(server)[len(greeting):]


def test_every_listener_accepts_when_it_says_ready(demo):
    for port in (demo.smtp, demo.imap, demo.imaps, demo.web):
        socket.create_connection(("127.0.0.1", port), 5).close()


def test_in_json_the_log_is_json_and_says_ready_with_the_addresses(gk_serve):
    server = gk_serve("--log", "json")
    with smtplib.SMTP("127.0.0.1", server.smtp) as client:
        client.docmd("NOOP")
    server.stop()
    events = [json.loads(line) for line in logged(server).splitlines()]
    (ready,) = [event for event in events if event["event"] == "gk ready"]
    assert ready["smtp"] == [f"127.0.0.1:{server.smtp}"] and ready["web"] == [f"127.0.0.1:{server.web}"]
    assert ready["imap"] == [f"127.0.0.1:{server.imap}"] and ready["imaps"] == [f"127.0.0.1:{server.imaps}"]


def test_port_zero_lets_the_system_choose_and_says_what(tmp_path):
    server = Server(tmp_path, ["--log", "json"])
    server.config.write_text('smtp.listen = ["127.0.0.1:0"]\nimap.listen = ["127.0.0.1:0"]\nimap.listen_tls = ["[::1]:0"]\n'
                             'web.listen = ["127.0.0.1:0", "[::1]:0"]\n')
    try:
        server.start()
        ready = json.loads(logged(server).splitlines()[-1])
        for address in (*ready["smtp"], *ready["imap"], *ready["imaps"], *ready["web"]):
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), 5).close()
        assert len(ready["web"]) == 2
    finally:
        server.kill()


# --- not starting --------------------------------------------------------------------------------------------------------


def test_a_second_one_on_the_same_folder_is_refused_and_the_first_goes_on(gk_serve):
    server = gk_serve()
    second = Server(server.folder, [])
    second.data = server.data
    said = refused(second)
    assert str(server.data) in said and f"process {server.process.pid}" in said
    smtplib.SMTP("127.0.0.1", server.smtp, timeout=5).quit()


def test_the_same_server_started_twice_is_told_so_and_not_that_a_port_is_taken(gk_serve):
    server = gk_serve()
    said = refused(server)
    assert f"process {server.process.pid}" in said and str(server.data) in said and "taken" not in said
    server.kill()
    with socket.create_server(("127.0.0.1", server.smtp)):
        assert "taken" in refused(server), "the lock of a dead server explains nothing"


def test_a_lock_that_a_killed_process_left_is_no_obstacle(gk_serve):
    server = gk_serve()
    server.kill()
    assert (server.data / "gk.lock").exists()
    server.start()


@pytest.mark.parametrize("setting", ["smtp.listen", "imap.listen", "imap.listen_tls", "web.listen"])
def test_a_taken_port_is_named_and_nothing_is_written(gk_serve, setting):
    server = gk_serve(ready=False)
    ports = {"smtp.listen": server.smtp, "imap.listen": server.imap, "imap.listen_tls": server.imaps, "web.listen": server.web}
    port = ports[setting]
    with socket.create_server(("127.0.0.1", port)):
        said = refused(server)
    section, _, key = setting.partition(".")
    assert f"[{section}] {key}: 127.0.0.1:{port}" in said and "taken" in said
    assert not server.data.exists()


def test_an_address_that_is_given_twice_is_not_called_taken(gk_serve):
    server = gk_serve(ready=False)
    server.config.write_text(f'smtp.listen = ["127.0.0.1:{server.smtp}"]\nweb.listen = ["127.0.0.1:{server.smtp}"]\n')
    said = refused(server)
    assert f"[web] listen: 127.0.0.1:{server.smtp} is given already, in [smtp] listen" in said and "taken" not in said


@pytest.mark.parametrize("name", ["", "two words", "a\\r\\nBcc: eve@evil.example", "mail.example.org.", "<x>", "é", "x" * 254])
def test_a_hostname_that_could_not_stand_in_a_header_is_refused(gk_serve, name):
    server = gk_serve(ready=False)
    server.config.write_text(f'hostname = "{name}"\n')
    assert "line 1: hostname = " in (said := refused(server)) and "mail.example.org" in said
    assert not server.data.exists()


@pytest.mark.parametrize("inside", ["mail", "spool"])
@pytest.mark.parametrize("how", ["a file", "not ours"])
def test_a_folder_within_that_cannot_be_written_is_named_before_mail_comes(gk_serve, inside, how):
    server = gk_serve(ready=False)
    server.data.mkdir()
    path = server.data / inside
    path.write_text("precious") if how == "a file" else path.mkdir(mode=0o500)
    assert f"{path}: " in refused(server)


@pytest.mark.parametrize(("inside", "said"), [("gk.lock", "a folder stands where a file should be"), ("x" * 300, "too long")])
def test_other_obstacles_in_the_way_of_the_data_folder(gk_serve, inside, said):
    server = gk_serve(ready=False)
    if len(inside) > 255:
        server.data = server.data / inside
    else:
        (server.data / inside).mkdir(parents=True)
    assert said in refused(server)


def test_an_address_that_this_machine_does_not_have(gk_serve):
    server = gk_serve(ready=False)
    server.config.write_text('smtp.listen = ["192.0.2.1:2525"]\n')
    assert "192.0.2.1:2525" in refused(server)


def test_a_wrong_key_is_named_with_file_line_and_the_right_one(gk_serve):
    server = gk_serve(extra="[limits]\nper_adress = false\n", ready=False)
    said = refused(server)
    assert str(server.config) in said and "limits.per_adress" in said and "limits.per_address" in said
    assert f"line {len(server.config.read_text().splitlines())}" in said
    assert not server.data.exists()
    assert "GK_SMPT__LISTEN" in refused(server, GK_SMPT__LISTEN="127.0.0.1:25")


def test_a_wrong_key_in_json(gk_serve):
    server = gk_serve(extra="nonsense = 1\n", ready=False)
    end = run(server, "--log", "json")
    assert end.returncode == 1 and "nonsense" in json.loads(end.stderr)["error"]


def test_a_data_folder_that_is_a_file(gk_serve):
    server = gk_serve(ready=False)
    server.data.write_text("precious")
    assert str(server.data) in refused(server)
    assert server.data.read_text() == "precious"


def test_an_unwritable_folder_is_named(gk_serve):
    server = gk_serve(ready=False)
    server.data.mkdir(mode=0o555)
    said = refused(server)
    assert str(server.data) in said and "--data" in said and "Permission denied" in said
    assert list(server.data.iterdir()) == []


def test_a_read_only_file_system_is_named(gk_serve, mounted):
    server = gk_serve(ready=False)
    server.data = mounted("ro")
    said = refused(server)
    assert str(server.data) in said and "Read-only" in said


@pytest.mark.parametrize(("text", "said"), [
    ("[smtp]\nlisten = [\n[imap]\n", "line 3"),  # not TOML
    ('[smtp]\nmax_recipients = "many"\n', "line 2: smtp.max_recipients = 'many'"),
    ("smtp = 25\n", "line 1: smtp is a section"),
    ("[smtp]\nlisten = 25\n", "line 2: smtp.listen = 25"),
    ("[web]\nquota_bytes = 5\n", "line 2: there is no setting 'web.quota_bytes'; did you mean 'mail.quota_bytes'"),
    ("\xff", "not a TOML file"),
])
def test_a_config_that_cannot_be_used_names_file_and_line(gk_serve, text, said):
    server = gk_serve(ready=False)
    server.config.write_bytes(text.encode("latin-1"))
    told = refused(server)
    assert str(server.config) in told and said in told
    assert not server.data.exists()


def test_a_config_that_cannot_be_read_is_named(gk_serve):
    server = gk_serve(ready=False)
    server.config.chmod(0)
    assert f"{server.config}: cannot be read (Permission denied)" in refused(server)
    server.config.unlink()
    assert f"{server.config}: cannot be read" in refused(server)
    server.config.mkdir()
    assert f"{server.config}: cannot be read" in refused(server)


def test_a_database_of_a_newer_gk_is_refused_and_left_alone(gk_serve):
    server = gk_serve()
    server.stop()
    with contextlib.closing(sqlite3.connect(server.data / "gk.db", isolation_level=None)) as file:
        file.execute("UPDATE alembic_version SET version_num = '9999'")
    before = (server.data / "gk.db").read_bytes()
    said = refused(server)
    assert "newer gk" in said and "9999" in said and str(server.data / "gk.db") in said
    assert (server.data / "gk.db").read_bytes() == before


def test_a_file_that_is_no_database(gk_serve):
    server = gk_serve(ready=False)
    server.data.mkdir()
    (server.data / "gk.db").write_text("my diary " * 1000)
    assert "not a database" in refused(server)
    assert (server.data / "gk.db").read_text().startswith("my diary")


def damaged(data: Path, how: str) -> bytes:
    """Do to a database what disks and people do to it; what it is now."""
    path = data / "gk.db"
    whole = path.read_bytes()
    path.write_bytes({
        "cut off": whole[:20_000],
        "all zeros": bytes(len(whole)),
        "zeros inside": whole[:4096] + bytes(80_000) + whole[84_096:],
        "nothing": b"",
    }[how])
    return path.read_bytes()


@pytest.mark.parametrize(("how", "said"), [
    ("cut off", "damaged"), ("all zeros", "not a database"), ("zeros inside", "damaged"), ("nothing", "restore gk.db"),
])
def test_a_damaged_database_is_named_and_left_as_it_is(gk_serve, how, said):
    server = gk_serve("--demo")
    server.stop()
    found = damaged(server.data, how)
    told = refused(server, "--demo")
    assert f"{server.data / 'gk.db'}: " in told and said in told
    assert (server.data / "gk.db").read_bytes() == found
    assert server.gk("user", "list").returncode == 1


def test_mail_whose_database_is_gone_is_not_given_a_new_one(gk_serve):
    server = gk_serve("--demo")
    server.stop()
    (server.data / "gk.db").unlink()
    assert "missing" in refused(server)
    assert not (server.data / "gk.db").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "somebody else\'s demo"}'])
def test_a_demo_json_that_gk_did_not_write(gk_serve, text):
    server = gk_serve(ready=False)
    server.data.mkdir()
    (server.data / "demo.json").write_text(text)
    assert f"{server.data / 'demo.json'}: this is not what gk wrote" in refused(server, "--demo")
    assert (server.data / "demo.json").read_text() == text


@pytest.fixture(scope="module")
def pems(tmp_path_factory) -> Path:
    """Certificates and keys, right ones and wrong ones."""
    folder = tmp_path_factory.mktemp("pems")
    for name in "ab":
        make_self_signed(folder / f"{name}.pem", f"{name}.example")
        certificate, mark, key = (folder / f"{name}.pem").read_text().partition("-----BEGIN PRIVATE")
        (folder / f"{name}.crt").write_text(certificate)
        (folder / f"{name}.key").write_text(mark + key)
    key = serialization.load_pem_private_key((folder / "a.key").read_bytes(), None)
    (folder / "locked.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")))
    (folder / "cut.crt").write_text((folder / "a.crt").read_text()[:300])
    return folder


@pytest.mark.parametrize(("certificate", "key", "said"), [
    ("none.crt", "a.key", "none.crt: cannot be read"),
    ("a.crt", "none.key", "none.key: cannot be read"),
    ("", "a.key", "a.key: [tls] key is given without [tls] certificate"),
    ("a.crt", "", "a.crt: this holds no private key"),
    ("a.key", "a.key", "a.key: this holds no certificate"),
    ("a.crt", "b.crt", "b.crt: this holds no private key"),
    ("a.crt", "b.key", "b.key: this key does not belong to"),
    ("a.crt", "locked.key", "locked.key: this key is locked"),
    ("cut.crt", "a.key", "cut.crt: not usable"),
    (".", "a.key", "cannot be read"),
])
def test_a_certificate_that_cannot_be_used_is_named_and_nothing_is_written(gk_serve, pems, certificate, key, said):
    given = {"certificate": certificate, "key": key}
    tls = "".join(f'{name} = "{pems / file}"\n' for name, file in given.items() if file)
    server = gk_serve("--demo", extra=f"[tls]\n{tls}", ready=False)
    assert said in refused(server, "--demo")
    assert not server.data.exists()


# --- the demo ------------------------------------------------------------------------------------------------------------


def mails(server: Server) -> Counter[tuple[int, str]]:
    """How often each Message-ID stands in each person's mail."""
    query = "SELECT account_id, message_id FROM message JOIN content ON content.id = content_id"
    with contextlib.closing(sqlite3.connect(f"file:{server.data / 'gk.db'}?mode=ro", uri=True)) as file:
        return Counter(file.execute(query).fetchall())


def test_a_demo_is_seeded_once(gk_serve):
    server = gk_serve("--demo")
    assert PASSWORD in logged(server)
    first = mails(server)
    assert len(first) >= 30 and set(first.values()) == {1}
    server.stop()
    server.start()
    assert mails(server) == first


def test_the_demo_password_is_made_up_kept_and_can_be_set_later(gk_serve):
    server = gk_serve(ready=False)
    del (environment := server.environment)["GK_DEMO_PASSWORD"]
    Server.environment = property(lambda self: environment)  # type: ignore[assignment]
    try:
        server.arguments = ["--demo"]
        passwords = [json.loads((server.start().data / "demo.json").read_text())["password"]]
        assert passwords[0] in logged(server)
        server.stop()
        passwords.append(json.loads((server.start().data / "demo.json").read_text())["password"])
        server.stop()
        environment["GK_DEMO_PASSWORD"] = "pw"
        server.start()
        assert passwords[0] == passwords[1]
        with imaplib.IMAP4("127.0.0.1", server.imap) as client:
            client.login(ALICE, "pw")
        with imaplib.IMAP4("127.0.0.1", server.imap) as client, pytest.raises(imaplib.IMAP4.error):
            client.login(ALICE, passwords[0])
    finally:
        Server.environment = property(lambda self: {**os.environ, "GK_DEMO_PASSWORD": PASSWORD})  # type: ignore[assignment]


def test_a_folder_that_is_not_a_demo_s_is_refused_and_left_alone(gk_serve):
    server = gk_serve(ready=False)
    assert server.gk("domain", "add", "real.example").returncode == 0
    before = {path.name: path.read_bytes() for path in server.data.iterdir()}
    assert "--demo needs an empty folder" in refused(server, "--demo")
    after = {path.name: path.read_bytes() for path in server.data.iterdir() if path.name != "gk.lock"}
    assert after == before


def test_a_seeding_that_was_killed_is_finished_by_the_next_start(gk_serve):
    server = gk_serve("--demo", ready=False)

    def files() -> int:
        return len(list((server.data / "mail").rglob("*,*")))

    for enough in (1, 8, 20, 30):
        process = subprocess.Popen([BIN / "gk-serve", "--config", server.config, "--data", server.data, "--demo"],
                                   env=server.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while files() < enough:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not json.loads((server.data / "demo.json").read_text())["seeded"], "killed too late to test anything"
    server.start()
    found = mails(server)
    assert set(found.values()) == {1}
    fresh = gk_serve("--demo")
    assert {message for _, message in mails(fresh)} == {message for _, message in found}
    assert len(found) == len(mails(fresh))


# --- stopping ------------------------------------------------------------------------------------------------------------


def test_sigterm_ends_it_cleanly_while_clients_are_connected(gk_serve):
    server = gk_serve("--demo")
    idle = imaplib.IMAP4("127.0.0.1", server.imap)
    idle.login(ALICE, PASSWORD)
    idle.select("INBOX")
    idle.send(b"a1 IDLE\r\n")
    assert idle.readline().startswith(b"+")
    half = smtplib.SMTP("127.0.0.1", server.smtp)
    half.ehlo()
    half.mail("a@client.example")
    half.rcpt(ALICE)
    half.docmd("DATA")
    half.send("Subject: half a mail\r\n\r\n...")
    web = socket.create_connection(("127.0.0.1", server.web))
    web.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    assert server.stop() == 0  # within ten seconds or it is killed and the status is not 0
    assert b"* BYE" in idle.readline() + idle.readline()
    assert "stopped_by_force" not in logged(server) and "Traceback" not in logged(server)
    assert half.getreply()[0] == 421
    server.start()
    assert not any("half a mail" in str(message) for message in mails(server))


def test_ctrl_c_is_a_clean_end_too(gk_serve):
    assert gk_serve().stop(signal.SIGINT) == 0


# --- running -------------------------------------------------------------------------------------------------------------


def fingerprint(port: int) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as secure:
        return hashlib.sha256(secure.getpeercert(binary_form=True) or b"").hexdigest()


def test_sighup_takes_a_new_certificate_and_running_sessions_go_on(gk_serve, tmp_path):
    pem = tmp_path / "mail.pem"
    make_self_signed(pem, "mail.example.test")
    server = gk_serve("--demo", extra=f'[tls]\ncertificate = "{pem}"\n')
    client = imaplib.IMAP4_SSL("127.0.0.1", server.imaps, ssl_context=ssl._create_unverified_context())
    client.login(ALICE, PASSWORD)
    before = fingerprint(server.imaps)
    make_self_signed(pem, "mail.example.test")
    assert fingerprint(server.imaps) == before
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: fingerprint(server.imaps) != before)
    pem.write_text("broken")
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: "kept_the_old_ones" in logged(server))
    assert client.noop()[0] == "OK"
    assert fingerprint(server.imaps) != before


def test_every_tls_handshake_succeeds_when_the_client_speaks_at_once(demo):
    """The client's hello may lie in the socket before the server begins TLS; uvloop once read it as plain text."""
    for _ in range(30):
        with imaplib.IMAP4_SSL("127.0.0.1", demo.imaps, ssl_context=ssl._create_unverified_context(), timeout=10) as client:
            assert client.noop()[0] == "OK"


def numbers(server: Server) -> dict[tuple[str, ...], float]:
    """What /metrics says: name and label values → number."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as page:
        families = list(text_string_to_metric_families(page.read().decode()))
    order = {"protocol": 0, "command": 0, "outcome": 1, "result": 1}
    return {(sample.name, *(sample.labels[label] for label in sorted(sample.labels, key=lambda label: order.get(label, 2)))):
            sample.value for family in families for sample in family.samples}


def test_running_out_of_file_descriptors_is_survived_by_every_listener(gk_serve):
    """A crowd takes all that the process may open; when it has gone, the next client is served, at every port."""
    server = gk_serve("--demo", extra="[limits]\nper_address = false\n")
    folder = Path(f"/proc/{server.process.pid}/fd")
    most = len(list(folder.iterdir())) + 8
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (most, most))

    def greeting(port):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 60) as client:
            if port == server.web:
                client.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return client.recv(12)

    for port, said in ((server.smtp, b"220 "), (server.imap, b"* OK "), (server.web, b"HTTP/1.1 200")):
        crowd = [socket.create_connection(("127.0.0.1", port), 60) for _ in range(40)]
        eventually(lambda: len(list(folder.iterdir())) >= most - 1)
        for client in crowd:
            client.close()
        assert eventually(lambda port=port, said=said: (greeting(port) or b"").startswith(said)), port


def test_the_metrics_of_a_busy_demo_are_what_happened(gk_serve):
    server = gk_serve("--demo")
    before = numbers(server)
    with smtplib.SMTP("127.0.0.1", server.smtp, timeout=10) as client:
        for number in range(5):
            client.sendmail("a@client.example", [ALICE], f"Subject: metric {number}\r\n\r\n{'x' * 1000}\r\n")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("a@client.example", ["nobody@example.test"], "Subject: no\r\n\r\n")
    with imaplib.IMAP4("127.0.0.1", server.imap) as client:
        with pytest.raises(imaplib.IMAP4.error):
            client.login(ALICE, "wrong")
        client.login(ALICE, PASSWORD)
        client.select("INBOX")
        client.uid("FETCH", "1:*", "(FLAGS)")

    def grown(*key: str) -> float:
        return now[key] - before.get(key, 0)

    now = eventually(lambda: (n := numbers(server))[("gk_deliveries_total", "sent")] >= 5 and n)
    assert grown("gk_smtp_connections_total", "accepted") == 1
    assert grown("gk_smtp_messages_total", "accepted") == grown("gk_deliveries_total", "sent") == 5
    assert 5_000 < grown("gk_smtp_received_bytes_total") < 10_000
    assert grown("gk_delivery_seconds_count") == 5 and 0 < grown("gk_delivery_seconds_sum") < 60
    assert now["gk_queue_messages", "pending"] == now["gk_queue_messages", "sending"] == now[("gk_queue_oldest_seconds",)] == 0
    assert grown("gk_imap_connections_total", "accepted") == 1
    assert grown("gk_logins_total", "imap", "wrong") == grown("gk_logins_total", "imap", "ok") == 1
    assert grown("gk_imap_commands_total", "LOGIN", "no") == grown("gk_imap_commands_total", "SELECT", "ok") == 1
    assert 0 < grown("gk_database_group_seconds_count") <= grown("gk_database_writes_total", "ok")
    assert now[("gk_data_free_bytes",)] > 1_000_000 and now[("process_resident_memory_bytes",)] > 10_000_000
    assert now[("gk_certificate_expiry_timestamp_seconds",)] > time.time() + 700 * 86_400
    assert not any("@" in text or "/1" in text for key in now for text in key), "a label that grows without end, or tells"


def test_a_log_that_cannot_be_written_stops_no_mail(gk_serve):
    """The log lies on the full disk, or its reader has ended: `gk-serve 2>&1 | head`."""
    server = gk_serve("--demo", ready=False)
    with open("/dev/full", "w") as full:
        server.process = subprocess.Popen([BIN / "gk-serve", "--config", server.config, "--data", server.data, "--demo"],
                                          stdout=subprocess.PIPE, stderr=full, text=True,
                                          env={**server.environment, "PYTHONUNBUFFERED": ""})  # as it is at home
    assert server.process.stdout is not None
    assert any("gk ready" in line for line in server.process.stdout)
    server.process.stdout.close()
    for number in range(30):
        with smtplib.SMTP("127.0.0.1", server.smtp, timeout=10) as client:
            client.sendmail("a@client.example", [ALICE], f"Message-ID: <log.{number}@client.example>\r\n\r\n...\r\n")
    eventually(lambda: sum("log." in message for _, message in mails(server)) == 30)
    assert server.stop() == 0


@pytest.fixture
def small_disk(mounted):
    return mounted("size=12m")


def fill(folder: Path, leave: int = 0) -> Path:
    """Use up the space but for `leave` octets."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    if leave:
        os.truncate(ballast, ballast.stat().st_size - leave)
    return ballast


def test_a_disk_that_is_full_at_the_start(gk_serve, small_disk):
    server = gk_serve(ready=False)
    server.data = small_disk / "data"
    ballast = fill(small_disk, leave=64_000)
    assert "no space left" in refused(server)
    ballast.unlink()
    server.start()


def test_a_full_disk_answers_452_loses_nothing_and_goes_on_when_there_is_space(gk_serve, small_disk):
    server = gk_serve("--demo", ready=False)
    server.data = small_disk / "data"
    server.start()

    def send(number: int) -> int:
        body = f"Subject: disk {number}\r\nMessage-ID: <disk.{number}@client.example>\r\n\r\n" + "filling text\r\n" * 3000
        with smtplib.SMTP("127.0.0.1", server.smtp, timeout=20) as client:
            client.ehlo()
            assert client.mail("a@client.example")[0] == 250
            assert client.rcpt(ALICE)[0] == 250
            return client.data(body)[0]

    ballast = fill(small_disk, leave=300_000)
    codes = [send(number) for number in range(25)]
    assert set(codes) <= {250, 452} and codes[-1] == 452, codes
    ballast.unlink()
    assert send(100) == 250
    accepted = {f"disk.{number}@client.example" for number, code in enumerate([*codes, *[452] * 75, 250]) if code == 250}

    def arrived() -> bool:
        found = {message: count for (_, message), count in mails(server).items() if "disk." in message}
        assert set(found.values()) <= {1} and set(found) <= accepted
        return set(found) == accepted

    eventually(arrived, 60)  # a delivery that the disk refused is tried again after a quarter of a minute
    assert server.stop() == 0
