"""Make nbs/images/chat.png, the picture in README.md: a demo of its own, in Debian's Chromium, asked in English.

    python docs/screenshot.py       # needs playwright and chromium; listens on ports that the system chooses
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "nbs" / "images" / "chat.png"
PASSWORD = "correct horse battery"  # noqa: S105 - of a demo that lives for seconds
ANYWHERE = """
smtp.listen = ["127.0.0.1:0"]
imap.listen = ["127.0.0.1:0"]
imap.listen_tls = ["127.0.0.1:0"]
web.listen = ["127.0.0.1:0"]
"""
STEPS = (("search mails from Bob", ".gk-cards > li"), ("reply to Bob that I arrive tomorrow", "form.gk-approval"))


def photograph(url: str) -> None:
    """Sign in as alice, list what is unread, and have a reply written that waits for its yes."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1000, "height": 860}, locale="en-GB", color_scheme="light")
        page.goto(url)
        page.fill("#email", "alice@example.test")
        page.fill("#password", PASSWORD)
        page.keyboard.press("Enter")
        for request, shown in STEPS:
            page.locator("#ask").fill(request)
            page.keyboard.press("Enter")
            page.locator(f"#log {shown}").last.wait_for()
        page.locator("#working").wait_for(state="hidden")
        page.screenshot(path=PICTURE)
        browser.close()


def main() -> None:
    """Serve, photograph, stop."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "gk.toml")
        config.write_text(ANYWHERE)
        command = [Path(sys.executable).parent / "gk-serve", "--demo", "--config", config, "--data", Path(folder, "data")]
        environment = {**os.environ, "GK_DEMO_PASSWORD": PASSWORD}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as server:  # noqa: S603
            assert server.stdout
            printed = ""
            while "gk ready" not in printed and (line := server.stdout.readline()):
                printed += line
            found = re.search(r"http://\S+", printed)
            try:
                if found is None:
                    sys.exit(f"gk-serve did not become ready:\n{printed}")
                photograph(found[0])
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
