"""The conversation in a notebook cell, without a notebook: what is shown, and in which order."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gk import notebook
from gk.notebook import Seat, Tasks, refresh

EVENTS = [SimpleNamespace(number=number, type="tool_result" if number == 2 else "answer", payload={}) for number in (1, 2, 3)]


class Talks:
    """Three stored events."""

    async def after(self, conversation: str, number: int) -> list[Any]:
        return [event for event in EVENTS if event.number > number]


def cell() -> Any:
    shown: list[int] = []
    drawing = SimpleNamespace(learn=lambda event: None, node=lambda event: event.number)
    office = SimpleNamespace(conversations=Talks())
    return SimpleNamespace(office=office, drawing=drawing, cards={}, show=shown.append, shown=shown)


def seat() -> Seat:
    return Seat(SimpleNamespace(), SimpleNamespace(), SimpleNamespace(id="a"))  # type: ignore[arg-type]


async def test_events_are_shown_once_and_in_order_though_two_tasks_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cell follows what is stored, and looks itself after its own turn, while twenty letters are still being read."""

    async def slow(cell: Any, mail: Any, event: Any) -> Any:
        await asyncio.sleep(0.05 if event.type == "tool_result" else 0)

    monkeypatch.setattr(notebook, "listed_cards", slow)
    page, place = cell(), seat()
    await asyncio.gather(*(refresh(page, place, lambda *answer: None) for _ in range(3)))
    assert page.shown == [1, 2, 3]


async def test_cards_are_shown_though_their_letters_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(cell: Any, mail: Any, event: Any) -> Any:
        raise OSError("the disk is away")

    monkeypatch.setattr(notebook, "listed_cards", broken)
    page, place = cell(), seat()
    await refresh(page, place, lambda *answer: None)
    assert page.shown == [1, 2, 3] and place.seen == 3


async def test_what_is_clicked_in_another_thread_runs_in_the_loop_of_the_cells() -> None:
    """JupyterLab gives widgets' messages to a subshell: a thread with a loop of its own, where our locks have no place."""
    here, found = asyncio.get_running_loop(), asyncio.Event()
    tasks, loops = Tasks(), []

    async def say() -> None:
        loops.append(asyncio.get_running_loop())
        found.set()

    async def click() -> None:
        tasks.start_from_click(say())

    await asyncio.to_thread(asyncio.run, click())
    await asyncio.wait_for(found.wait(), 5)
    await tasks.stop()
    assert loops == [here]
