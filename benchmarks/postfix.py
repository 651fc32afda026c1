"""A private Postfix, with its own configuration, queue and port, that receives for alice@example.test. It needs root."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ports import free

ALICE = "alice@example.test"

# in_flow_delay: its default makes it wait a second when delivery falls behind; without it it is faster here
MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
myhostname = mx.example.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
virtual_mailbox_domains = example.test
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = inline:{{ {{ {alice} = alice/ }} }}
virtual_minimum_uid = 1
virtual_uid_maps = static:{owner.pw_uid}
virtual_gid_maps = static:{owner.pw_gid}
in_flow_delay = 0
"""


def master(port: int) -> str:
    """Debian's list of services, with our port, and no chroot: there is nothing in it here."""
    lines = []
    for line in Path("/etc/postfix/master.cf").read_text().splitlines():
        words = line.split()
        if len(words) >= 8 and not line.startswith(("#", " ")):
            if words[:2] == ["smtp", "inet"]:
                words[0] = f"127.0.0.1:{port}"
            words[4] = "n"
            line = " ".join(words)
        lines.append(line)
    return "\n".join(lines) + "\n"


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("it did not happen in time")
        time.sleep(0.02)


def greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            greeting = client.recv(512).startswith(b"220")
            client.sendall(b"QUIT\r\n")
            return greeting
    except OSError:
        return False


class Postfix:
    """A Postfix of our own that delivers to a Maildir."""

    name = "postfix"

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.folder, self.etc = folder, folder / "etc"
        (self.port,) = free(1)
        self.new = folder / "mail" / "alice" / "new"
        for sub in ("etc", "queue", "data", "mail"):
            (folder / sub).mkdir(parents=True)
        owner = pwd.getpwnam("nobody")
        os.chown(folder / "mail", owner.pw_uid, owner.pw_gid)
        os.chown(folder / "data", pwd.getpwnam("postfix").pw_uid, pwd.getpwnam("postfix").pw_gid)
        for one in (folder, *folder.parents):  # its daemons are not root
            if one.stat().st_uid == os.getuid() and one != Path("/"):
                one.chmod(one.stat().st_mode | 0o111)
        (self.etc / "main.cf").write_text(MAIN.format(folder=folder, alice=ALICE, owner=owner) + settings)
        (self.etc / "master.cf").write_text(master(self.port))

    def start(self) -> None:
        self._run("start")
        wait_for(lambda: greets(self.port), 20)

    def stop(self) -> None:
        self._run("stop")

    def _run(self, verb: str) -> None:
        done = subprocess.run(["postfix", "-c", self.etc, verb], capture_output=True, text=True)
        if done.returncode and verb == "start":
            raise SystemExit(f"postfix did not start: {done.stdout}{done.stderr}")

    def there(self) -> int:
        """Messages in the Maildir."""
        try:
            return len(os.listdir(self.new))
        except FileNotFoundError:
            return 0

    def check(self, subject: str, count: int) -> None:
        """A Maildir has no search to wait for."""

    def pid(self) -> int:
        return int((self.folder / "queue" / "pid" / "master.pid").read_text())
