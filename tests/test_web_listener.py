"""The web's sockets: who holds many, says nothing, or says it letter by letter. No test waits for a real deadline."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from conftest import PATIENCE, comes
from structlog.testing import capture_logs
from web_office import ALICE, Site, web_office

from gk.core.config import LimitSettings
from gk.web import listener

GET = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def hurried(monkeypatch):
    """Short deadlines, which a client in good order still meets when this process does not get its turn for a while."""
    monkeypatch.setattr(listener, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(listener, "BODY_SECONDS", 0.5)


@pytest.fixture
def patient(monkeypatch):
    """No deadline within a test: connections that say nothing stay as long as it needs them."""
    monkeypatch.setattr(listener, "HEADER_SECONDS", 3600)


async def connect(site: Site, data: bytes = b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(data)
    return reader, writer


async def answer(site: Site, data: bytes) -> bytes:
    """All that comes until the server closes."""
    reader, writer = await connect(site, data)
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    writer.close()
    return b""


async def settled(site: Site, count: int) -> None:
    await comes(lambda: site.web.caps.total == count)


async def test_one_address_cannot_take_every_connection(tmp_path, patient):
    async with web_office(tmp_path, limits=LimitSettings(connections_per_address=5)) as site:
        held = [await connect(site) for _ in range(5)]
        await settled(site, 5)
        assert (await answer(site, b"")).startswith(b"HTTP/1.1 503 ")
        held.pop()[1].close()
        await settled(site, 4)
        assert (await answer(site, GET + b"Connection: close\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_per_address_false_lifts_the_cap_for_load_tests(tmp_path, patient):
    async with web_office(tmp_path, limits=LimitSettings(connections_per_address=5, per_address=False)) as site:
        held = [await connect(site) for _ in range(20)]
        assert (await answer(site, GET + b"Connection: close\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert len(held) == 20


async def test_few_files_leave_some_for_the_mail_and_the_log_says_so(tmp_path, monkeypatch, patient):
    monkeypatch.setattr(listener.resource, "getrlimit", lambda which: (40, 40))
    with capture_logs() as logs:
        async with web_office(tmp_path) as site:
            held = [await connect(site) for _ in range(10)]
            await settled(site, 10)
            for _ in range(3):
                assert (await answer(site, b"")).startswith(b"HTTP/1.1 503 ")
            held.pop()[1].close()
            await settled(site, 9)
            assert (await answer(site, GET + b"Connection: close\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    said = [entry["event"] for entry in logs if entry["event"].startswith("web.")]
    assert said == ["web.few_files", "web.full"]


async def test_a_websocket_is_counted_as_long_as_it_is_open(tmp_path):
    async with web_office(tmp_path) as site:
        client = await site.client(ALICE)
        conversation = await client.conversation()
        before = site.web.caps.total
        async with client.socket(conversation) as one, client.socket(conversation) as two:
            await one.until(type="ready")
            await two.until(type="ready")
            assert site.web.caps.total >= before + 1 and site.web.caps.total >= 2
        await client.session.close()
        await settled(site, 0)


@pytest.mark.parametrize(
    "data",
    [b"", b"G", GET, GET + b"X: ", b"\r\n"],
    ids=["nothing", "a letter", "no end", "half a line", "an empty line"],
)
async def test_slowloris_a_header_that_does_not_come_is_408(tmp_path, hurried, data):
    async with web_office(tmp_path) as site:
        assert (await answer(site, data)).startswith(b"HTTP/1.1 408 ")
        await settled(site, 0)


async def test_slowloris_a_header_that_trickles_is_408(tmp_path, hurried):
    async with web_office(tmp_path) as site:
        reader, writer = await connect(site, GET)

        async def trickle():
            while True:
                writer.write(b"X: y\r\n")
                await asyncio.sleep(0.03)

        task = asyncio.create_task(trickle())
        with contextlib.suppress(ConnectionError):  # what still comes after the end resets it
            async with asyncio.timeout(PATIENCE):
                await reader.read()
        task.cancel()
        await settled(site, 0)


async def test_a_body_that_trickles_is_cut(tmp_path, hurried):
    async with web_office(tmp_path) as site:
        head = b"POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        assert (await answer(site, head + b"Content-Length: 1000\r\n\r\n{")).startswith(b"HTTP/1.1 408 ")
        await settled(site, 0)


async def test_an_empty_line_between_requests_buys_no_time(tmp_path, monkeypatch):
    async with web_office(tmp_path) as site:
        reader, writer = await connect(site, GET + b"\r\n")
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
        monkeypatch.setattr(listener, "HEADER_SECONDS", 0.1)
        writer.write(b"\r\n")
        async with asyncio.timeout(PATIENCE):
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")


async def test_a_header_without_end_is_431(tmp_path):
    async with web_office(tmp_path) as site:
        reader, writer = await connect(site)
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 10_000)
                await writer.drain()
        assert (await reader.readline()).startswith(b"HTTP/1.1 431 ")


async def test_a_request_that_takes_long_to_answer_is_not_late(tmp_path, monkeypatch):
    async with web_office(tmp_path) as site:
        check = site.office.credentials.check_token

        async def slow(*given):
            (connection,) = site.server.server_state.connections
            assert connection.due.part == "", "while we work nothing is due, however long it takes"
            return await check(*given)

        monkeypatch.setattr(site.office.credentials, "check_token", slow)
        assert (await answer(site, GET + b"Connection: close\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


CHUNKED = (
    b"POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)


@pytest.mark.parametrize(
    "data",
    [b"2\r\n{}\r\n0\r\n" + b"X:\r\n" * 50_000, b"1\r\n \r\n" * 40_000, b"2;" + b"x" * 200_000],
    ids=["trailers", "chunks of one octet", "an extension of a chunk"],
)
async def test_a_body_that_is_all_frame_is_cut(tmp_path, data):
    """A hundred megabytes of trailers became a gigabyte of headers, and every chunk of one octet a timer."""
    async with web_office(tmp_path) as site:
        reader, _writer = await connect(site, CHUNKED + data)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                await reader.read()
        await settled(site, 0)


async def test_a_trailer_is_no_header(tmp_path):
    async with web_office(tmp_path) as site:
        trailed = CHUNKED + b"2\r\n{}\r\n0\r\nHost: elsewhere.example\r\n\r\n"
        said = await answer(site, trailed + GET + b"Connection: close\r\n\r\n")
        assert b" 421 " not in said and said.count(b"HTTP/1.1 ") == 2


async def test_requests_in_advance_have_an_end(tmp_path):
    async with web_office(tmp_path) as site:
        reader, _writer = await connect(site, (GET + b"\r\n") * 5_000)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                assert (await reader.read()).count(b"HTTP/1.1 200 ") < 1_000
        await settled(site, 0)


@pytest.mark.parametrize("more", [b"X: y\r\n" * 300, b"X: " + b"y" * 9_000 + b"\r\n"], ids=["300 fields", "a long field"])
async def test_a_handshake_that_is_none_does_not_stay_open(tmp_path, more):
    async with web_office(tmp_path) as site:
        key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        upgrade = b"GET /chat/socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        reader, _writer = await connect(site, upgrade + more + key)
        async with asyncio.timeout(PATIENCE):
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        await settled(site, 0)
