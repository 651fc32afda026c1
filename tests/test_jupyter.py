"""The conversation in a real JupyterLab, in a real browser: typed, listed, asked, approved, delivered. No network."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import PASSWORD, Server, eventually, reserve
from jupyter_core.paths import jupyter_path
from playwright.sync_api import Page, expect, sync_playwright

BIN = Path(sys.executable).parent
SHOTS = os.environ.get("SHOTS")  # a folder for pictures, for whoever wants to look at them


def notebook(folder: Path, data: Path) -> None:
    """One cell: the chat of Alice."""
    source = f'from gk.notebook import chat\nchat("alice@example.test", data={str(data)!r}, language="fr")'
    cell = {"cell_type": "code", "id": "chat", "source": source, "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"name": "python3", "display_name": "python3", "language": "python"}
    page = {"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "chat.ipynb").write_text(json.dumps(page))


@pytest.fixture
def lab(demo: Server, tmp_path: Path) -> Iterator[str]:
    """A JupyterLab on a folder with that notebook; its address, token included."""
    if not any((Path(folder) / "labextensions/@jupyter-widgets").is_dir() for folder in jupyter_path()):
        give_up = pytest.fail if os.environ.get("REQUIRE_PEERS") == "1" else pytest.skip
        give_up("the widgets of JupyterLab are not installed in this environment")
    work, (held,), token = tmp_path / "work", reserve(1), secrets.token_hex(8)
    port = held.getsockname()[1]
    work.mkdir()
    notebook(work, demo.data)
    folders = ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "JUPYTERLAB_SETTINGS_DIR")
    home = {name: str(tmp_path / name) for name in folders}
    answers = tmp_path / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    answers.parent.mkdir(parents=True)
    answers.write_text('{"fetchNews": "false", "checkForUpdates": false}')  # or it asks, on top of the page
    options = [f"--port={port}", "--port-retries=0", "--no-browser", "--allow-root", f"--IdentityProvider.token={token}",
               f"--ServerApp.root_dir={work}"]
    log = tmp_path / "lab.log"
    with log.open("w") as file:
        process = subprocess.Popen([BIN / "jupyter-lab", *options], stdout=file, stderr=file, stdin=subprocess.DEVNULL,
                                   env={**os.environ, **home}, cwd=work)
    try:
        eventually(lambda: f":{port}/lab" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}/lab/tree/chat.ipynb?token={token}"
    finally:
        process.terminate()
        process.wait(20)
        held.close()


def shot(page: Page, name: str) -> None:
    """A picture, when somebody asked for one."""
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"jupyter-{name}.png")


@pytest.fixture
def page(lab: str, peer: Callable[[str], str]) -> Iterator[Page]:
    """The notebook, open in Debian's chromium, which reaches no other host."""
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        browser = playwright.chromium.launch(executable_path=peer("chromium"), args=options)
        page = browser.new_page(viewport={"width": 1100, "height": 1000})
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        page.goto(lab)
        yield page
        browser.close()


def test_the_conversation_in_jupyterlab(page: Page, demo: Server) -> None:
    """"Liste mes mails" shows cards; "réponds à Bob" a question; approved, the answer is sent, once."""
    expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible()  # a cell run earlier is forgotten
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    entry = page.get_by_placeholder("Demandez")
    expect(entry).to_be_visible()
    entry.fill("liste mes mails")
    entry.press("Enter")
    cards = page.locator(".jp-OutputArea .gk-card")
    expect(cards.nth(4)).to_be_visible()
    shot(page, "list")
    entry.fill("réponds à Bob que j'arrive demain")
    entry.press("Enter")
    approve = page.locator(".jp-OutputArea button:has(.fa-check)")
    text = page.locator(".jp-OutputArea textarea").first
    expect(text).to_be_visible()
    assert "arrive demain" in text.input_value()
    text.scroll_into_view_if_needed()
    shot(page, "question")
    assert "arrive demain" not in sent(demo)
    approve.click()
    expect(page.get_by_text("Vous avez accepté", exact=False)).to_be_visible()
    shot(page, "sent")
    assert eventually(lambda: "arrive demain" in sent(demo))


def sent(demo: Server) -> str:
    """What bob has of alice, as IMAP shows it."""
    import imaplib

    client = imaplib.IMAP4("127.0.0.1", demo.imap)
    try:
        client.login("bob@example.test", PASSWORD)
        client.select("INBOX", readonly=True)
        _, found = client.search(None, "FROM", "alice")
        _, parts = client.fetch(b",".join(found[0].split()) or b"1", "(BODY.PEEK[TEXT])")
        return "".join(p[1].decode(errors="replace") for p in parts if isinstance(p, tuple))
    finally:
        client.logout()
