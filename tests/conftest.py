"""What the tests share: real programs (`peer`), free ports, and a gk-serve process of one's own (`gk_serve`)."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent
PASSWORD = "correct horse battery"


@pytest.fixture(scope="session")
def peer() -> Callable[[str], str]:
    """`peer("swaks")` is the program's path; where it is missing the test is skipped, or fails when REQUIRE_PEERS=1."""

    def find(program: str) -> str:
        path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if path is None:
            message = f"{program} is not installed (a Debian package brings it; .ci/run lists them)"
            if os.environ.get("REQUIRE_PEERS") == "1":
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find


PATIENCE = 60  # seconds until a state that must come is given up: a machine is slow far more often than gk is wrong


def eventually(check: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """The first truthy answer of `check`, asked again for a while: delivery runs behind the 250."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


async def comes(check: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """`eventually`, for what happens in the test's own loop; `check` may be a coroutine function."""
    async with asyncio.timeout(seconds):
        while True:
            found = check()
            if found := await found if inspect.isawaitable(found) else found:
                return found
            await asyncio.sleep(0.005)


def reserve(count: int) -> list[socket.socket]:
    """Ports that are ours until these sockets are closed. They are bound, so that nobody else takes the port in the moment
    before our server does; they do not listen, and so a server may, as servers set SO_REUSEADDR."""
    held: list[socket.socket] = []
    while len(held) < count:
        ours = socket.socket()
        try:
            ours.bind(("127.0.0.1", random.randrange(12_000, 32_000)))  # below the ports of outgoing connections
        except OSError:
            ours.close()
        else:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # after bind: two of us never share one
            held.append(ours)
    return held


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """`mounted("size=4m")` is a file system in memory, a real one: small, or `ro`. Skipped without the right to mount."""
    with contextlib.ExitStack() as stack:

        def mount(options: str) -> Path:
            folder = tmp_path / "disk"
            folder.mkdir()
            command = ["mount", "-t", "tmpfs", "-o", options, "gk", folder]
            if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
                pytest.skip("a file system of one's own needs the right to mount one")
            stack.callback(subprocess.run, ["umount", "-l", folder], check=True)
            return folder

        yield mount


@dataclass
class Server:
    """A gk-serve process, its folder and where it listens."""

    folder: Path
    arguments: list[str] = field(default_factory=list)
    extra: str = ""
    process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self.held = reserve(4)
        self.smtp, self.imap, self.imaps, self.web = (held.getsockname()[1] for held in self.held)
        self.data, self.config, self.log = self.folder / "data", self.folder / "gk.toml", self.folder / "serve.log"
        self.url = f"http://127.0.0.1:{self.web}"
        self.config.write_text(
            f'[smtp]\nlisten = ["127.0.0.1:{self.smtp}"]\n'
            f'[imap]\nlisten = ["127.0.0.1:{self.imap}"]\nlisten_tls = ["127.0.0.1:{self.imaps}"]\n'
            f'[web]\nlisten = ["127.0.0.1:{self.web}"]\n{self.extra}'
        )

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "GK_DEMO_PASSWORD": PASSWORD}

    def start(self, seconds: float = PATIENCE) -> Server:
        """Start it and wait for `gk ready`; what it printed is in the error when it does not come."""
        with self.log.open("a") as log:
            before = self.log.stat().st_size
            self.process = subprocess.Popen(
                [BIN / "gk-serve", "--config", self.config, "--data", self.data, *self.arguments],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment, cwd=self.folder, text=True,
            )
        deadline = time.monotonic() + seconds
        while "gk ready" not in self.log.read_text()[before:]:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"gk-serve did not become ready:\n{self.log.read_text()[before:]}")
            time.sleep(0.02)
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and wait for the end; the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop(signal.SIGKILL)

    def close(self) -> None:
        """End it, and give its ports back."""
        self.kill()
        for held in self.held:
            held.close()

    def gk(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the `gk` command line on this server's folder."""
        verb, rest = arguments[0], arguments[1:]
        return subprocess.run(
            [BIN / "gk", verb, *rest[:1], "--config", self.config, "--data", self.data, *rest[1:]]
            if verb in {"user", "domain", "alias", "token", "queue"}
            else [BIN / "gk", verb, "--config", self.config, "--data", self.data, *rest],
            input=text, capture_output=True, text=True, timeout=60, env=self.environment, cwd=self.folder,
        )


@pytest.fixture
def gk_serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """`gk_serve("--demo")` starts a server in a fresh folder, on free ports; it is killed when the test ends."""
    servers: list[Server] = []

    def start(*arguments: str, extra: str = "", ready: bool = True) -> Server:
        folder = tmp_path / f"server{len(servers)}"
        folder.mkdir()
        server = Server(folder, list(arguments), extra)
        servers.append(server)
        return server.start() if ready else server

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One demo server for the tests of a module: alice and bob at example.test, password `PASSWORD`."""
    server = Server(tmp_path_factory.mktemp("demo"), ["--demo"]).start()
    yield server
    server.close()
