"""A configuration on free ports of this machine, for the benchmarks that start a server of their own."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ports:
    """Where a benchmark's server listens, on 127.0.0.1."""

    smtp: int
    imap: int
    imaps: int
    web: int


def free(count: int) -> list[int]:
    """Ports nobody listens on at this moment, all different."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [s.getsockname()[1] for s in held]


def configuration(folder: Path, extra: str = "") -> Ports:
    """Write `folder`/gk.toml with every listener on a free port, and say which."""
    ports = Ports(*free(4))
    (folder / "gk.toml").write_text(
        f'[smtp]\nlisten = ["127.0.0.1:{ports.smtp}"]\n'
        f'[imap]\nlisten = ["127.0.0.1:{ports.imap}"]\nlisten_tls = ["127.0.0.1:{ports.imaps}"]\n'
        f'[web]\nlisten = ["127.0.0.1:{ports.web}"]\n{extra}'
    )
    return ports
