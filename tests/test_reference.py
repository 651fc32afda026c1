"""What the documentation promises to an operator stays true: its tables, and every command of README.md."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from conftest import BIN, Server, eventually
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent


def tables(notebook: nbformat.NotebookNode) -> list[str]:
    """The Markdown that its cells show."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return ["".join(output.data["text/markdown"]) for output in outputs if "text/markdown" in output.get("data", {})]


@pytest.mark.parametrize("page", ["operating", "standards", "core/00_config"])
def test_the_tables_on_the_page_are_those_of_the_code(page: str) -> None:
    """A setting, a metric or a command that is new or gone, and a page that was not built again."""
    path = ROOT / "nbs" / f"{page}.ipynb"
    kept, run = nbformat.read(path, 4), nbformat.read(path, 4)
    NotebookClient(run, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    assert tables(kept) and tables(kept) == tables(run)


README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(((?!https?://|#)[^)]+)\)", README)
    assert len(links) > 10 and [link for link in links if not (ROOT / link).exists()] == []
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", README, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= anchors


def session(block: str) -> list[tuple[str, str]]:
    """A console block as commands and what they print; a line that ends in a pipe goes on."""
    steps = [step.replace("|\n", "| ").partition("\n") for step in re.split(r"^\$ ", block, flags=re.M)[1:]]
    return [(command, printed) for command, _, printed in steps]


def without_clock(text: str) -> str:
    """What differs from day to day made the same, and the spaces; the line about going on with it is left out."""
    text = text.replace("\u00a0", " ").replace("\u202f", " ")
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d|(aujourd’hui|hier) à \d\d:\d\d", "WHEN", text)
    return re.sub(r"^\(.*--continue .*\)\n?", "", text, flags=re.M).strip()


def test_the_readme_shows_what_the_commands_print(peer: Callable[[str], str], gk_serve: Callable[..., Server]) -> None:
    """The session at the terminal, typed as it stands there, against a demo of its own."""
    peer("curl")
    server = gk_serve("--demo")
    (block,) = re.findall(r"```console\n(.*?)```", README, re.S)
    steps = session(block)
    assert len(steps) == 4
    for command, printed in steps:
        command = command.replace("127.0.0.1:2525", f"127.0.0.1:{server.smtp}")
        command = command.replace(".venv/bin/gk ask", f"{BIN}/gk ask --config {server.config} --data {server.data}")
        run = subprocess.run(["bash", "-c", command], env=server.environment, cwd=server.folder, text=True, timeout=120,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        assert without_clock(run.stdout) == without_clock(printed), command
        eventually(lambda: '"pending": 0' in server.gk("queue", "status", "--json").stdout, 60)
