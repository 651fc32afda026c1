"""What gk writes, read back by its own parser and by the standard library's."""

from __future__ import annotations

import email
from datetime import UTC, datetime
from email import policy

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gk.accounts.address import Address, AddressError
from gk.mail.compose import Attachment, ComposeError, Correspondent, Draft, HeaderInjection, build, new_message_id
from gk.mail.content import attachments, decode_body, text_of
from gk.mail.digest import digest
from gk.mail.dsn import Failure, bounce
from gk.mail.headers import parse_addresses
from gk.mail.mime import Message, filename_of, parse
from gk.mail.reply import Original, forward, original_of, reply, reply_recipients, reply_subject

NOON = datetime(2024, 1, 5, 12, 0, tzinfo=UTC)
ALICE = Correspondent("Alice", Address.parse("alice@example.test"))
BOB = Correspondent("Bob", Address.parse("bob@example.test"))


def written(**changes: object) -> Message:
    values: dict[str, object] = {"sender": ALICE, "to": (BOB,), **changes}
    return parse(build(Draft(**values), "1@example.test", NOON))  # type: ignore[arg-type]


def check_lines(data: bytes, utf8: bool = False) -> None:
    """CRLF only, no line over 998 octets, a header of ASCII (RFC 5322 §2.1.1, §2.2) but for addresses that are not (RFC 6531)."""
    assert data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n") and b"\0" not in data
    assert max(map(len, data.split(b"\r\n"))) <= 998
    fields = data.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ").split(b"\r\n")
    beyond = [field.partition(b":")[0] for field in fields if not field.isascii()]
    assert set(beyond) <= ({b"To", b"Cc"} if utf8 else set())


ONE_LINE = st.text(max_size=200).filter(lambda text: not set(text) & set("\r\n\0"))
LETTERS = st.characters(exclude_categories=["C", "Z"], include_characters=" ")
PRINTABLE = st.text(LETTERS, max_size=120).map(lambda text: " ".join(text.split()))
LOCALS = st.from_regex(r"[a-z0-9][a-z0-9.+_-]{0,20}[a-z0-9]", fullmatch=True).filter(lambda local: ".." not in local)


@settings(max_examples=200, deadline=None)
@given(ONE_LINE, st.text(max_size=500))
def test_any_subject_and_text_can_be_written(subject: str, text: str) -> None:
    message = written(subject=subject, text=text)
    check_lines(message.data)
    assert message.header("from") == "Alice <alice@example.test>"


@settings(max_examples=200, deadline=None)
@given(PRINTABLE, PRINTABLE)
def test_subject_and_text_come_back(subject: str, text: str) -> None:
    message = written(subject=subject, text=text)
    assert (message.header("subject") or "") == subject
    assert text_of(message).strip() == text
    theirs = email.message_from_bytes(message.data, policy=policy.default)
    assert " ".join(str(theirs["subject"] or "").split()) == subject
    assert " ".join(theirs.get_content().split()) == text


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(PRINTABLE, LOCALS), min_size=1, max_size=5))
def test_names_never_become_recipients(named: list[tuple[str, str]]) -> None:
    """gh-121284: the standard library loses quotation marks when it folds a name, and one recipient becomes two."""
    persons = tuple(Correspondent(name, Address(local, "example.test")) for name, local in named)
    message = written(to=persons)
    assert parse_addresses(message.raw_header("to") or b"") == [(p.name, str(p.address)) for p in persons]


HOSTILE = ["Ä, Ä. <eve@evil.test>", 'a" <eve@evil.test>, "b', "a, eve@evil.test", "=?utf-8?q?eve=40evil.test=2C?=", "(", "\\"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_names(name: str) -> None:
    message = written(to=(Correspondent(name, BOB.address),))
    assert [address for _, address in parse_addresses(message.raw_header("to") or b"")] == ["bob@example.test"]
    theirs = email.message_from_bytes(message.data, policy=policy.default)
    assert [address.addr_spec for address in theirs["to"].addresses] == ["bob@example.test"]


@pytest.mark.parametrize("break_", ["\r\n", "\n", "\r", "\0"])
@pytest.mark.parametrize("where", ["subject", "name", "in_reply_to", "references", "file", "header"])
def test_header_injection_rfc5322_2_2(where: str, break_: str) -> None:
    evil = f"x{break_}Bcc: eve@evil.test"
    changes: dict[str, dict[str, object]] = {
        "subject": {"subject": evil},
        "name": {"to": (Correspondent(evil, BOB.address),)},
        "in_reply_to": {"in_reply_to": evil},
        "references": {"references": (evil,)},
        "file": {"attachments": (Attachment(evil, "text/plain", b""),)},
        "header": {"headers": (("X-Note", evil),)},
    }
    with pytest.raises(HeaderInjection):
        written(**changes[where])


SMUGGLED = [end.join(["", ".", "MAIL FROM:<eve@evil.test>"]) for end in ("\n", "\r", "\r\n", "\n\r", "\r\r\n")]


@pytest.mark.parametrize("text", SMUGGLED, ids=repr)
def test_cve_2026_33604_nothing_that_is_written_has_a_bare_line_end(text: str) -> None:
    """Sender-side smuggling: a lone CR or LF before a dot ends the message for some servers and not for others."""
    check_lines(written(text=text).data)
    inner = b"Subject: x\r\n\r\n" + text.encode()
    check_lines(written(text="see", attachments=(Attachment("x.eml", "message/rfc822", inner),)).data)
    check_lines(bounce(inner, "alice@example.test", [Failure("x@y.test", "5.1.1", text)], "gk.test", "1@gk.test", NOON))


def test_header_injection_in_a_content_type() -> None:
    message = written(attachments=(Attachment("a", "text/plain\r\nX-Evil: 1", b"x"),))
    assert b"X-Evil" not in message.data


def test_header_injection_in_an_address() -> None:
    with pytest.raises(AddressError):
        Correspondent.parse("Bob <bob@example.test>\r\nBcc: eve@evil.test")


def test_bcc_is_in_no_sent_byte() -> None:
    draft = Draft(ALICE, (BOB,), bcc=(Correspondent("Carol", Address.parse("carol@example.test")),), text="hello")
    sent = build(draft, "1@x", NOON)
    assert b"carol" not in sent.lower() and b"bcc" not in sent.lower()
    assert [str(p.address) for p in draft.recipients] == ["bob@example.test", "carol@example.test"]
    assert b"Bcc: Carol <carol@example.test>\r\n" in build(draft, "1@x", NOON, with_bcc=True)
    assert b"To: undisclosed-recipients:;\r\n" in build(Draft(ALICE, bcc=draft.bcc), "1@x", NOON)


def test_long_ids_are_never_encoded() -> None:
    """The standard library turns an id over 78 characters into an encoded word: threads break."""
    long = "a" * 200 + "@example.test"
    message = written(in_reply_to=long, references=(long, "b@x"))
    assert message.raw_header("in-reply-to") == f"<{long}>".encode()
    assert message.raw_header("references") == f"<{long}> <b@x>".encode()


@settings(max_examples=100, deadline=None)
@given(PRINTABLE, st.binary(max_size=500), st.sampled_from(["application/pdf", "text/plain", "nonsense", "a/b; x=y"]))
def test_attachments_come_back(name: str, data: bytes, kind: str) -> None:
    message = written(text="see", attachments=(Attachment(name, kind, data), Attachment("b.bin", "application/zip", b"PK")))
    check_lines(message.data)
    first, second = attachments(message)
    assert decode_body(message, first) == data and filename_of(second) == "b.bin"
    if name.strip(" .") == name and "/" not in name and "\\" not in name and 0 < len(name) < 60:
        assert filename_of(first) == name


@pytest.mark.parametrize("id_", ["é@x", "\x80", "a b@x", "a\x7fb", "a" * 1000, "a>b"])
def test_ids_that_may_not_stand_in_a_header_are_not_repeated(id_: str) -> None:
    answer = reply(Original(("", "bob@example.test"), message_id=id_, references=(id_, "ok@x")), ALICE, "x")
    assert (answer.in_reply_to, answer.references) == ("", ("ok@x",))
    check_lines(build(answer, "2@x", NOON))


def test_a_mail_as_attachment_is_not_encoded_rfc2046_5_2_1() -> None:
    inner = build(Draft(BOB, (ALICE,), subject="inside", text="é"), "2@x", NOON)
    message = written(text="see", attachments=(Attachment("inner.eml", "message/rfc822", inner),))
    assert [part.type for part in message.parts] == ["multipart/mixed", "text/plain", "message/rfc822", "text/plain"]
    assert message.header("subject", part=3) == "inside"


def test_from_at_the_start_of_a_line_is_guarded() -> None:
    assert b"\r\nFrom here" not in written(text="x\nFrom here\nFrom é\n").data


def test_international_addresses_rfc6532() -> None:
    greek = Correspondent("", Address.parse("σίσυφος@bücher.example"))
    assert Draft(ALICE, (greek,)).needs_utf8 and not Draft(ALICE, (BOB,)).needs_utf8
    assert "To: σίσυφος@bücher.example\r\n".encode() in written(to=(greek,)).data
    assert b"To: li@xn--bcher-kva.example\r\n" in written(to=(Correspondent("", Address.parse("li@bücher.example")),)).data


# --- replies ------------------------------------------------------------------------------------------------------------------


def test_reply_threads_rfc5322_3_6_4() -> None:
    first = written(subject="Réunion", text="Demain ?")
    answer = parse(build(reply(original_of(first), BOB, "Oui", language="fr"), "2@x", NOON))
    again = parse(build(reply(original_of(answer), ALICE, "Bien", language="en"), "3@x", NOON))
    assert digest(answer.data).in_reply_to == "1@example.test"
    assert again.raw_header("references") == b"<1@example.test> <2@x>"
    assert again.header("subject") == "Re: Réunion"
    assert "Le 5 janvier 2024 à 12:00, Alice a écrit :\n> Demain ?" in text_of(answer)
    assert "On 5 January 2024 at 12:00, Bob wrote:\n> Oui" in text_of(again)


def test_references_stay_short_rfc5322_3_6_4() -> None:
    long = tuple(f"{i}{'x' * 300}@x" for i in range(10))
    references = reply(Original(("", "b@x.test"), message_id="last@x", references=long), ALICE, "x").references
    assert (references[0], references[-1]) == (long[0], "last@x") and sum(map(len, references)) <= 2000
    huge = reply(Original(("", "b@x.test"), message_id="a" * 890 + "@x", references=("b" * 890 + "@x",)), ALICE, "x").references
    assert len(huge) == 2


def test_in_reply_to_with_several_ids_is_no_reference_rfc5322_3_6_4() -> None:
    original = original_of(parse(b"From: b@x.test\r\nMessage-ID: <3@x>\r\nIn-Reply-To: <1@x> <2@x>\r\n\r\n"))
    assert reply(original, ALICE, "x").references == ("3@x",)
    single = original_of(parse(b"From: b@x.test\r\nMessage-ID: <3@x>\r\nIn-Reply-To: <1@x>\r\n\r\n"))
    assert reply(single, ALICE, "x").references == ("1@x", "3@x")


def test_references_keep_the_first_and_the_latest() -> None:
    original = Original(("", "b@x.test"), message_id="last@x", references=tuple(f"{i}@x" for i in range(100)))
    references = reply(original, ALICE, "x").references
    assert (len(references), references[0], references[-1]) == (20, "0@x", "last@x")


CASES = {
    "reply to the sender": (False, [], ["bob@example.test"], []),
    "reply to all": (True, [], ["bob@example.test"], ["carol@example.test", "dave@example.test"]),
    "Reply-To wins": (True, ["list@example.test"], ["list@example.test"], ["carol@example.test", "dave@example.test"]),
}


@pytest.mark.parametrize("case", CASES)
def test_reply_recipients(case: str) -> None:
    everyone, reply_to, to, cc = CASES[case]
    original = Original(
        ("Bob", "bob@example.test"), tuple(("", address) for address in reply_to),
        (("", "Alice+lists@Example.test"), ("", "carol@example.test"), ("", "info@example.test")),
        (("", "dave@example.test"), ("", "CAROL@example.test"), ("", "not an address")),
    )  # fmt: skip
    found = reply_recipients(original, ["alice@example.test", "info@example.test"], everyone)
    assert [[str(p.address) for p in persons] for persons in found] == [to, cc]


def test_reply_to_ones_own_message_goes_to_its_recipients() -> None:
    original = Original(("Alice", "alice@example.test"), (), (("", "bob@example.test"),), (("", "carol@example.test"),))
    to, cc = reply_recipients(original, ["alice@example.test"], True)
    assert [[str(p.address) for p in persons] for persons in (to, cc)] == [["bob@example.test"], ["carol@example.test"]]
    to_self = Original(("", "alice@example.test"), (), (("", "alice@example.test"),))
    to, _ = reply_recipients(to_self, ["alice@example.test"], False)
    assert [str(p.address) for p in to] == ["alice@example.test"]


def answered(head: str, everyone: bool) -> list[list[str]]:
    original = original_of(parse(f"{head}\r\n\r\nhi".encode()))
    return [[str(p.address) for p in persons] for persons in reply_recipients(original, ["alice@example.test"], everyone)]


LIST = "From: bob@example.test\r\nTo: dev@lists.test\r\nCc: alice@example.test\r\nList-Post: <mailto:dev@lists.test?subject=x>"


def test_an_answer_to_the_author_does_not_go_to_the_list_rfc2369_3_4() -> None:
    """A list that writes itself into Reply-To: what is meant for one person must not be sent to a hundred."""
    rewritten = f"{LIST}\r\nReply-To: Dev <DEV@lists.test>"
    assert answered(LIST, False) == answered(rewritten, False) == [["bob@example.test"], []]
    assert answered(LIST, True) == [["bob@example.test"], ["dev@lists.test"]]
    assert answered(rewritten, True) == [["DEV@lists.test"], []]
    own = f"{LIST}\r\nReply-To: bob@home.test"
    assert answered(own, False) == [["bob@home.test"], []]


def test_an_answer_to_all_reaches_a_list_that_nobody_named() -> None:
    blind = LIST.replace("To: dev@lists.test", "To: undisclosed-recipients:;")
    assert answered(blind, True) == [["bob@example.test"], ["dev@lists.test"]]
    closed = LIST.replace("<mailto:dev@lists.test?subject=x>", "NO (posting not allowed)")
    assert answered(closed, False) == [["bob@example.test"], []]


def test_mail_followup_to_is_where_answers_to_all_go() -> None:
    wanted = f"{LIST}\r\nMail-Followup-To: dev@lists.test, alice@example.test"
    assert answered(wanted, True) == [["dev@lists.test"], []]
    assert answered(wanted, False) == [["bob@example.test"], []]
    only_me = f"{LIST}\r\nMail-Followup-To: alice@example.test"
    assert answered(only_me, True) == [["bob@example.test"], ["dev@lists.test"]]


def test_one_more_word_to_those_one_wrote_to() -> None:
    """Also when they stood under Cc only."""
    mine = "From: Alice <alice+work@example.test>\r\nCc: bob@example.test"
    assert answered(mine, False) == answered(mine, True) == [["bob@example.test"], []]


def test_nobody_to_reply_to() -> None:
    with pytest.raises(ComposeError, match="no address"):
        reply(Original(("Bob", "not an address")), ALICE, "x")


@pytest.mark.parametrize(
    ("subject", "answer"),
    [
        ("x", "Re: x"), ("RE: re[3]: Réf : x", "Re: x"), ("Relief", "Re: Relief"), ("", "Re:"), ("AW: Re(2): x", "Re: x"),
        ("RE\u00a0: x", "Re: x"), ("Re：x", "Re: x"), ("TR: Re: x", "Re: TR: Re: x"), ("Re:", "Re:"),
    ],
)  # fmt: skip
def test_one_re(subject: str, answer: str) -> None:
    assert reply_subject(subject) == answer


@pytest.mark.parametrize(
    ("subject", "passed"),
    [
        ("x", "Fwd: x"), ("Fwd: x", "Fwd: x"), ("FW: Fwd : x", "Fwd: x"), ("TR: x", "Fwd: x"), ("Tr : WG: x", "Fwd: x"),
        ("Re: x", "Fwd: Re: x"), ("Fwd[2]: x", "Fwd: x"), ("Trains", "Fwd: Trains"), ("", "Fwd:"),
    ],
)  # fmt: skip
def test_one_fwd(subject: str, passed: str) -> None:
    assert forward(Original(subject=subject), ALICE, [BOB]).subject == passed


@settings(max_examples=150, deadline=None)
@example(b"\x80@0", b"From: ")
@given(
    st.binary(max_size=300),
    st.sampled_from([b"From: a@b.test\r\nSubject: ", b"From: ", b"To: x@y.test\r\nMessage-ID: <", b""]),
)
def test_replies_to_arbitrary_mail(junk: bytes, start: bytes) -> None:
    original = original_of(parse(start + junk), files=True)
    try:
        answer = reply(original, ALICE, "x", everyone=True)
        check_lines(build(answer, "2@x", NOON), answer.needs_utf8)
    except ComposeError as error:
        assert "no address" in str(error)
    check_lines(build(forward(original, ALICE, [BOB], "x"), "3@x", NOON))


def test_forward_keeps_text_and_attachments() -> None:
    first = written(subject="Plan", text="Voici", attachments=(Attachment("plan.pdf", "application/pdf", b"%PDF"),))
    passed = parse(build(forward(original_of(first, files=True), BOB, [ALICE], "Pour toi", "fr"), "2@x", NOON))
    text = text_of(passed)
    assert passed.header("subject") == "Fwd: Plan"
    assert text.startswith("Pour toi\n\n---------- Message transféré ----------\nDe : Alice <alice@example.test>")
    assert "Voici" in text
    assert [(filename_of(part), decode_body(passed, part)) for part in attachments(passed)] == [("plan.pdf", b"%PDF")]


HTML_ONLY = b"""From: Bob <bob@example.test>
To: Alice <alice@example.test>
Subject: Plan
Content-Type: multipart/related; boundary=b

--b
Content-Type: text/html; charset=utf-8

<p>Le <b>plan</b> :</p><img src="cid:logo@x">
--b
Content-Type: image/png
Content-ID: <logo@x>
Content-Disposition: inline
Content-Transfer-Encoding: base64

iVBORw0KGgo=
--b--
"""


def test_forward_of_html_keeps_its_text_and_its_pictures() -> None:
    passed = parse(build(forward(original_of(parse(HTML_ONLY), files=True), ALICE, [BOB], "", "en"), "2@x", NOON))
    assert "From: Bob <bob@example.test>\nSubject: Plan\nTo: Alice <alice@example.test>\n\nLe plan :" in text_of(passed)
    (picture,) = attachments(passed)
    assert (filename_of(picture), picture.type, decode_body(passed, picture)) == ("part 2.png", "image/png", b"\x89PNG\r\n\x1a\n")


LONG = ["é " * 400_000, "From x\n" * 100_000, "é" * 700_000, "\n" * 600_000, "a" * 600_000, " \n" * 300_000]


@pytest.mark.parametrize("text", LONG)
def test_long_texts_come_back_whole(text: str) -> None:
    message = written(text=text)
    check_lines(message.data)
    assert decode_body(message, message.parts[0]).decode().replace("\r\n", "\n").rstrip("\n") == text.rstrip("\n")


# --- bounces ------------------------------------------------------------------------------------------------------------------


def test_bounce_rfc3464() -> None:
    original = build(Draft(ALICE, (BOB,), subject="Réunion", text="secret body"), "1@x", NOON)
    failure = Failure("bob@example.test", "5.1.1", "550 5.1.1 Nobody")
    data = bounce(original, "alice@example.test", [failure], "gk.test", "2@gk.test", NOON, NOON)
    check_lines(data)
    theirs = email.message_from_bytes(data, policy=policy.default)
    assert theirs.get_content_type() == "multipart/report" and theirs.get_param("report-type") == "delivery-status"
    assert theirs["auto-submitted"] == "auto-replied" and theirs["in-reply-to"] == "<1@x>"
    words, status, header = theirs.iter_parts()
    assert "bob@example.test" in words.get_content()
    per_message, per_recipient = status.get_payload()
    assert per_message["reporting-mta"] == "dns; gk.test"
    fields = [per_recipient[name] for name in ("final-recipient", "action", "status")]
    assert fields == ["rfc822; bob@example.test", "failed", "5.1.1"]
    assert header.get_content_type() == "text/rfc822-headers" and b"secret body" not in data


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.text(max_size=80), st.text(max_size=40))
def test_bounces_of_anything(original: bytes, reason: str, address: str) -> None:
    data = bounce(original, "alice@example.test", [Failure(address, "x", reason, reason)], "gk.test", "2@gk.test", NOON)
    assert data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n") and b"\0" not in data
    message = parse(data)
    kinds = [part.type.replace("global-", "") for part in message.parts[1:4]]
    assert kinds == ["text/plain", "message/delivery-status", "text/rfc822-headers"]
    assert message.header("to") == "alice@example.test"


def test_message_ids_differ() -> None:
    assert len({new_message_id("example.test") for _ in range(1000)}) == 1000
