"""Model adapters against servers that speak the real wire formats: Ollama NDJSON to the real client, OpenAI server-sent events.

No test here claims what a model says: the servers play scripts.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from gk.agent.model import Chunk, Message, ModelError, ScriptedModel, ToolCall
from gk.agent.servers import OllamaModel, OpenAIModel, cut_notice, estimate, fit, plain_schema
from gk.agent.toy import HERE, toy_tools
from gk.core.config import AgentSettings
from gk.office import make_model

TALK = [Message("system", "You are the assistant."), Message("user", "list my mail")]
AFTER_A_CALL = [
    *TALK,
    Message("assistant", calls=(ToolCall("list_emails", {"limit": 2}, id="1-1"),)),
    Message("tool", "2 messages", tool="list_emails", call_id="1-1", structured={"items": [{"id": "18"}]}),
]


@dataclass
class Server:
    """A model server that plays prepared lines and keeps what it was sent."""

    url: str = ""
    lines: list[bytes] = field(default_factory=list)
    status: int = 200
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    cut_after: int | None = None  # lines after which the connection breaks
    first_after: float = 0.0  # seconds before the first line
    pause_after: int | None = None  # lines after which nothing more comes
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # the client hung up while nothing came


@asynccontextmanager
async def serving(path: str, content_type: str) -> AsyncIterator[Server]:
    """The server at a free port."""
    server = Server()

    async def answer(request: web.Request) -> web.StreamResponse:
        server.asked.append(await request.json())
        server.headers.append(dict(request.headers))
        response = web.StreamResponse(status=server.status, headers={"Content-Type": content_type})
        await response.prepare(request)
        await asyncio.sleep(server.first_after)
        for number, line in enumerate(server.lines):
            if number == server.cut_after:
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write(line + b"\n")
            await asyncio.sleep(0)
            if number + 1 == server.pause_after:
                while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110  no event tells
                    await asyncio.sleep(0.01)
                server.gone.set()
                return response
        return response

    app = web.Application()
    app.router.add_post(path, answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


@pytest.fixture
async def ollama() -> AsyncIterator[Server]:
    """A fake Ollama."""
    async with serving("/api/chat", "application/x-ndjson") as server:
        yield server


@pytest.fixture
async def openai() -> AsyncIterator[Server]:
    """A fake OpenAI-compatible server."""
    async with serving("/v1/chat/completions", "text/event-stream") as server:
        yield server


def part(content: str = "", done: bool = False, **more: Any) -> bytes:
    """One line as Ollama writes it."""
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if "tool_calls" in more:
        message["tool_calls"] = more.pop("tool_calls")
    return json.dumps({"model": "m", "created_at": "2026-03-03T15:10:00Z", "message": message, "done": done, **more}).encode()


def delta(index: int = 0, **values: Any) -> bytes:
    """One event as OpenAI-compatible servers write it."""
    return b"data: " + json.dumps({"choices": [{"index": index, "delta": values}]}).encode() + b"\n"


async def heard(model: Any, messages: list[Message] = TALK) -> list[Chunk]:
    """Everything a model answers."""
    return [chunk async for chunk in model.respond(messages, toy_tools(), HERE)]


# Ollama


async def test_ollama_streams_text_and_whole_calls(ollama: Server) -> None:
    call = {"function": {"name": "list_emails", "arguments": {"limit": 2}}}
    ollama.lines = [
        part("Let me "),
        part("look."),
        part(tool_calls=[call]),
        part(done=True, done_reason="stop", prompt_eval_count=900),
    ]
    chunks = await heard(OllamaModel("m", ollama.url))
    assert "".join(c.text for c in chunks) == "Let me look."
    assert [c.call for c in chunks if c.call] == [ToolCall("list_emails", {"limit": 2})]


async def test_ollama_is_always_asked_for_its_window(ollama: Server) -> None:
    """The default is 4k, and what does not fit is cut from the front without a word."""
    ollama.lines = [part("ok"), part(done=True)]
    await heard(OllamaModel("m", ollama.url, num_ctx=16384))
    assert ollama.asked[0]["options"] == {"num_ctx": 16384}
    assert ollama.asked[0]["stream"] is True


async def test_ollama_results_go_back_under_the_name_of_the_tool(ollama: Server) -> None:
    ollama.lines = [part("Two mails."), part(done=True)]
    await heard(OllamaModel("m", ollama.url), AFTER_A_CALL)
    call, result = ollama.asked[0]["messages"][-2:]
    assert call["tool_calls"][0]["function"] == {"name": "list_emails", "arguments": {"limit": 2}}
    assert result["role"] == "tool" and result["tool_name"] == "list_emails" and result["content"] == "2 messages"
    assert "structured" not in json.dumps(ollama.asked[0])


async def test_ollama_sees_every_tool_with_plain_arguments(ollama: Server) -> None:
    ollama.lines = [part("ok"), part(done=True)]
    await heard(OllamaModel("m", ollama.url))
    tools = {t["function"]["name"]: t["function"]["parameters"] for t in ollama.asked[0]["tools"]}
    assert len(tools) == 14 and tools["read_email"]["required"] == ["id"]
    assert tools["send_email"]["properties"]["to"]["type"] == "array"


async def test_ollama_that_read_less_than_was_sent_is_told_to_the_person(ollama: Server) -> None:
    long = [*TALK, Message("assistant", "word " * 3000), Message("user", "and now?")]
    ollama.lines = [part("ok"), part(done=True, prompt_eval_count=2048)]
    chunks = await heard(OllamaModel("m", ollama.url, num_ctx=8192), long)
    assert [c.notice.key for c in chunks if c.notice] == ["cut"]


async def test_ollama_that_read_everything_is_not(ollama: Server) -> None:
    ollama.lines = [part("ok"), part(done=True, prompt_eval_count=950)]
    assert not [c for c in await heard(OllamaModel("m", ollama.url)) if c.notice]


async def test_what_does_not_fit_is_left_out_here_and_said(ollama: Server) -> None:
    long = [TALK[0], *(Message("user" if i % 2 == 0 else "assistant", f"turn {i} " * 300) for i in range(41))]
    ollama.lines = [part("ok"), part(done=True, prompt_eval_count=4000)]
    chunks = await heard(OllamaModel("m", ollama.url, num_ctx=8192), long)
    sent = ollama.asked[0]["messages"]
    assert sent[0]["content"] == TALK[0].text and "left out" in sent[1]["content"] and sent[2]["role"] == "user"
    assert sent[-1]["content"] == long[-1].text and len(sent) < 20
    assert [c.notice.key for c in chunks if c.notice] == ["cut"]


async def test_ollama_without_the_model_says_how_to_get_it(ollama: Server) -> None:
    ollama.status, ollama.lines = 404, [b'{"error": "model \'m\' not found"}']
    with pytest.raises(ModelError, match="ollama pull m"):
        await heard(OllamaModel("m", ollama.url))


async def test_ollama_with_an_error_in_the_stream_says_it(ollama: Server) -> None:
    ollama.lines = [part("Let me"), b'{"error": "out of memory"}']
    with pytest.raises(ModelError, match="out of memory"):
        await heard(OllamaModel("m", ollama.url))


async def test_ollama_that_breaks_off_is_an_error(ollama: Server) -> None:
    ollama.lines, ollama.cut_after = [part("Let me"), part("look")], 1
    with pytest.raises(ModelError):
        await heard(OllamaModel("m", ollama.url))


async def test_ollama_that_talks_nonsense_is_an_error(ollama: Server) -> None:
    ollama.lines = [b"<html>502 Bad Gateway</html>"]
    with pytest.raises(ModelError):
        await heard(OllamaModel("m", ollama.url))


async def test_ollama_that_is_not_there_says_so_in_both_languages() -> None:
    with pytest.raises(ModelError) as caught:
        await heard(OllamaModel("m", "http://127.0.0.1:9"))
    assert "ne répond pas" in caught.value.note.fr and "does not answer" in caught.value.note.en


async def test_ollama_that_stops_in_silence_is_an_error_and_half_an_answer_none(ollama: Server) -> None:
    """The connection ends in good order, but `done` never came: a proxy gave up, or the server was stopped."""
    ollama.lines = [part("Let me")]
    with pytest.raises(ModelError, match="broke off"):
        await heard(OllamaModel("m", ollama.url))


async def test_an_answer_that_fills_the_window_says_so(ollama: Server) -> None:
    ollama.lines = [part("Once upon a"), part(done=True, done_reason="length", prompt_eval_count=950)]
    assert [c.notice.key for c in await heard(OllamaModel("m", ollama.url)) if c.notice] == ["full"]


@pytest.mark.parametrize("kind", ["ollama", "openai"])
async def test_who_stops_listening_stops_the_server_too(kind: str) -> None:
    """A person closes the page in the middle of an answer: the connection goes, and the model need not think on."""
    paths = {"ollama": ("/api/chat", "application/x-ndjson"), "openai": ("/v1/chat/completions", "text/event-stream")}
    async with serving(*paths[kind]) as server:
        server.lines, server.pause_after = [part("One ") if kind == "ollama" else delta(content="One ")], 1
        model = OllamaModel("m", server.url) if kind == "ollama" else OpenAIModel("m", f"{server.url}/v1")
        answer = model.respond(TALK, toy_tools(), HERE)
        assert (await anext(answer)).text == "One "
        waiting = asyncio.ensure_future(anext(answer))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(20):
            await server.gone.wait()


async def test_a_model_that_is_slow_to_begin_is_waited_for(ollama: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a model takes longer than connecting may: only the connection has a limit here, the turn has its own."""
    monkeypatch.setattr("gk.agent.servers.CONNECT_SECONDS", 1.0)
    ollama.lines, ollama.first_after = [part("ok"), part(done=True)], 1.5
    assert [c.text for c in await heard(OllamaModel("m", ollama.url))] == ["ok"]


# OpenAI-compatible servers


async def test_openai_streams_text_and_joins_fragments_of_calls(openai: Server) -> None:
    openai.lines = [
        b": keep-alive",
        delta(content="One "),
        delta(content="moment."),
        delta(tool_calls=[{"index": 0, "id": "x", "function": {"name": "read_email", "arguments": '{"i'}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": 'd": "18"}'}}]),
        delta(tool_calls=[{"index": 1, "function": {"name": "count_emails", "arguments": ""}}]),
        b'data: {"choices": [], "usage": {"prompt_tokens": 900}}',
        b"data: [DONE]",
    ]
    chunks = await heard(OpenAIModel("m", f"{openai.url}/v1"))
    assert "".join(c.text for c in chunks) == "One moment."
    assert [c.call for c in chunks if c.call] == [ToolCall("read_email", {"id": "18"}), ToolCall("count_emails", {})]


async def test_openai_results_go_back_under_the_id_of_the_call(openai: Server) -> None:
    openai.lines = [delta(content="Two mails."), b"data: [DONE]"]
    await heard(OpenAIModel("m", f"{openai.url}/v1"), AFTER_A_CALL)
    call, result = openai.asked[0]["messages"][-2:]
    assert call["tool_calls"][0]["id"] == result["tool_call_id"] == "1-1"
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == {"limit": 2}


async def test_openai_arguments_that_are_no_json_come_with_their_problem(openai: Server) -> None:
    openai.lines = [delta(tool_calls=[{"index": 0, "function": {"name": "read_email", "arguments": '{"id": '}}]), b"data: [DONE]"]
    [chunk] = await heard(OpenAIModel("m", f"{openai.url}/v1"))
    assert chunk.call and chunk.call.name == "read_email" and "JSON" in chunk.call.problem


async def test_openai_key_is_sent_and_only_when_there_is_one(openai: Server) -> None:
    openai.lines = [delta(content="ok"), b"data: [DONE]"]
    await heard(OpenAIModel("m", f"{openai.url}/v1", key="secret"))
    await heard(OpenAIModel("m", f"{openai.url}/v1/"))
    assert openai.headers[0]["Authorization"] == "Bearer secret" and "Authorization" not in openai.headers[1]


async def test_openai_that_read_less_than_was_sent_is_told_to_the_person(openai: Server) -> None:
    openai.lines = [delta(content="ok"), b'data: {"choices": [], "usage": {"prompt_tokens": 2048}}', b"data: [DONE]"]
    long = [*TALK, Message("assistant", "word " * 3000), Message("user", "and now?")]
    chunks = await heard(OpenAIModel("m", f"{openai.url}/v1", num_ctx=8192), long)
    assert [c.notice.key for c in chunks if c.notice] == ["cut"]


async def test_openai_refusals_are_said(openai: Server) -> None:
    openai.status, openai.lines = 401, [b'{"error": {"message": "Incorrect API key"}}']
    with pytest.raises(ModelError, match=r"401.*Incorrect API key"):
        await heard(OpenAIModel("m", f"{openai.url}/v1"))


@pytest.mark.parametrize("lines", [[b"data: {not json"], [b"x" * 3_000_000]], ids=["broken event", "line without end"])
async def test_openai_nonsense_is_an_error_or_nothing(openai: Server, lines: list[bytes]) -> None:
    openai.lines = lines
    with pytest.raises(ModelError):
        await heard(OpenAIModel("m", f"{openai.url}/v1"))


async def test_openai_that_breaks_off_is_an_error(openai: Server) -> None:
    openai.lines, openai.cut_after = [delta(content="One"), delta(content="two")], 1
    with pytest.raises(ModelError):
        await heard(OpenAIModel("m", f"{openai.url}/v1"))


async def test_openai_error_in_the_stream_is_said(openai: Server) -> None:
    openai.lines = [delta(content="One"), b'data: {"error": {"message": "out of memory"}}', b"data: [DONE]"]
    with pytest.raises(ModelError, match="out of memory"):
        await heard(OpenAIModel("m", f"{openai.url}/v1"))


async def test_openai_calls_of_an_answer_that_stopped_in_silence_are_not_made(openai: Server) -> None:
    openai.lines = [delta(tool_calls=[{"index": 0, "function": {"name": "delete_email", "arguments": '{"ids": ["1"]}'}}])]
    seen: list[Chunk] = []
    with pytest.raises(ModelError, match="broke off"):
        async for chunk in OpenAIModel("m", f"{openai.url}/v1").respond(TALK, toy_tools(), HERE):
            seen.append(chunk)
    assert not seen


async def test_openai_calls_without_numbers_are_told_apart_by_their_ids(openai: Server) -> None:
    """Some servers send each call whole, with an id and no index."""
    names = ("list_emails", "list_folders")
    calls = [{"id": f"c{n}", "function": {"name": name, "arguments": "{}"}} for n, name in enumerate(names)]
    openai.lines = [delta(tool_calls=calls[:1]), delta(tool_calls=calls[1:]), b"data: [DONE]"]
    chunks = await heard(OpenAIModel("m", f"{openai.url}/v1"))
    assert [c.call.name for c in chunks if c.call] == [*names]


async def test_openai_results_keep_the_order_of_their_calls(openai: Server) -> None:
    """Two calls in one answer, two results: each result follows its call, as strict servers want it."""
    story = [*TALK]
    for number in ("1-1", "1-2"):
        story += [Message("assistant", calls=(ToolCall("count_emails", {}, id=number),)),
                  Message("tool", number, tool="count_emails", call_id=number)]  # fmt: skip
    openai.lines = [delta(content="ok"), b"data: [DONE]"]
    await heard(OpenAIModel("m", f"{openai.url}/v1"), story)
    wire = openai.asked[0]["messages"]
    for asked, given in zip(wire[2::2], wire[3::2], strict=True):
        assert asked["tool_calls"][0]["id"] == given["tool_call_id"] == given["content"]


# what both share


def test_fit_keeps_the_system_prompt_and_whole_turns() -> None:
    talk = [TALK[0], *(Message("user" if i % 2 == 0 else "assistant", "x" * 300) for i in range(20)), Message("user", "now")]
    kept, cut = fit(talk, 500)
    assert cut and kept[0] == TALK[0] and kept[2].role == "user" and kept[-1].text == "now"
    assert fit(talk, 100_000) == (talk, False)


def test_fit_keeps_the_request_and_what_it_led_to_even_if_it_is_too_long() -> None:
    talk = [
        TALK[0],
        Message("user", "read it"),
        Message("assistant", calls=(ToolCall("read_email"),)),
        Message("tool", "y" * 90_000),
    ]
    kept, cut = fit(talk, 1000)
    assert cut and [m.role for m in kept] == ["system", "system", "user", "assistant", "tool"]
    assert estimate(kept[-1].text) < 1000 and kept[-1].text.endswith("[…]")


@pytest.mark.parametrize(
    ("sent", "read", "window", "told"),
    [
        (900, 900, 8192, False),
        (900, 20, 8192, False),
        (9000, 8190, 8192, True),
        (6000, 3000, 8192, True),
        (6000, None, 8192, False),
    ],
)
def test_a_cut_is_told_only_when_there_was_one(sent: int, read: int | None, window: int, told: bool) -> None:
    assert bool(cut_notice(sent, read, window)) is told


def test_schemas_lose_what_small_models_stumble_over() -> None:
    schema = {
        "type": "object",
        "title": "Args",
        "$defs": {"Who": {"type": "string", "title": "Who", "description": "an address"}, "Loop": {"$ref": "#/$defs/Loop"}},
        "properties": {
            "who": {"anyOf": [{"$ref": "#/$defs/Who"}, {"type": "null"}], "default": None},
            "many": {"type": "array", "items": {"$ref": "#/$defs/Who"}},
            "loop": {"$ref": "#/$defs/Loop"},
        },
    }
    plain = plain_schema(schema)
    assert plain["properties"]["who"] == {"type": "string", "description": "an address"}
    assert plain["properties"]["many"]["items"]["type"] == "string" and plain["properties"]["loop"] == {}


@pytest.mark.parametrize(
    ("setting", "kind"), [("planner", "Planner"), ("ollama:qwen3:8b", "OllamaModel"), ("openai:gpt-oss", "OpenAIModel")]
)
def test_the_setting_names_the_model(setting: str, kind: str) -> None:
    assert type(make_model(AgentSettings(model=setting))).__name__ == kind


async def test_the_scripted_model_plays_its_turns_and_remembers() -> None:
    model = ScriptedModel(["One", ToolCall("count_emails")], "two")
    assert [c.text or c.call for c in await heard(model)] == ["One", ToolCall("count_emails")]
    assert [c.text for c in await heard(model, AFTER_A_CALL)] == ["two"]
    assert [len(messages) for messages, _ in model.asked] == [2, 4]
    with pytest.raises(ModelError):
        await heard(model)
