"""From start to `gk ready`, and resident memory when idle: first start with --demo, then starts on the folder it left.

    python benchmarks/startup.py [--rounds 5]

Prints seconds (median, minimum, maximum) and megabytes of resident memory five seconds after `gk ready`, children included.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from ports import configuration

BIN = Path(sys.executable).parent


def start(folder: Path) -> tuple[float, subprocess.Popen[str]]:
    """Seconds from exec to the line `gk ready`, and the process."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [BIN / "gk-serve", "--demo", "--config", folder / "gk.toml", "--data", folder / "data"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "gk ready" in line:
            return time.perf_counter() - began, process
    raise SystemExit(f"gk-serve ended with {process.wait()}")


def resident(pid: int) -> float:
    """Megabytes of resident memory of a process and its children."""
    process = psutil.Process(pid)
    return sum(p.memory_info().rss for p in [process, *process.children(recursive=True)]) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    first, second, memory = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            configuration(folder)
            for seconds in (first, second):
                took, process = start(folder)
                seconds.append(took)
                if seconds is second:
                    time.sleep(5)
                    memory.append(resident(process.pid))
                process.terminate()
                process.wait(10)
    rows = (("first start, --demo", first, "s"), ("second start", second, "s"), ("resident, idle", memory, "MB"))
    for title, values, unit in rows:
        print(f"{title:20} median {statistics.median(values):7.2f} {unit}   min {min(values):7.2f}   max {max(values):7.2f}")


if __name__ == "__main__":
    main()
