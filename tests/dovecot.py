"""A Dovecot of one's own: a temporary configuration, a Maildir, a port of the loopback; to compare with."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

NOBODY = 65534
PATIENCE = 120  # seconds until it is given up: a machine is slow far more often than Dovecot does not start
USER, PASSWORD = "alice@example.test", "correct horse battery"

CONFIGURATION = """
base_dir = {run}
state_dir = {run}/state
log_path = {run}/dovecot.log
ssl = no
disable_plaintext_auth = no
listen = 127.0.0.1
protocols = imap
mail_location = maildir:{mail}:LAYOUT=fs
first_valid_uid = 0
default_internal_user = {internal}
default_login_user = {login}
default_internal_group = {group}
mail_max_userip_connections = 0
namespace inbox {{
  inbox = yes
  separator = /
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {run}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}
}}
service imap-login {{
  chroot =
  service_count = 0
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


def program() -> str | None:
    """The path of dovecot, None where it is not installed."""
    return shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class Dovecot:
    """A context manager: inside it, `port` answers IMAP for USER with PASSWORD."""

    def __init__(self, folder: Path, messages: Iterable[bytes] = ()) -> None:
        self.folder = folder
        self.run = Path(tempfile.mkdtemp(prefix="dovecot-"))  # short: the paths of its sockets have a limit of 108 octets
        self.mail = folder / "home" / "Maildir"
        for name in ("cur", "new", "tmp"):
            (self.mail / name).mkdir(parents=True)
        (self.run / "state").mkdir(parents=True)
        for number, message in enumerate(messages):
            virtual = len(message) + message.count(b"\n") - message.count(b"\r\n")
            file = self.mail / "cur" / f"{1_700_000_000 + number}.M{number}.host,S={len(message)},W={virtual}:2,"
            file.write_bytes(message)
            os.utime(file, (1_700_000_000 + number,) * 2)
        (self.run / "users").write_text(f"{USER}:{PASSWORD}\n")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def __enter__(self) -> Dovecot:
        root = os.getuid() == 0
        me = getpass.getuser()
        (self.folder / "gk.conf").write_text(CONFIGURATION.format(
            run=self.run, mail="~/Maildir", home=self.folder / "home", port=self.port,
            uid=os.getuid() or NOBODY, gid=os.getgid() or NOBODY,  # Dovecot does not read mail as root
            internal="dovecot" if root else me, login="dovenull" if root else me, group="dovecot" if root else me,
        ))
        for path in (self.mail.parent, *self.mail.parent.rglob("*")) if root else ():
            os.chown(path, NOBODY, NOBODY)
        self.run.chmod(0o755)
        for path in (self.folder, *self.folder.parents):  # its helpers run as other users and must reach their sockets
            if path.stat().st_uid == os.getuid() and not path.stat().st_mode & 0o001:
                path.chmod(path.stat().st_mode | 0o011)
        command = [program() or "dovecot", "-F", "-c", self.folder / "gk.conf"]
        utc = os.environ | {"TZ": "UTC"}  # a day of SEARCH is a day in the server's zone
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, env=utc)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = self.run / "dovecot.log"
                    raise AssertionError(f"dovecot did not start: {log.read_text() if log.exists() else ''}") from None
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()
        shutil.rmtree(self.run, ignore_errors=True)
