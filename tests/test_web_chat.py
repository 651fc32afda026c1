"""The conversation over its socket: what is begun, decided and drawn, by hand and twice at once."""

from __future__ import annotations

import asyncio
import re

import pytest
import pytest_asyncio
from web_office import ALICE, BOB, Client, Site, web_office

import gk.web.chat
from gk.agent.conversation import begin
from gk.agent.model import Chunk

CLAIRE = "claire@example.test"


@pytest_asyncio.fixture
async def site(tmp_path):
    async with web_office(tmp_path) as site:
        claire = await site.office.directory.add_account(CLAIRE, None, "Claire Petit")
        await site.office.mailboxes.defaults.ensure(claire.id)
        yield site


async def asked(client: Client, socket) -> str:
    """A mail to Bob waits for approval; the id of the question."""
    await socket.until(type="ready")
    await socket.send(type="say", text="send a mail to bob@example.test saying that I arrive tomorrow")
    card = await socket.until(type="turn", kind="approval")
    await socket.until(type="busy", busy=False)
    found = re.search(r'data-approval="([^"]+)"', card["html"])
    assert found, card
    return found[1]


async def sent(site: Site) -> int:
    status = await site.office.queue.status()
    return status["pending"] + status["sending"] + status["sent"]


async def test_an_edited_approval_is_recorded_as_it_was_sent(site):
    client = await site.client(ALICE)
    conversation = await client.conversation()
    async with client.socket(conversation) as socket:
        id = await asked(client, socket)
        fields = {"to": CLAIRE, "subject": "Thursday", "body": "At ten."}
        await socket.send(type="decide", approval=id, approved=True, fields=fields)
        await socket.until(type="turn", kind="done")
    live = [message["html"] for message in socket.seen if message.get("key") == id][-1]
    _, _, page = await client.ask("GET", f"/?c={conversation}")
    stored = re.search(rf'<section class="gk-approval gk-is-decided" data-approval="{id}".*?</section>', page, re.DOTALL)
    assert stored
    for card in (live, stored[0]):
        assert CLAIRE in card and "At ten." in card and BOB not in card and "tomorrow" not in card


async def test_an_approval_that_fails_does_not_say_that_it_was_done(site, monkeypatch):
    client = await site.client(ALICE)
    async with client.socket(await client.conversation()) as socket:
        id = await asked(client, socket)

        async def fails(*_args, **_more):
            raise OSError("no")

        monkeypatch.setattr(site.office.registry, "call", fails)
        await socket.send(type="decide", approval=id, approved=True, fields={})
        await socket.until(type="turn", kind="done")
    assert "it was not done" in [message["html"] for message in socket.seen if message.get("key") == id][-1]


async def test_a_page_that_is_opened_leaves_no_conversation_behind(site):
    client = await site.client(ALICE)
    for path in ("/", "/?c=new", "/?c=new"):
        status, _, body = await client.ask("GET", path)
        assert status == 200 and "data-conversation=" in body
    conversation = await client.conversation()
    async with client.socket(conversation) as socket:
        await socket.until(type="ready")
        assert await site.office.conversations.list(site.alice) == []
        await socket.send(type="say", text="help")
        await socket.until(type="turn", kind="done")
    assert [found.id for found in await site.office.conversations.list(site.alice)] == [conversation]
    assert (await client.ask("GET", f"/?c={conversation}"))[0] == 200


async def test_a_conversation_begins_by_form_too(site):
    client = await site.client(ALICE)
    conversation = await client.conversation()
    status, headers, _ = await client.ask("POST", f"/chat/{conversation}/say", {"text": "help"})
    assert status == 303 and headers["Location"] == f"/?c={conversation}"
    assert (await client.ask("GET", headers["Location"]))[0] == 200


@pytest.mark.parametrize("answer", ["yes", "no"])
async def test_a_card_is_edited_and_answered_by_form_too(site, answer):
    client = await site.client(ALICE)
    conversation = await client.conversation()
    request = {"text": "send a mail to bob@example.test saying that I arrive tomorrow"}
    assert (await client.ask("POST", f"/chat/{conversation}/say", request))[0] == 303
    _, _, page = await client.ask("GET", f"/?c={conversation}")
    action = re.search(r'action="(/chat/[^"]+/approvals/[^"]+)"', page)
    assert action
    fields = {"to": CLAIRE, "subject": "Thursday", "body": "At ten.", "approved": answer, "reason": "not yet"}
    status, headers, _ = await client.ask("POST", action[1], fields)
    assert status == 303 and headers["Location"] == f"/?c={conversation}"
    _, _, page = await client.ask("GET", headers["Location"])
    assert ("You approved this." if answer == "yes" else "You refused this.") in page
    assert await sent(site) == (answer == "yes") and ("At ten." in page) == (answer == "yes")


async def test_a_promised_conversation_is_promised_to_one_person_only(site):
    alice, bob = await site.client(ALICE), await site.client(BOB)
    promised = await alice.conversation()
    for id in (promised, "a-name-of-my-own", promised[:-2] + "AA"):
        assert (await bob.ask("POST", f"/chat/{id}/say", {"text": "help"}))[0] == 404
        async with bob.socket(id) as socket:
            assert await socket.closed() == 4404
    assert await site.office.conversations.list(site.bob) == []


async def test_two_tabs_begin_one_conversation_once(site):
    client = await site.client(ALICE)
    conversation = await client.conversation()
    async with client.socket(conversation) as one, client.socket(conversation) as two:
        await one.until(type="ready")
        await two.until(type="ready")
        await asyncio.gather(one.send(type="say", text="help"), two.send(type="say", text="help"))
        await one.until(type="turn", kind="done")
    assert len(await site.office.conversations.list(site.alice)) == 1


async def test_two_tabs_decide_one_card_and_both_see_one_outcome(site):
    client = await site.client(ALICE)
    conversation = await client.conversation()
    async with client.socket(conversation) as one, client.socket(conversation) as two:
        id = await asked(client, one)
        await two.until(type="busy", busy=False)
        await asyncio.gather(
            one.send(type="decide", approval=id, approved=True, fields={}),
            two.send(type="decide", approval=id, approved=False, fields={}),
        )
        for socket in (one, two):
            await socket.until(type="turn", key=id)
            await socket.until(type="turn", kind="done")
    cards = [[message["html"] for message in socket.seen if message.get("key") == id][-1] for socket in (one, two)]
    assert cards[0] == cards[1]
    assert await sent(site) == ("You approved this." in cards[0])


class Paced:
    """A model that says its pieces when it is told; the loop keeps the latest back, which may be the end."""

    def __init__(self) -> None:
        self.let: asyncio.Queue[str] = asyncio.Queue()

    def say(self, *pieces: str) -> None:
        for piece in pieces:
            self.let.put_nowait(piece)

    async def respond(self, *about):
        while (piece := await self.let.get()) != "end":
            yield Chunk(text=piece)


async def test_a_break_in_the_middle_of_an_answer_loses_no_piece_and_repeats_none(tmp_path):
    async with web_office(tmp_path, model := Paced()) as site:
        client = await site.client(ALICE)
        conversation = await client.conversation()
        async with client.socket(conversation) as socket:
            await socket.until(type="ready")
            await socket.send(type="say", text="hello")
            model.say("One", ", two")
            await socket.until(type="token", text="One")
            last = socket.numbers[-1]
        async with client.socket(conversation) as watching:
            await watching.until(type="ready")
            model.say(", three")
            await watching.until(type="token", text=", two")
        async with client.socket(conversation, after=last) as socket:
            assert (await socket.until(type="token"))["text"] == "One, two" and socket.seen[-1]["whole"]
            await socket.until(type="ready")
            model.say(".")
            assert "whole" not in await socket.until(type="token", text=", three")
            model.say("end")
            assert "One, two, three." in (await socket.until(type="turn", kind="answer"))["html"]
            await socket.until(type="turn", kind="done")
        async with client.socket(conversation, after=last) as socket:
            await socket.until(type="ready")
            assert not any(message["type"] == "token" for message in socket.seen)


async def test_a_button_pressed_twice_sends_once(site):
    client = await site.client(ALICE)
    async with client.socket(await client.conversation()) as socket:
        id = await asked(client, socket)
        for _ in range(3):
            await socket.send(type="decide", approval=id, approved=True, fields={})
        await socket.until(type="turn", kind="done")
        await socket.send(type="decide", approval=id, approved=True, fields={})
        assert "already" in (await socket.until(type="refused"))["html"]
    assert await sent(site) == 1


@pytest.mark.parametrize("fields", [{"body": "\ud800"}, {"to": "\ud800@example.test"}, {"\ud800": "x"}])
async def test_rfc8259_half_of_a_surrogate_pair_on_a_card_is_refused(site, fields):
    client = await site.client(ALICE)
    async with client.socket(await client.conversation()) as socket:
        id = await asked(client, socket)
        await socket.send(type="decide", approval=id, approved=True, fields=fields)
        assert "could not be understood" in (await socket.until(type="refused"))["html"]
    assert await sent(site) == 0


class Endless:
    """A model that begins an answer and does not come to its end."""

    async def respond(self, *about):
        yield Chunk(text="Let me")
        yield Chunk(text=" think")
        await asyncio.Event().wait()


async def test_a_stop_ends_the_turn_and_the_conversation_says_so(tmp_path):
    async with web_office(tmp_path, Endless()) as site:
        client = await site.client(ALICE)
        conversation = await client.conversation()
        async with client.socket(conversation) as socket:
            await socket.until(type="ready")
            await socket.send(type="stop")  # nothing runs: nothing happens
            await socket.send(type="say", text="hello")
            await socket.until(type="token")
            await socket.send(type="stop")
            end = await socket.until(type="turn", kind="done")
            assert "Stopped." in end["html"]
            await socket.until(type="busy", busy=False)
            await socket.send(type="say", text="and now?")  # the conversation goes on
            await socket.until(type="token")
        _, _, page = await client.ask("GET", f"/?c={conversation}")
        assert "Stopped." in page


async def test_a_stop_before_the_turn_has_begun_gives_the_words_back(tmp_path, monkeypatch):
    async with web_office(tmp_path, Endless()) as site:
        client = await site.client(ALICE)
        conversation = await client.conversation()
        async with client.socket(conversation) as socket:
            await socket.until(type="ready")
            await socket.send(type="say", text="hello")
            await socket.until(type="token")
            await socket.send(type="stop")  # this one had begun: its end is the last that is known of it
            await socket.until(type="turn", kind="done")
            await socket.until(type="busy", busy=False)
            monkeypatch.setattr(gk.web.chat, "conversation_of", before_the_turn(gk.web.chat.conversation_of))
            await socket.send(type="say", text="and now?")
            await socket.until(type="busy", busy=True)
            await socket.send(type="stop")
            assert "Stopped." in (await socket.until(type="refused"))["html"]


def before_the_turn(conversation_of):
    """Does not come to the point where a turn begins."""

    async def waits(parts, account, conversation, begin=False):
        if begin:
            await asyncio.Event().wait()
        return await conversation_of(parts, account, conversation)

    return waits


async def test_what_runs_in_another_program_is_not_said_to_be_stopped(site):
    client = await site.client(ALICE)
    talk = await site.office.conversations.create(site.alice)
    await begin(site.office.conversations, talk.id, "hello")
    async with client.socket(talk.id) as socket:
        await socket.until(type="ready")
        await socket.send(type="stop")
        assert "Another program" in (await socket.until(type="refused"))["html"]
