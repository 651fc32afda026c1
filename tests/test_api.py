"""REST as DESIGN §5 promises it: shapes, errors that say what was wrong, and what must look the same to an outsider."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from conftest import comes
from web_office import ALICE, BOB, PASSWORD, Site, web_office

from gk.web.api import _FRENCH_MISTAKES

LETTER = b"""From: Bob Durand <bob@example.test>
To: alice@example.test
Subject: Jeudi
Message-ID: <1@example.test>

Est-ce que jeudi te convient ?
"""


@pytest_asyncio.fixture
async def site(tmp_path):
    async with web_office(tmp_path) as site:
        yield site


async def call(
    site: Site, method: str, path: str, body: Any = None, ticket: str = "", raw: bytes | None = None, language: str = ""
) -> tuple[int, Any]:
    """One call; its status and JSON."""
    headers = ({"Authorization": f"Bearer {ticket}"} if ticket else {}) | ({"Accept-Language": language} if language else {})
    async with aiohttp.ClientSession(headers=headers) as session:
        given: dict[str, Any] = {"json": body} if raw is None else {"data": raw, "headers": {"Content-Type": "application/json"}}
        async with session.request(method, site.url + path, **given) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if "json" in answer.headers.get("Content-Type", "") else text


async def test_login_gives_a_bearer_ticket_for_a_day(site):
    status, answer = await call(site, "POST", "/api/auth/login", {"email": ALICE, "password": PASSWORD})
    assert status == 200 and answer["token_type"] == "bearer" and answer["expires_in"] == 86_400
    assert (await call(site, "GET", "/api/folders", ticket=answer["access_token"]))[0] == 200


async def test_wrong_password_and_unknown_name_are_the_same_401(site):
    answers = []
    for email in (ALICE, "nobody@example.test", "nobody@elsewhere.example", "no address", "alice@example.test\r\nx"):
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{site.url}/api/auth/login", json={"email": email, "password": "wrong horse battery"}) as answer,
        ):
            headers = {name.lower(): value for name, value in answer.headers.items() if name.lower() != "date"}
            answers.append((answer.status, await answer.text(), headers))
    assert answers[0][0] == 401 and answers[0][2]["www-authenticate"] == "Bearer"
    assert all(answer == answers[0] for answer in answers)


async def test_unknown_names_cost_a_hash_too(site, monkeypatch):
    """Same time for both: what takes the time, the hash, is computed for the name that does not exist as well."""
    import gk.accounts.credentials as credentials

    hashed = []
    monkeypatch.setattr(credentials, "_matches", lambda known, password: hashed.append(known) or False)
    for email in (ALICE, "nobody@example.test"):
        await call(site, "POST", "/api/auth/login", {"email": email, "password": "wrong horse battery"})
    assert len(hashed) == 2 and hashed[0] != hashed[1] == credentials.DECOY


async def test_attempts_are_capped_and_the_right_password_waits_too(site):
    statuses = [
        (await call(site, "POST", "/api/auth/login", {"email": ALICE, "password": f"guess number {n}"}))[0] for n in range(12)
    ]
    assert statuses[0] == 401 and statuses[-1] == 429
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{site.url}/api/auth/login", json={"email": ALICE, "password": PASSWORD}) as answer,
    ):
        assert answer.status == 429 and int(answer.headers["retry-after"]) >= 1


async def test_attempts_sent_at_once_are_capped_like_others(site):
    """A hundred parallel guesses must not all be tried before the first has failed."""
    answers = await asyncio.gather(
        *(call(site, "POST", "/api/auth/login", {"email": BOB, "password": f"guess {n}!!"}) for n in range(15))
    )
    assert [status for status, _ in answers].count(401) <= site.office.settings.limits.login_failures


async def test_list_read_folders(site):
    id = await site.deliver(LETTER)
    ticket = await site.ticket()
    status, page = await call(site, "GET", "/api/mails?folder=INBOX&limit=50", ticket=ticket)
    (item,) = page["items"]
    assert status == 200 and page["next"] is None and item["id"] == id and item["unread"] is True
    assert item["from"] == {"name": "Bob Durand", "address": "bob@example.test"} and item["subject"] == "Jeudi"
    assert (
        item["to"] == [{"name": "", "address": "alice@example.test"}] and "jeudi te convient" in item["snippet"] and item["date"]
    )
    status, mail = await call(site, "GET", f"/api/mails/{id}", ticket=ticket)
    assert status == 200 and mail["text"].strip() == "Est-ce que jeudi te convient ?"
    _, folders = await call(site, "GET", "/api/folders", ticket=ticket)
    assert {"name": "INBOX", "special_use": None, "messages": 1, "unread": 1} in folders["items"], "reading does not mark as seen"


async def test_a_list_is_read_page_by_page_without_gap_or_repetition(site):
    ids = [await site.deliver(LETTER.replace(b"Jeudi", f"Jeudi {n}".encode())) for n in range(25)]
    ticket, cursor, seen = await site.ticket(), "", []
    while cursor is not None:
        _, page = await call(site, "GET", f"/api/mails?limit=7{f'&cursor={cursor}' if cursor else ''}", ticket=ticket)
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
    assert sorted(seen, key=int) == ids and len(set(seen)) == 25


async def test_what_is_sent_arrives_and_a_copy_is_kept(site):
    body = {"to": ["Bob <bob@example.test>"], "cc": [], "bcc": [ALICE], "subject": "Réunion", "text": "À demain."}
    status, sent = await call(site, "POST", "/api/mails/send", body, await site.ticket())
    assert status == 200 and sent["id"] and sent["queue_id"]
    ticket = await site.ticket(BOB)

    async def arrived():
        return (await call(site, "GET", "/api/mails", ticket=ticket))[1]["items"]

    _, mail = await call(site, "GET", f"/api/mails/{(await comes(arrived))[0]['id']}", ticket=ticket)
    assert mail["subject"] == "Réunion" and mail["text"].strip() == "À demain." and mail["bcc"] == []
    assert (await call(site, "GET", f"/api/mails/{sent['id']}", ticket=await site.ticket()))[1]["folder"] == "Sent"


@pytest.mark.parametrize("field", ["to", "cc", "bcc", "subject"])
@pytest.mark.parametrize("bad", ["\r", "\n", "\r\n", "\0"])
async def test_rfc5322_header_injection_is_422(site, field, bad):
    body: dict[str, Any] = {"to": [BOB], "subject": "x", "text": "y"}
    body[field] = f"Hello{bad}Bcc: eve@evil.example" if field == "subject" else [f"bob@example.test{bad}Bcc: eve@evil.example"]
    status, answer = await call(site, "POST", "/api/mails/send", body, await site.ticket())
    assert status == 422 and any(field in row["loc"] for row in answer["detail"])
    assert (await site.office.queue.status())["pending"] == 0


@pytest.mark.parametrize("body", [
    {"to": ["nobody@example.test"], "text": "x"}, {"to": ["bob@elsewhere.example"], "text": "x"}, {"to": [], "text": "x"},
    {"to": ["bob@"], "text": "x"}, {"to": "bob@example.test"}, {"to": [BOB], "body": "x"}, {"to": [BOB] * 600}, [], None, "x", 5,
    {"to": [{"address": BOB, "name": "a\nb"}]}, {"to": [BOB], "subject": "x" * 2000},
])  # fmt: skip
async def test_what_cannot_be_sent_is_422_and_not_queued(site, body):
    status, answer = await call(site, "POST", "/api/mails/send", body, await site.ticket())
    assert status == 422 and answer["detail"]
    assert (await site.office.queue.status())["pending"] == 0


async def test_rule_404_somebody_elses_mail_is_no_mail(site):
    theirs = await site.deliver(LETTER, site.bob)
    ticket = await site.ticket()
    answers = [
        await call(site, "GET", f"/api/mails/{id}", ticket=ticket)
        for id in (theirs, "999999", "0", "-1", "abc", "9" * 40, "1%00", "١", "1.0")
    ]
    assert answers[0][0] == 404 and all(answer == answers[0] for answer in answers)


async def test_rule_401_forged_expired_and_outlived_tickets(site):
    account = site.alice
    expired = await site.office.credentials.issue_jwt(account, seconds=-1)
    good = await site.ticket()
    head, payload, signature = good.split(".")
    unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + payload + "."
    session, _ = (await site.office.credentials.add_token(account, "session"))[::-1]
    for ticket in ("", "x", expired, unsigned, f"{head}.{payload}.{signature[:-2]}xx", session, "é", "a" * 10_000):
        assert (await call(site, "GET", "/api/mails", ticket=ticket.encode("ascii", "replace").decode()))[0] == 401, ticket
    assert (await call(site, "GET", "/api/mails", ticket=good))[0] == 200
    await site.office.credentials.set_password(account, "another horse battery")
    assert (await call(site, "GET", "/api/mails", ticket=good))[0] == 401


async def test_parameters_that_are_given_and_empty_are_as_if_they_were_not(site):
    await site.deliver(LETTER)
    ticket = await site.ticket()
    _, plain = await call(site, "GET", "/api/mails", ticket=ticket)
    assert plain["items"] and (await call(site, "GET", "/api/mails?folder=&cursor=", ticket=ticket)) == (200, plain)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "limit=" + "9" * 400, "folder=" + "x" * 600, "cursor=" + "1" * 300]
)
async def test_queries_out_of_bounds_are_422(site, query):
    assert (await call(site, "GET", f"/api/mails?{query}", ticket=await site.ticket()))[0] == 422


@pytest.mark.parametrize(
    "query", ["cursor=nonsense", "cursor=1_1", "cursor=-0", "folder=%00", "folder=../../etc", "folder=%F0%9F%93%AC", "limit=200"]
)
async def test_odd_queries_are_answered_like_others(site, query):
    assert (await call(site, "GET", f"/api/mails?{query}", ticket=await site.ticket()))[0] in (200, 404, 422)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[" * 15_000,
        b'{"email": 5}',
        b'{"email": "\\ud800", "password": "secret of alice"}',
        b"\xff\xfe",
        b'{"email": "a", "password": "secret of alice", "more": 1}',
        b'{"email": "a", "email": "b", "password": NaN}',
    ],
)
async def test_a_malformed_request_is_422_and_never_repeated_back(site, raw):
    status, answer = await call(site, "POST", "/api/auth/login", raw=raw)
    assert status in (400, 422) and "secret of alice" not in json.dumps(answer)


async def test_an_answer_names_ten_errors_and_not_ten_thousand(site):
    for fields, named in ((90, 10), (1000, 1)):
        body = {f"k{n}": 0 for n in range(fields)}
        status, answer = await call(site, "POST", "/api/auth/login", body)
        assert status == 422 and len(answer["detail"]) == named


@pytest.mark.parametrize("body", [
    {"to": [BOB], "subject": "\ud800x"}, {"to": [BOB], "text": "\ud800x"},
    {"to": [{"address": "\ud800@example.test", "name": ""}]}, {"to": [{"address": BOB, "name": "\ud800"}]},
    {"cc": [f"\ud800 <{BOB}>"]}, {"bcc": [{"address": BOB, "name": "x\udfff"}]},
])  # fmt: skip
async def test_rfc8259_half_of_a_surrogate_pair_is_422(site, body):
    status, answer = await call(site, "POST", "/api/mails/send", body, await site.ticket())
    assert status == 422 and answer["detail"]
    assert (await site.office.queue.status())["pending"] == 0


async def test_errors_are_in_the_language_of_the_client_and_else_in_english(site):
    async def said(body, language=""):
        return (await call(site, "POST", "/api/mails/send", body, await site.ticket(), language=language))[1]["detail"]

    nobody, wrong = {"to": ["nobody@example.test"]}, {"to": ["bob"]}
    assert await said(nobody) == "There is nobody with the address nobody@example.test here."
    assert await said(nobody, language="fr") == "Il n’y a personne ici à l’adresse nobody@example.test."
    assert (await said(wrong))[0]["msg"] == "“bob” has no @: an address looks like name@example.org."
    assert "n’a pas d’@" in (await said(wrong, language="fr-CA"))[0]["msg"]
    assert "saut de ligne" in (await said({"subject": "a\nb"}, language="fr"))[0]["msg"]


FRENCH = [
    ("missing", "POST", "/api/auth/login", {"email": ALICE}, "obligatoire"),
    ("extra_forbidden", "POST", "/api/mails/send", {"body": "x"}, "n’existe pas"),
    ("too_many_fields", "POST", "/api/mails/send", {f"x{n}": 1 for n in range(101)}, "100 champs"),
    ("model_attributes_type", "POST", "/api/mails/send", 5, "objet JSON"),
    ("json_invalid", "POST", "/api/mails/send", b"{", "JSON valable"),
    ("list_type", "POST", "/api/mails/send", {"to": 5}, "une liste"),
    ("too_long", "POST", "/api/mails/send", {"to": [BOB] * 501}, "500 éléments"),
    ("string_type", "POST", "/api/mails/send", {"text": 5}, "un texte"),
    ("string_too_long", "POST", "/api/mails/send", {"subject": "x" * 999}, "998 caractères"),
    ("int_parsing", "GET", "/api/mails?limit=x", None, "nombre entier"),
    ("greater_than_equal", "GET", "/api/mails?limit=0", None, "au moins 1"),
    ("less_than_equal", "GET", "/api/mails?limit=201", None, "au plus 200"),
    ("bool_parsing", "GET", "/api/mails?unread_only=x", None, "true"),
]


@pytest.mark.parametrize(("kind", "method", "path", "body", "words"), FRENCH, ids=[row[0] for row in FRENCH])
async def test_what_is_wrong_with_a_field_is_said_in_french_too(site, kind, method, path, body, words):
    raw = body if isinstance(body, bytes) else None
    status, answer = await call(site, method, path, body if raw is None else None, await site.ticket(), raw=raw, language="fr")
    assert status == 422
    assert words in next(row["msg"] for row in answer["detail"] if row["type"] == kind)
    _, english = await call(site, method, path, body if raw is None else None, await site.ticket(), raw=raw)
    assert words not in str(english)


def test_every_french_mistake_is_one_that_a_request_can_make():
    assert sorted(_FRENCH_MISTAKES) == sorted(row[0] for row in FRENCH)


async def test_the_door_speaks_the_language_of_the_client(site):
    wrong = {"email": ALICE, "password": "wrong horse battery"}

    async def said(method: str, path: str, body: Any = None, ticket: str = "", language: str = "fr") -> tuple[int, str]:
        status, answer = await call(site, method, path, body, ticket, language=language)
        return status, answer["detail"]

    ticket = await site.ticket()
    assert "Il faut un ticket valable" in (await said("GET", "/api/mails"))[1]
    assert "A valid ticket is needed" in (await said("GET", "/api/mails", language="de"))[1]
    assert await said("POST", "/api/auth/login", wrong) == (401, "Adresse ou mot de passe incorrect.")
    assert await said("GET", "/api/nowhere", ticket=ticket) == (404, "Il n’y a rien ici.")
    assert await said("PATCH", "/api/mails", ticket=ticket) == (405, "Impossible de répondre à cette demande.")
    answers = [await said("POST", "/api/auth/login", wrong) for _ in range(12)]
    assert answers[-1][0] == 429 and "Trop de tentatives" in answers[-1][1]


@pytest.mark.parametrize("field", ["email", "password"])
async def test_rfc8259_half_of_a_surrogate_pair_at_the_door_is_422(site, field):
    body = {"email": ALICE, "password": PASSWORD, field: "\ud800x"}
    assert (await call(site, "POST", "/api/auth/login", body))[0] == 422


async def test_openapi_describes_what_is_there_and_no_page_asks_another_host(site):
    _, document = await call(site, "GET", "/api/openapi.json")
    assert set(document["paths"]) == {
        "/api/auth/login", "/api/mails", "/api/mails/{id}", "/api/mails/send", "/api/folders", "/api/health",
    }  # fmt: skip
    for path in ("/docs", "/redoc", "/api/docs", "/openapi.json"):
        assert (await call(site, "GET", path, ticket=await site.ticket()))[0] in (303, 404)


async def test_openapi_names_every_answer_and_what_protects_a_route(site):
    _, document = await call(site, "GET", "/api/openapi.json")
    for path, methods in document["paths"].items():
        for route in methods.values():
            opened = path in ("/api/auth/login", "/api/health")
            assert ("security" in route) != opened, path
            assert opened or "401" in route["responses"], path
            assert "503" in route["responses"] and route["summary"], path
    send = document["paths"]["/api/mails/send"]["post"]["responses"]
    assert {"200", "401", "413", "422", "507"} <= set(send)


async def test_the_ticket_is_looked_at_before_the_body(site):
    """Two megabytes of somebody who may not send are not even waited for."""
    for path in ("/api/mails/send", "/api/added-next-year"):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n{{"
        writer.write(head.encode())
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 401 "), path
        writer.close()
    assert (await call(site, "POST", "/api/mails/send", raw=b"{"))[0] == 401


async def test_rfc8259_half_of_a_surrogate_pair_as_the_name_of_a_field_is_422(site):
    for path in ("/api/auth/login", "/api/mails/send"):
        status, answer = await call(site, "POST", path, raw=b'{"\\ud800": 1, "to": [{"\\udfff": 2}]}', ticket=await site.ticket())
        assert status == 422 and answer["detail"], path


async def test_requests_are_counted_by_route_and_not_by_address(site):
    for id in ("1", "2", "999999"):
        await call(site, "GET", f"/api/mails/{id}", ticket=await site.ticket())
    await call(site, "GET", "/nowhere/at/all")
    _, text = await call(site, "GET", "/metrics")
    assert 'route="/api/mails/{id}"' in text and "/api/mails/9" not in text and "nowhere" not in text


async def test_health_and_metrics_without_a_ticket(site):
    assert await call(site, "GET", "/api/health") == (200, {"status": "ok"})
    status, text = await call(site, "GET", "/metrics")
    assert status == 200 and "gk_http_requests_total" in text


async def test_a_full_disk_says_so_and_loses_nothing(site, monkeypatch):
    from gk.core.database import StorageFull

    async def full(*args: object, **kwargs: object) -> None:
        raise StorageFull("the disk of the data folder is full")

    ticket = await site.ticket()
    monkeypatch.setattr(site.office.database, "write", full)
    body = {"to": [BOB], "subject": "x", "text": "y"}
    status, answer = await call(site, "POST", "/api/mails/send", body, ticket)
    assert status == 507 and "full" in answer["detail"]


async def test_a_full_disk_names_no_file_of_the_server(site, monkeypatch):
    from gk.core.database import StorageFull

    async def full(*args: object, **kwargs: object) -> None:
        raise StorageFull("/srv/gk/data/gk.db: no space left")

    client, ticket = await site.client(language="fr"), await site.ticket()
    await client.ask("GET", "/sign-in")
    monkeypatch.setattr(site.office.database, "write", full)
    status, _, page = await client.ask("POST", "/sign-in", {"email": ALICE, "password": PASSWORD})
    sent = await call(site, "POST", "/api/mails/send", {"to": [BOB]}, ticket)
    assert status == sent[0] == 507 and "/srv" not in page + str(sent) and "disque" in page
