"""Every notebook of the book runs from its first cell to its last, each in a fresh interpreter, as a reader would run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOUND = (path.relative_to(ROOT) for path in (ROOT / "nbs").rglob("*.ipynb"))
NOTEBOOKS = sorted(path.as_posix() for path in FOUND if ".ipynb_checkpoints" not in path.parts)


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_notebook_runs(notebook):
    """nbdev's own runner, so that `#| eval: false` means here what it means to nbdev_test."""
    run = subprocess.run(
        [sys.executable, "-m", "nbdev.test", "--path", notebook, "--n_workers", "0"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
