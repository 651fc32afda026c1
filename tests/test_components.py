"""Components and words: nothing a stranger writes becomes markup, every label exists, every colour can be read."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gk.agent.conversation import Event
from gk.mail.letters import AttachmentInfo, Email, Folder, Outcome, Person, Summary
from gk.web import components as c
from gk.web.layout import STATIC, OfficePage, document, office_page, sign_in_page, static_file
from gk.web.markdown import LIMIT, markdown
from gk.web.text import CATALOGUE, Viewer, language_of
from gk.web.turns import Drawing, as_turns

NOON = datetime(2026, 3, 12, 12, tzinfo=UTC)
EN, FR = Viewer("en", NOON), Viewer("fr", NOON)
VOID = {"input", "meta", "link", "img", "br", "hr"}
WORDS = st.text(max_size=60) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "' onload='x",
        "&lt;",
        "]]>",
        "\x00",
        "\u202e",
        "javascript:alert(1)",
        "[x](javascript:alert(1))",
    ]
)


class Outline(HTMLParser):
    """The elements of a piece of HTML, and whether they are nested properly."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.text += data


def mail(text: str) -> Email:
    """A mail in which everything a stranger can write is `text`."""
    person = Person(name=text, address=text)
    marks = {"unread": True, "flagged": True, "answered": True, "has_attachment": True, "has_html": True}
    return Email(
        **{"id": "41", "folder": "INBOX", "from": person, "date": NOON, "thread_id": "1", **marks},
        to=[person],
        cc=[person],
        subject=text,
        snippet=text,
        text=text,
        delivery=[Outcome(address=text, status="failed", reply=text)],
        attachments=[AttachmentInfo(part="2", name=text, type=text, size=5)],
    )


def question(text: str) -> dict[str, Any]:
    """An approval in which everything is `text`."""
    person = {"name": text, "address": text, "first_time": True}
    return {
        "id": text,
        "name": "send_email",
        "args": {"to": [text], "subject": text, "body": text},
        "reason": text,
        "warnings": [text],
        "preview": {
            "recipients": [person],
            "subject": text,
            "attachments": [text],
            "emails": [{"from": person, "subject": text}],
        },
    }


def everything(text: str, viewer: Viewer = EN) -> str:
    """Every component, with the same text in every place where a stranger's text can be."""
    letter, asked = mail(text), question(text)
    return c.render(
        c.mail_cards([letter], viewer),
        c.mail_card(letter, viewer, 1, c.mail_text(letter, viewer)),
        c.reading_pane(letter, viewer, text, "/"),
        c.folder_list([Folder(name=text, unread=3)], viewer, text),
        c.mail_list([letter], viewer, text, text, "41"),
        c.user_turn(text, viewer),
        c.tool_line(text, {text: text, "ids": [text]}, viewer),
        c.error_turn(text, viewer),
        c.failed_line(text, viewer),
        c.approval_card(asked, viewer, text, text),
        c.approval_card({**asked, "name": "delete_email"}, viewer),
        c.approval_card(asked, viewer, state="refused"),
        c.greeting(text, viewer, [text]),
        c.composer(text, viewer, text, text),
        c.toast(text, "/mail/41"),
        c.assistant_turn(markdown(text)),
        c.text_body(text, viewer),
    )


SHAPE = Counter(tag for tag, _ in Outline(everything("plain")).elements)


@given(WORDS)
@settings(max_examples=150, deadline=None)
def test_whatever_a_stranger_writes_adds_no_element_and_no_attribute_that_acts(text):
    outline = Outline(everything(text))
    for tag, attributes in outline.elements:
        assert tag not in ("script", "style", "object", "embed", "base"), tag
        assert not [name for name in attributes if name.startswith("on") or name == "style"], attributes
        href = attributes.get("href") or ""
        assert not re.match(r"\s*(javascript|data|vbscript):", href, re.I), href
    assert Counter(tag for tag, _ in outline.elements)["img"] == SHAPE["img"] == 0


@pytest.mark.parametrize("viewer", [EN, FR], ids=["en", "fr"])
def test_every_field_has_a_label_every_button_a_name_every_reference_a_target(viewer):
    page = office_page(
        OfficePage(
            viewer,
            Person(name="Alice Martin", address="alice@example.test"),
            "t",
            "c1",
            log=[c.approval_card(question("b@c.example"), viewer), c.mail_cards([mail("x")], viewer)],
            folders=[Folder(name="INBOX", unread=3)],
            mails=[mail("x")],
            cursor="n",
            reading=mail("x"),
        )
    )
    for html in (str(page), str(sign_in_page(viewer, "t", "wrong", "a@b"))):
        outline = Outline(html)
        ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
        assert len(ids) == len(set(ids)), [name for name, count in Counter(ids).items() if count > 1]
        labelled = {attributes.get("for") for tag, attributes in outline.elements if tag == "label"}
        for tag, attributes in outline.elements:
            for name in ("aria-labelledby", "aria-describedby"):
                assert not attributes.get(name) or attributes[name] in ids, attributes
            if tag in ("input", "textarea") and attributes.get("type") not in ("hidden", "submit"):
                assert attributes.get("id") in labelled or attributes.get("aria-label"), attributes
            if tag in ("nav", "section", "iframe"):
                assert {"aria-label", "title", "aria-labelledby", "id"} & set(attributes), attributes
            if tag == "img":
                assert "alt" in attributes
        for button in re.findall(r"<(?:button|summary)[^>]*>(.*?)</(?:button|summary)>", html, re.DOTALL):
            assert re.sub(r"<[^>]*>", "", button).strip(), "a button without a word"
        assert f'<html lang="{viewer.language}"' in html and html.count("<main") == 1 and html.count("<h1") == 1
    assert 'role="log"' in str(page) and 'aria-live="polite"' in str(page) and '<a class="skip" href="#ask">' in str(page)


def test_every_message_of_the_catalogue_is_used_and_every_used_one_exists():
    sources = "\n".join(path.read_text() for path in Path(c.__file__).parent.glob("*.py") if path.name != "text.py")
    quoted = set(re.findall(r"""["']([A-Za-z_0-9]+)["']""", sources))
    called = set(re.findall(r"""viewer\(\s*["']([A-Za-z_0-9]+)["']""", sources))
    assert called <= set(CATALOGUE), called - set(CATALOGUE)
    unused = {key for key in CATALOGUE if key not in quoted and not key.startswith("tool_")}
    assert not unused, unused


@given(st.text(max_size=200))
@settings(deadline=None)
def test_any_accept_language_is_one_of_ours(header):
    assert language_of(header) in ("en", "fr")


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_wcag_1_4_3_every_pair_of_colours_can_be_read(scheme):
    sheet = static_file("gk.css").decode()
    named = {
        name: (light, dark)
        for name, light, dark in re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", sheet)
    }
    colour = {name: pair[scheme == "dark"] for name, pair in named.items()}
    for text, grounds in {
        "ink": ("paper", "surface", "sunken", "hover", "accent-soft"), "muted": ("paper", "surface", "sunken", "hover"),
        "accent": ("paper", "surface", "hover", "accent-soft"), "on-accent": ("accent",), "danger": ("danger-soft", "surface"),
        "warn": ("warn-soft", "surface", "paper"),
    }.items():  # fmt: skip
        for ground in grounds:
            assert contrast(colour[text], colour[ground]) >= 4.5, (
                f"{text} on {ground}: {contrast(colour[text], colour[ground]):.2f}"
            )
    assert contrast(colour["line-strong"], colour["surface"]) >= 3.0, "WCAG 1.4.11: the border of a field"


def test_style_and_scripts_name_no_other_host():
    for name in STATIC:
        text = static_file(name).decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"https?://(?!\$\{location)|//[a-z]+\.[a-z]+/|@import|url\(", re.sub(r"^\s*//.*", "", text, flags=re.M)
        ), name
    in_folder = {path.name for path in files("gk.web").joinpath("static").iterdir()}
    assert in_folder == set(STATIC), "what is not in the table is not served"


def test_every_class_that_is_used_has_a_style_or_is_used_by_a_script():
    sheets = "".join(static_file(name).decode() for name in STATIC)
    used = {name for _, attributes in Outline(everything("x")).elements for name in (attributes.get("class") or "").split()}
    known = set(re.findall(r"\.(gk-[a-z0-9-]+)", sheets)) | {f"gk-hue-{n}" for n in range(8)}
    assert {name for name in used if name.startswith("gk-")} - known <= {
        "gk-turn-user",
        "gk-toast-info",
        "gk-mark",
        "gk-mark-clip",
        "gk-mark-reply",
        "gk-list",
        "gk-people",
    }


def test_a_long_answer_is_plain_text_and_a_hostile_one_ends():
    assert "gk-plain" in markdown("x" * (LIMIT + 1))
    for shape in ("[" * LIMIT, "![[" * (LIMIT // 3), "\n- a" * (LIMIT // 4), "*_" * (LIMIT // 2), "[a](" * (LIMIT // 4)):
        Outline(str(markdown(shape)))


def test_a_quotation_is_folded_and_links_are_bare_addresses():
    html = str(c.text_body("see https://a.example/x?a=1&b=2. (https://b.example)\n> quoted\n> more\nend", EN))
    assert 'href="https://a.example/x?a=1&amp;b=2"' in html and 'href="https://b.example"' in html
    assert html.count('<details class="gk-quote">') == 1 and "quoted\nmore" in html


def test_events_of_another_version_are_shown_in_their_words():
    data = {"name": "read_email", "structured": {"subject": 5, "from": "Bob"}, "text": "the words"}
    (turn,) = as_turns(Drawing(EN), [Event(7, "tool_result", data)])
    assert "the words" in turn.html and turn.number == 7


def test_a_document_loads_only_our_files_and_asks_for_nothing_else():
    outline = Outline(str(document("x", EN, c.h.body)))
    for tag, attributes in outline.elements:
        for name in ("src", "href"):
            assert attributes.get(name, "/static/").startswith("/static/"), (tag, attributes)


def test_a_summary_needs_no_more_than_it_has():
    bare = Summary(id="1", folder="INBOX", from_=Person(address=""), date=NOON)
    html = str(c.mail_card(bare, FR))
    assert "(sans objet)" in html and "(sans expéditeur)" in html
