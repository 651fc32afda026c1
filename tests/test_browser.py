"""The page in a real browser: by mouse, by keyboard, on a phone, without scripts, and through a broken connection."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from conftest import comes
from web_office import ALICE, BOB, PASSWORD, Site, web_office

from gk.agent.loop import Assistant
from gk.agent.model import Chunk

if os.environ.get("REQUIRE_PEERS") == "1":
    import playwright.async_api as playwright
else:
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed (pip install -e '.[dev]')")
expect = playwright.expect
expect.set_options(timeout=15_000)  # a busy machine is slow, not wrong
pytestmark = pytest.mark.xdist_group("browser")

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-default-apps", "--no-first-run",
]  # fmt: skip


def letter(sender: str, subject: str, text: str, number: int) -> bytes:
    head = f"From: {sender}\nTo: alice@example.test\nSubject: {subject}\nMessage-ID: <{number}@example.test>\n"
    return f"{head}MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n{text}\n".encode()


HTML = b"""From: Eve <eve@evil.example>
To: alice@example.test
Subject: Newsletter
MIME-Version: 1.0
Content-Type: text/html; charset=utf-8

<p style="color:#b00">Hello <b>reader</b></p><img src="https://evil.example/pixel.png"><script>document.title = "owned"</script>
<style>body { background: url(https://evil.example/b.png) }</style><a href="https://evil.example/">offer</a>
"""


@pytest_asyncio.fixture
async def site(tmp_path) -> AsyncIterator[Site]:
    async with web_office(tmp_path) as site:
        await site.deliver(letter("Claire Petit <claire@example.test>", "Photos", "Les voici.", 1))
        await site.deliver(letter("Bob Durand <bob@example.test>", "Jeudi", "Est-ce que jeudi te convient ?", 2))
        await site.deliver(letter("Emma Wilson <emma@example.test>", "Training plan", "Here it is.", 3))
        yield site


# Notices leave after some seconds, and a slow machine may look later than that.
REMEMBER = """() => new MutationObserver((changes) => {
  const told = document.documentElement.dataset;
  for (const change of changes) for (const node of change.addedNodes) told.told = (told.told ?? "") + node.textContent;
}).observe(document.querySelector("#toasts"), { childList: true })"""


class Window:
    """A page that remembers everything it should not have done."""

    def __init__(self, page: Any, site: Site, scripts: bool) -> None:
        self.page, self.site, self.scripts, self.complaints = page, site, scripts, []
        self.signs_out = False  # from now on, what was still being asked may be refused
        page.on("console", lambda message: message.type in ("error", "warning") and self.complain(message.text))
        page.on("pageerror", lambda error: self.complain(str(error)))
        page.on("request", lambda request: self.look(request.url))
        page.on("websocket", lambda socket: self.look(socket.url))

    def look(self, url: str) -> None:
        if urlsplit(url).netloc != urlsplit(self.site.url).netloc:
            self.complaints.append(f"asked another host: {url}")

    def complain(self, text: str) -> None:
        cut = "WebSocket connection" in text or "ERR_CONNECTION" in text  # a connection that was cut on purpose
        if not cut and not (self.signs_out and "401 (Unauthorized)" in text):
            self.complaints.append(text)

    async def sign_in(self, address: str = ALICE) -> None:
        await self.page.goto(self.site.url)
        await self.page.fill("#email", address)
        await self.page.fill("#password", PASSWORD)
        await self.page.keyboard.press("Enter")
        await self.page.locator("#ask").wait_for()
        await self.page.wait_for_load_state()  # before the scripts are there, links and keys do what a page without scripts does
        if self.scripts:
            await self.page.evaluate(REMEMBER)

    async def say(self, text: str) -> None:
        """Says it, and waits until the assistant has finished."""
        before = await self.page.locator(".gk-turn-user").count()
        await self.page.fill("#ask", text)
        await self.page.press("#ask", "Enter")
        await self.page.locator(".gk-turn-user").nth(before).wait_for()
        await self.caught_up()

    async def caught_up(self) -> None:
        """Until the turn has ended, and the page shows all of it."""
        log = self.page.locator("#log")
        conversation = await log.get_attribute("data-conversation")

        async def ended() -> Any:
            events = await self.site.office.conversations.after(conversation, 0)
            return events[-1].type == "done" and str(events[-1].number)

        await expect(log).to_have_attribute("data-after", await comes(ended))
        await expect(self.page.locator("#working")).to_be_hidden()

    async def told(self, text: str) -> None:
        """A notice with this text has been shown: it leaves by itself, so the page keeps count of them."""
        await expect(self.page.locator("html")).to_have_attribute("data-told", re.compile(text))


@pytest_asyncio.fixture
async def window(site, peer) -> AsyncIterator[Callable[..., Any]]:
    """`await window(locale=…, viewport=…)` opens a page; at the end none of them may have complained."""
    chromium = peer("chromium")
    windows: list[Window] = []
    async with playwright.async_playwright() as engine:
        browser = await engine.chromium.launch(executable_path=chromium, args=ARGUMENTS)

        async def opened(width: int = 1280, height: int = 800, locale: str = "fr-FR", **more: Any) -> Window:
            context = await browser.new_context(viewport={"width": width, "height": height}, locale=locale, **more)
            window = Window(await context.new_page(), site, scripts=more.get("java_script_enabled", True))
            windows.append(window)
            return window

        yield opened
        await browser.close()
    assert [complaint for window in windows for complaint in window.complaints] == []


async def arrived(site: Site, count: int) -> list[Any]:
    """Bob's mail, once there is that much of it."""
    async def there() -> Any:
        items = (await site.mail(site.bob).list_emails()).items
        return len(items) >= count and items

    return await comes(there)


async def test_the_main_job_from_sign_in_to_the_approved_reply(site, window):
    page = (alice := await window()).page
    await alice.sign_in()
    await expect(page.get_by_role("heading", name="Bonjour Alice")).to_be_visible()
    await alice.say("liste mes mails")
    cards = page.locator("#log .gk-cards > li")
    await expect(cards).to_have_count(3)
    await expect(cards.nth(1)).to_contain_text("Bob Durand")
    await expect(cards.nth(1)).to_contain_text("Non lu")
    await cards.nth(1).locator("summary").click()
    await expect(cards.nth(1).locator(".gk-text")).to_contain_text("Est-ce que jeudi te convient ?")
    await expect(page.locator("#list .gk-item", has_text="Bob Durand").locator(".gk-dot")).to_have_count(0)
    await alice.say("lis le deuxième")
    await expect(page.locator("#log .gk-card[open] .gk-text").last).to_contain_text("jeudi te convient")
    await alice.say("réponds à Bob que j'arrive demain")
    card = page.locator("form.gk-approval")
    await expect(card.locator("textarea")).to_have_value("J'arrive demain.")
    await expect(card).to_contain_text("bob@example.test")
    assert (await site.mail(site.bob).list_emails()).items == []
    await card.locator("textarea").fill("J'arrive demain, vers dix heures.")
    await card.get_by_role("button", name="Envoyer").click()
    await expect(page.locator(".gk-is-decided")).to_contain_text("Vous avez accepté")
    (mail,) = await arrived(site, 1)
    read = await site.mail(site.bob).read_email(mail.id)
    assert "vers dix heures" in read.text and read.in_reply_to == "2@example.test" and mail.subject == "Re: Jeudi"


async def test_english_browser_english_page(site, window):
    page = (alice := await window(locale="en-GB")).page
    await page.goto(site.url)
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    await alice.sign_in()
    await expect(page.get_by_role("heading", name="Hello Alice")).to_be_visible()
    await page.get_by_role("button", name="list my mail").click()
    await expect(page.locator("#log .gk-cards > li")).to_have_count(3)


async def test_a_broken_connection_loses_nothing_and_repeats_nothing(site, window):
    page = (alice := await window()).page
    await alice.sign_in()
    await alice.say("combien de mails non lus ?")
    before = await page.locator("#log .gk-turn").count()
    conversation = await page.locator("#log").get_attribute("data-conversation")
    for connection in list(site.server.server_state.connections):
        connection.transport.abort()
    async for _ in site.office.assistant.say(site.alice, conversation, "liste mes mails", language="fr"):
        pass
    await expect(page.locator("#log .gk-cards > li")).to_have_count(3)
    await expect(page.locator("#log .gk-turn-user")).to_have_count(2)
    await alice.caught_up()
    await expect(page.locator("#offline")).to_be_hidden()
    live = await page.locator("#log .gk-turn").count()
    assert live > before
    await page.reload()
    await expect(page.locator("#log .gk-turn")).to_have_count(live)
    await alice.say("aide")
    await expect(page.locator("#log .gk-turn-user")).to_have_count(3)


async def test_what_could_not_be_sent_stays_in_the_composer(site, window):
    page = (alice := await window()).page
    await alice.sign_in()
    await page.route_web_socket("**/ws**", lambda socket: socket.close())
    for connection in list(site.server.server_state.connections):
        connection.transport.abort()
    await expect(page.locator("#offline")).to_be_visible(timeout=10_000)
    await page.fill("#ask", "liste mes mails")
    await page.press("#ask", "Enter")
    await expect(page.locator("#ask")).to_have_value("liste mes mails")
    await expect(page.locator(".gk-turn-user")).to_have_count(0)


async def test_new_mail_appears_by_itself_and_is_announced(site, window):
    page = (alice := await window()).page
    await alice.sign_in()
    await expect(page.locator("#list .gk-item")).to_have_count(3)
    await site.deliver(letter("Zoé <zoe@example.test>", "Coucou", "C'est moi.", 9))
    await alice.told("Nouveau message de Zoé")
    await expect(page.locator("#toasts")).to_have_attribute("role", "status")
    await expect(page.locator("#list .gk-item")).to_have_count(4)
    await expect(page.locator("#list .gk-item").first).to_contain_text("Zoé")
    await expect(page.locator("#folders .gk-count").first).to_contain_text("4")


@pytest.mark.parametrize("width", [360, 320], ids=["a phone", "WCAG 1.4.10"])
async def test_at_360_px_nothing_is_cut_off(site, window, width):
    page = (alice := await window(width=width, height=740, has_touch=True)).page

    async def fits() -> None:
        wide = await page.evaluate("""[...document.querySelectorAll("body *")]
            .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && e.checkVisibility())
            .map((e) => e.outerHTML.slice(0, 120))""")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, wide

    await page.goto(site.url)
    await fits()
    await alice.sign_in()
    await fits()
    await alice.say("liste mes mails")
    await fits()
    await alice.say("réponds à Bob que j'arrive demain")
    await expect(page.locator("form.gk-approval button").first).to_be_in_viewport()
    await fits()
    await expect(page.locator("#mailbox")).to_be_hidden()
    await page.get_by_role("link", name="Courrier").tap()
    await expect(page.locator("#log")).to_be_hidden()
    await fits()
    await page.locator("#list .gk-item", has_text="Bob").tap()
    await expect(page.get_by_role("heading", name="Jeudi")).to_be_visible()
    await fits()
    for button in await page.locator(".gk-reading-top .gk-button").all():
        box = await button.bounding_box()
        assert box["width"] >= 24 and box["height"] >= 24, "WCAG 2.5.8"
    await page.get_by_role("link", name="Répondre").tap()
    await expect(page.locator("#ask")).to_be_focused()
    await expect(page.locator("#ask")).to_have_value("Réponds à Bob Durand que ")


async def test_by_keyboard_alone(site, window):
    page = (alice := await window()).page
    await page.goto(site.url)
    await expect(page.locator("#email")).to_be_focused()
    await page.keyboard.type(ALICE)
    await page.keyboard.press("Tab")
    await expect(page.locator("#password")).to_be_focused()
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await page.locator("#ask").wait_for()
    await page.wait_for_load_state()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Aller à la conversation")).to_be_focused()
    await expect(page.get_by_role("link", name="Aller à la conversation")).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await expect(page.locator("#ask")).to_be_focused()
    await page.keyboard.type("liste mes mails")
    await page.keyboard.press("Enter")
    await expect(page.locator("#log .gk-cards > li")).to_have_count(3)
    await alice.caught_up()
    for _ in range(3):  # from the composer back to the second card
        await page.keyboard.press("Shift+Tab")
        if await page.evaluate("document.activeElement.closest('li')?.textContent.includes('Bob Durand') ?? false"):
            break
    await page.keyboard.press("Enter")
    await expect(page.locator("#log .gk-card[open] .gk-text")).to_contain_text("jeudi te convient")
    outline = await page.evaluate(
        "getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).outlineWidth"
    )
    assert outline == "solid2px", "focus can be seen"
    await page.focus("#ask")
    await page.keyboard.type("réponds à Bob que j'arrive demain")
    await page.keyboard.press("Enter")
    send = page.locator("form.gk-approval").get_by_role("button", name="Envoyer")
    await send.wait_for()
    for _ in range(8):
        await page.keyboard.press("Shift+Tab")
        if await send.evaluate("element => element === document.activeElement"):
            break
    await expect(send).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator(".gk-is-decided")).to_be_visible()
    await expect(page.locator("#ask")).to_be_focused()
    await arrived(site, 1)
    assert alice.complaints == []


async def test_escape_closes_and_returns_the_focus(site, window):
    page = (alice := await window()).page
    await alice.sign_in()
    item = page.locator("#list .gk-item", has_text="Bob")
    await item.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Jeudi")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator("#list .gk-item", has_text="Bob")).to_be_focused()
    await site.deliver(letter("Zoé <zoe@example.test>", "Coucou", "C'est moi.", 9))
    await expect(page.locator("#list .gk-item")).to_have_count(4)  # the list is another one now
    await expect(page.locator("#list .gk-item", has_text="Bob")).to_be_focused()


async def test_actions_on_an_open_mail(site, window):
    page = (alice := await window()).page
    await alice.sign_in()
    await page.locator("#list .gk-item", has_text="Claire").click()
    await page.get_by_role("button", name="Archiver").click()
    await alice.told("Archivé")
    await expect(page.locator("#list .gk-item")).to_have_count(2)
    await page.locator("#folders").get_by_role("link", name="Archives").click()
    await expect(page.locator("#list .gk-item")).to_have_count(1)
    await expect(page.locator("#list-title")).to_have_text("Archives")


async def test_html_mail_runs_nothing_and_fetches_nothing(site, window):
    await site.deliver(HTML)
    page = (alice := await window()).page
    await alice.sign_in()
    await page.locator("#list .gk-item", has_text="Newsletter").click()
    await page.locator(".gk-original > summary").click()
    frame = page.frame_locator(".gk-frame")
    await expect(frame.locator("b")).to_have_text("reader")
    assert await frame.locator("p").evaluate("element => getComputedStyle(element).color") == "rgb(187, 0, 0)", (
        "its own style stays"
    )
    assert await page.title() != "owned"
    await expect(frame.locator(".link-target")).to_have_text("(evil.example)")


async def test_pictures_of_strangers_only_after_a_click(site, window):
    await site.deliver(HTML)
    page = (alice := await window()).page
    asked: list[str] = []

    async def answer(route: Any) -> None:
        asked.append(route.request.url)
        await route.fulfill(status=200, content_type="image/png", body=b"")  # an answer, or the browser would complain

    await page.context.route("https://evil.example/**", answer)
    await alice.sign_in()
    await page.locator("#list .gk-item", has_text="Newsletter").click()
    await page.locator(".gk-original > summary").click()
    await page.frame_locator(".gk-frame").locator("b").wait_for()
    await page.frames[-1].wait_for_load_state()
    assert asked == []
    async with page.expect_request("https://evil.example/**"):
        await page.get_by_role("link", name="Charger les images").click()
    await expect(page.get_by_role("link", name="Charger les images")).to_have_count(0)
    await expect(page.locator(".gk-original").get_by_role("status")).to_have_text("Les images sont chargées.")
    await expect(page.locator(".gk-frame")).to_be_focused()
    assert asked == ["https://evil.example/pixel.png"]
    assert alice.complaints == ["asked another host: https://evil.example/pixel.png"]  # this once, because it was asked for
    alice.complaints.clear()


async def test_without_scripts(site, window):
    page = (alice := await window(java_script_enabled=False)).page
    await alice.sign_in()
    await page.fill("#ask", "liste mes mails")
    await page.locator("#send").click()
    await expect(page.locator("#log .gk-cards > li")).to_have_count(3)
    await page.fill("#ask", "réponds à Bob que j'arrive demain")
    await page.locator("#send").click()
    await page.locator("form.gk-approval").get_by_role("button", name="Envoyer").click()
    await expect(page.locator(".gk-is-decided")).to_be_visible()
    await arrived(site, 1)
    await page.locator("#list .gk-item", has_text="Claire").click()
    await expect(page.locator("#reading")).to_contain_text("Les voici.")
    await page.get_by_role("button", name="Archiver").click()
    await expect(page.locator("#list .gk-item")).to_have_count(2)
    await page.locator(".menu-account summary").click()
    alice.signs_out = True
    await page.get_by_role("button", name="Se déconnecter").click()
    await expect(page.locator("#password")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_light_and_dark(site, window, scheme):
    page = (alice := await window(color_scheme=scheme)).page
    await alice.sign_in()
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(250, 249, 246)", "dark": "rgb(20, 22, 21)"}[scheme]


async def test_a_revoked_session_leads_to_the_sign_in_page(site, window):
    page = (alice := await window()).page
    await alice.sign_in()
    alice.signs_out = True
    for token in await site.office.credentials.tokens(site.alice):
        await site.office.credentials.revoke(token.id)
    await expect(page.locator("#password")).to_be_visible()


async def test_two_windows_see_the_same_conversation(site, window):
    one, two = await window(), await window(locale="en-GB")
    await one.sign_in()
    await one.say("aide")
    await two.page.context.add_cookies(await one.page.context.cookies())
    await two.page.goto(site.url)
    await expect(two.page.locator("#log .gk-turn-user")).to_have_count(1)
    await one.say("liste mes mails")
    await expect(two.page.locator("#log .gk-cards > li")).to_have_count(3)
    await expect(two.page.locator("#log .gk-turn-user")).to_have_count(2)
    await one.say("réponds à Bob que j'arrive demain")
    await two.page.get_by_role("button", name="Refuse").click()
    await expect(one.page.locator(".gk-is-decided")).to_contain_text("Vous avez refusé")
    assert (await site.office.queue.status())["sent"] == 0 and (await site.mail(site.bob).list_emails()).items == []


async def test_a_screen_reader_finds_names_and_regions(site, window):
    page = (alice := await window(locale="en-GB")).page
    await alice.sign_in()
    await alice.say("list my mail")
    for role, name in (("main", None), ("navigation", "Folders"), ("log", "Conversation"), ("textbox", "Your request"),
                       ("button", "Send"), ("region", "Messages"), ("region", "Mail")):  # fmt: skip
        await expect(page.get_by_role(role, name=name) if name else page.get_by_role(role)).to_have_count(1)
    names = [await item.inner_text() for item in await page.locator("#log .gk-cards summary").all()]
    assert len(names) == 3 and all("Unread" in name for name in names)
    assert BOB not in await page.locator("#log").inner_text(), "a name is shown where there is one"


async def test_back_and_forward_walk_through_folders_and_mails(site, window):
    page = (alice := await window()).page
    await alice.sign_in()
    await page.locator("#list .gk-item", has_text="Bob").click()
    await expect(page.get_by_role("heading", name="Jeudi")).to_be_visible()
    await page.locator("#folders").get_by_role("link", name="Archives").click()
    await expect(page.locator("#list-title")).to_have_text("Archives")
    await page.go_back()
    await expect(page.get_by_role("heading", name="Jeudi")).to_be_visible()
    await page.go_back()
    await expect(page.locator("#reading")).to_be_hidden()
    await expect(page.locator("#list .gk-item")).to_have_count(3)
    await page.go_forward()
    await expect(page.get_by_role("heading", name="Jeudi")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("heading", name="Jeudi")).to_be_visible()


async def test_a_conversation_has_an_address_once_it_has_begun(site, window):
    page = (alice := await window()).page
    await alice.sign_in()
    await page.goto(f"{site.url}/?c=new")
    assert await site.office.conversations.list(site.alice) == []
    await alice.say("aide")
    (begun,) = await site.office.conversations.list(site.alice)
    await expect(page).to_have_url(f"{site.url}/?c={begun.id}")
    await page.locator(".talk-head summary").click()
    await expect(page.locator(".talk-head .menu-sheet a")).to_have_count(1)
    await page.reload()
    await expect(page.locator(".gk-turn-user")).to_have_count(1)


async def test_the_title_counts_unread_mail(site, window):
    page = (alice := await window()).page
    await alice.sign_in()
    await expect(page).to_have_title("(3) Courrier · Alice Martin")
    await site.deliver(letter("Zoé <zoe@example.test>", "Coucou", "C'est moi.", 9))
    await expect(page).to_have_title("(4) Courrier · Alice Martin")


async def test_the_names_of_folders_are_not_cut_off_on_a_desk(site, window):
    page = (alice := await window()).page
    await alice.sign_in()
    cut = "es => es.filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent)"
    assert await page.locator("#folders .gk-folder-name").evaluate_all(cut) == []


async def test_a_double_click_on_the_button_sends_once(site, window):
    page = (alice := await window()).page
    await alice.sign_in()
    await alice.say("réponds à Bob que j'arrive demain")
    await page.locator("form.gk-approval").get_by_role("button", name="Envoyer").dblclick()
    await expect(page.locator(".gk-is-decided")).to_be_visible()
    await arrived(site, 1)
    await alice.say("aide")
    assert len((await site.mail(site.bob).list_emails()).items) == 1


async def test_what_is_said_before_the_socket_is_there_is_said_when_it_is(site, window):
    page = (alice := await window()).page
    await alice.sign_in()
    held: asyncio.Queue[Any] = asyncio.Queue()
    await page.route_web_socket("**/ws**", held.put_nowait)
    await page.goto(site.url)
    await page.fill("#ask", "liste mes mails")
    await page.press("#ask", "Enter")
    await expect(page.locator("#ask")).to_have_value("")
    await expect(page.locator("#offline")).to_be_hidden()
    (await held.get()).connect_to_server()
    await expect(page.locator("#log .gk-cards > li")).to_have_count(3)
    await expect(page.locator(".gk-turn-user")).to_have_count(1)
    await expect(page.locator("#ask")).to_have_value("")


async def test_back_after_signing_out_shows_no_mail(site, window):
    page = (alice := await window()).page
    await alice.sign_in()
    await page.locator("#list .gk-item", has_text="Bob").click()
    await expect(page.get_by_role("heading", name="Jeudi")).to_be_visible()
    await page.locator(".menu-account summary").click()
    alice.signs_out = True
    await page.get_by_role("button", name="Se déconnecter").click()
    await expect(page.locator("#password")).to_be_visible()
    await page.go_back()
    await expect(page.locator("#password")).to_be_visible()
    await expect(page.locator("#reading")).to_have_count(0)


async def test_signing_out_in_another_tab_closes_this_one(site, window):
    page = (alice := await window()).page
    await alice.sign_in()
    other = await page.context.new_page()
    await other.goto(site.url)
    await other.locator(".menu-account summary").click()
    alice.signs_out = True
    await other.get_by_role("button", name="Se déconnecter").click()
    await expect(page.locator("#password")).to_be_visible()


class Slow:
    """A model that begins an answer and does not come to its end."""

    async def respond(self, *about: Any) -> AsyncIterator[Chunk]:
        yield Chunk(text="Je réfléchis")
        yield Chunk(text=", encore")
        await asyncio.Event().wait()


async def test_a_button_and_escape_stop_the_assistant_and_up_brings_back_the_request(site, window):
    office = site.office
    office.__dict__["assistant"] = Assistant(Slow(), office.registry, office.conversations, office.settings.agent, office.now)
    page = (alice := await window()).page
    await alice.sign_in()
    box, send = page.locator("#ask"), page.locator("#send")
    stop = page.get_by_role("button", name="Arrêter")
    await expect(stop).to_be_hidden()
    for number, press in enumerate((stop.click, lambda: page.keyboard.press("Escape")), 1):
        if number == 1:
            await page.get_by_role("list", name="Suggestions").get_by_role("button", name="liste mes mails").click()
        else:
            await box.press("ArrowUp")
            await expect(box).to_have_value("liste mes mails")
            await box.press("Enter")
        await expect(stop).to_be_visible()
        await expect(send).to_be_hidden()
        await expect(page.locator("#log [data-live]")).to_contain_text("réfléchis")  # before, a stop gives the words back
        await press()
        await expect(page.locator("#log").get_by_text("Arrêté.")).to_have_count(number)
        await expect(stop).to_be_hidden()
        await expect(send).to_be_visible()
        await expect(box).to_be_focused()
    await box.fill("à moitié")
    await box.press("ArrowUp")
    await expect(box).to_have_value("à moitié")
