"""The built-in planner as a newcomer meets it: on the demo mailbox, in the words of many people.

Most rows of `dialogues/planner` were written before the grammar was looked at. A row is a request and the calls it leads to; mail
has its key in the demo's world, and midnight is left out. The mailbox is Alice's on Tuesday 10 March 2026 at ten, in Paris.
Nothing is changed: a call that would change something is answered as if it had gone well.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gk.agent.model import Message, Person, Situation
from gk.agent.planner import Planner, decide, read_turns
from gk.agent.plans import Reply
from gk.core.config import load
from gk.demo import prepare, seed, stories
from gk.office import Office

NOW = datetime.fromisoformat("2026-03-10T10:00:00+01:00")
TABLES = Path(__file__).parent / "dialogues" / "planner"
READING = ("list_emails", "search_emails", "read_email", "list_folders", "count_emails", "summarize_thread")


@dataclass
class Talk:
    """A conversation with the planner over the demo's real tools, without policy."""

    office: Office
    account: Any
    situation: Situation
    tools: Any
    keys: dict[str, str]  # id of a mail → its name in the demo's world
    messages: list[Message] = field(default_factory=list)

    def written(self, name: str, args: dict[str, Any]) -> str:
        """A call as the tables have it."""
        known = {**args, **({"id": self.keys.get(args["id"])} if "id" in args else {})}
        if "ids" in args:
            known["ids"] = [self.keys.get(i) for i in args["ids"]]
        return f"{name}({', '.join(f'{k}={v!r}' for k, v in known.items())})".replace("T00:00:00+01:00", "")

    async def say(self, text: str) -> tuple[str, str]:
        """One request: what it led to, and the answer."""
        self.messages.append(Message("user", text))
        made: list[str] = []
        for _ in range(12):
            async for chunk in Planner().respond(self.messages, self.tools, self.situation):
                if chunk.call is None:
                    understood = decide(read_turns(self.messages), self.situation)
                    self.messages.append(Message("assistant", chunk.text))
                    asked = understood.step.question if isinstance(understood.step, Reply) else None
                    intent = understood.request.intent if understood.request else "not understood"
                    return " → ".join(made) or f"{intent}: {asked.slot if asked else ''}".rstrip(": "), chunk.text
                call = replace(chunk.call, id=f"c{len(self.messages)}")
                made.append(self.written(call.name, dict(call.args)))
                structured: Any = {"ids": list(call.args.get("ids", ())), "name": call.args.get("name")}
                if call.name in READING:
                    structured = (await self.office.registry.call(self.account, call.name, call.args)).structured
                self.messages += [
                    Message("assistant", calls=(call,)),
                    Message("tool", "", tool=call.name, call_id=call.id, structured=structured),
                ]
        raise AssertionError("the plan does not end")


async def opened(folder: Path) -> Talk:
    """Alice's demo mailbox."""
    settings = load(data=folder, demo=True)
    prepare(settings, NOW.timestamp())
    office = Office.open(settings, clock=NOW.timestamp, zone=NOW.tzinfo)
    await seed(office)
    account = await office.directory.find("alice@example.test")
    assert account is not None
    contacts = tuple(Person(c.name, c.address) for c in await office.registry.contacts(account))
    situation = Situation(NOW, "en", Person("Alice Martin", "alice@example.test"), contacts)
    sent = {(s.subject, round(NOW.timestamp() - s.hours * 3600)): s.key for s in stories() if s.owner == "alice"}
    found = (await office.registry.call(account, "search_emails", {"limit": 100})).structured or {}
    moments = {i["id"]: (i["subject"], round(datetime.fromisoformat(i["date"]).timestamp())) for i in found["items"]}
    keys = {id_: sent[moment] for id_, moment in moments.items() if moment in sent}
    return Talk(office, account, situation, await office.registry.tools(account), keys)


def conversations(name: str) -> list[tuple[tuple[str, str], ...]]:
    """The conversations of a table: paragraphs of "request => calls"."""
    text = (TABLES / name).read_text(encoding="utf-8").strip()
    pairs = [[line.rpartition(" => ") for line in part.splitlines()] for part in text.split("\n\n")]
    return [tuple((request.strip(), calls.strip()) for request, _, calls in part) for part in pairs]


ROWS = [
    (language, ((request, calls),))
    for language in ("fr", "en")
    for [*rows] in conversations(f"requests_{language}.txt")
    for request, calls in rows
]
ROWS += [("fr", part) for part in conversations("conversations_fr.txt")]
ROWS += [("en", part) for part in conversations("conversations_en.txt")]


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[tuple[str, str]]]]:
    """What every conversation led to, by its first request: one mailbox for all of them."""

    async def all_of_them() -> dict[str, list[tuple[str, str]]]:
        demo = await opened(tmp_path_factory.mktemp("demo"))
        found: dict[str, list[tuple[str, str]]] = {}
        try:
            for language, turns in ROWS:
                talk = replace(demo, situation=replace(demo.situation, language=language), messages=[])
                found["\n".join(request for request, _ in turns)] = [await talk.say(request) for request, _ in turns]
        finally:
            await demo.office.close()
        return found

    yield asyncio.run(all_of_them())


@pytest.mark.parametrize("turns", [pytest.param(turns, id=turns[0][0]) for _, turns in ROWS])
def test_what_people_say_leads_to_what_they_mean(
    heard: dict[str, list[tuple[str, str]]], turns: tuple[tuple[str, str], ...]
) -> None:
    made = heard["\n".join(request for request, _ in turns)]
    assert [calls for calls, _ in made] == [calls for _, calls in turns]
    assert all(answer for _, answer in made)
