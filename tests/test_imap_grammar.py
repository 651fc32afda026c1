"""The words and sentences of IMAP, and the stream they come in: everything that needs no mailbox."""

from __future__ import annotations

import fnmatch
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gk.imap.commands import SYNTAX, And, Fetch, Not, Or, Test, append_head, parse
from gk.imap.connection import Chunk, Connection, Refused, Upload
from gk.imap.grammar import (
    KEYWORD_OCTETS,
    KEYWORDS,
    Bad,
    Bounds,
    Cursor,
    No,
    Refusal,
    date_time,
    decode_name,
    encode_name,
    flag_list,
    literal,
    matcher,
    nstring,
    sequence_set,
    write_date_time,
    write_flags,
    write_name,
    write_set,
    write_string,
)

Test.__test__ = False  # not a test class, although pytest would think so


def arguments(text: str) -> object:
    return parse(b"a1 " + text.encode()).arguments


# what is written can be read


@given(st.binary())
def test_strings_survive_writing_and_reading(octets: bytes) -> None:
    assert nstring(Cursor(write_string(octets))) == octets.replace(b"\0", b"\x80")
    assert nstring(Cursor(literal(octets))) == octets.replace(b"\0", b"\x80")


@given(st.text(st.characters(blacklist_categories=["Cs"])))
def test_mailbox_names_survive_modified_utf7(name: str) -> None:
    wire = encode_name(name)
    assert wire.isascii()
    assert decode_name(wire) == ("INBOX" if name.upper() == "INBOX" and name.isascii() else name)
    cursor = Cursor(write_name(name))
    assert decode_name(nstring(cursor) if cursor.peek() in (b'"', b"{") else cursor.data) == decode_name(wire)


@given(st.binary(max_size=40))
def test_a_mailbox_name_has_one_spelling(octets: bytes) -> None:
    try:
        name = decode_name(octets)
    except No:
        return
    assert octets.upper() == b"INBOX" or encode_name(name) == octets


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)), st.integers(-23 * 60, 23 * 60))
def test_dates_survive(moment: datetime, minutes: int) -> None:
    when = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    seconds = (when - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    assert date_time(Cursor(write_date_time(seconds, minutes))) == when


@pytest.mark.parametrize(("text", "seconds", "minutes"), [
    (b'" 1-Jan-1970 00:00:00 +0000"', 0, 0), (b'"31-Dec-1969 23:59:59 +0000"', -1, 0),
    (b'"29-Feb-2024 21:52:25 -0830"', 1709274145, -510),
    (b'"31-Dec-2026 23:59:59 +1400"', 1798711199, 840), (b'" 1-Jan-2027 00:00:00 +1400"', 1798711200, 840),
])  # fmt: skip
def test_a_date_has_one_form(text: bytes, seconds: int, minutes: int) -> None:
    assert write_date_time(seconds, minutes) == text
    assert date_time(Cursor(text)).timestamp() == seconds


@pytest.mark.parametrize("text", ["29-Feb-2023 00:00:00 +0000", " 1-Foo-2024 00:00:00 +0000", " 1-Feb-2024 24:00:00 +0000",
                                  " 1-Feb-2024 00:00:00 +2400", " 0-Feb-2024 00:00:00 +0000"])  # fmt: skip
def test_a_day_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Bad):
        date_time(Cursor(b'"%b"' % text.encode()))


def test_numbers_and_keywords_at_the_bound_and_one_past_it() -> None:
    assert arguments("FETCH 1 BODY[]<4294967295.1>")
    with pytest.raises(Bad):
        arguments("FETCH 1 BODY[]<4294967296.1>")
    many = [b"k%d" % n for n in range(KEYWORDS)]
    assert len(flag_list(Cursor(b"(" + b" ".join(many) + b")")).keywords) == KEYWORDS
    assert flag_list(Cursor(b"(" + b"k" * KEYWORD_OCTETS + b")")).keywords
    for past in (b" ".join([*many, b"more"]), b"k" * (KEYWORD_OCTETS + 1)):
        with pytest.raises(No):
            flag_list(Cursor(b"(" + past + b")"))


@given(st.integers(0, 31), st.lists(st.sampled_from(["Work", "$Junk", "$Forwarded", "a"]), unique=True))
def test_flags_survive(bits: int, keywords: list[str]) -> None:
    read = flag_list(Cursor(write_flags(bits, tuple(keywords))))
    assert (read.bits, read.keywords) == (bits, tuple(keywords))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=8), st.integers(1, 25))
def test_sets_of_numbers_mean_what_they_say(pairs: list[tuple[int, int]], largest: int) -> None:
    text = ",".join(f"{a or '*'}:{b or '*'}" for a, b in pairs)
    meant: set[int] = set()
    for a, b in pairs:
        low, high = sorted((a or largest, b or largest))
        meant |= set(range(low, high + 1))
    ranges = sequence_set(Cursor(text.encode())).ranges(largest)
    assert [n for low, high in ranges for n in range(low, high + 1)] == sorted(meant)
    assert sequence_set(Cursor(write_set(sorted(meant)))).ranges(largest) == ranges


# patterns


def slow_match(pattern: str, name: str) -> bool:
    """RFC 3501 §6.3.8 said as plainly as possible, and exponentially slow."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(slow_match(pattern[1:], name[at:]) for at in range(len(name) + 1))
    if pattern[0] == "%":
        level = name.split("/")[0]
        return any(slow_match(pattern[1:], name[at:]) for at in range(len(level) + 1))
    return bool(name) and name[0] == pattern[0] and slow_match(pattern[1:], name[1:])


@given(st.text("ab/*%", max_size=8), st.text("ab/", max_size=8))
@example("*", "")
@example("%*%", "a/b")
@example("%/%", "a//b")
def test_patterns_match_as_the_rfc_says(pattern: str, name: str) -> None:
    assert matcher(pattern)(name) == slow_match(pattern, name)


@pytest.mark.parametrize(("pattern", "names"), [
    ("*", "INBOX INBOX/a Work Work/a Work/a/b"), ("%", "INBOX Work"), ("%/%", "INBOX/a Work/a"), ("Work%", "Work"),
    ("Work*", "Work Work/a Work/a/b"), ("*/b", "Work/a/b"), ("%b", ""), ("inbox", "INBOX"), ("inbox/%", "INBOX/a"), ("work", ""),
    ("INBOX/A", ""), ("", ""), ("%*", "INBOX INBOX/a Work Work/a Work/a/b"), ("W%k/*b", "Work/a/b"),
])  # fmt: skip
def test_a_pattern_finds_these_mailboxes(pattern: str, names: str) -> None:
    found = matcher(pattern)
    assert [name for name in ("INBOX", "INBOX/a", "Work", "Work/a", "Work/a/b") if found(name)] == names.split()


@given(st.text("ab*", max_size=10), st.text("ab", max_size=10))
def test_patterns_agree_with_another_implementation(pattern: str, name: str) -> None:
    assert matcher(pattern)(name) == fnmatch.fnmatchcase(name, pattern)


# sentences

FRAGMENTS = [
    b"a1 ", b"a2 ", b"FETCH ", b"UID ", b"SEARCH ", b"STORE ", b"LOGIN ", b"LIST ", b"APPEND ", b"INBOX ", b"1:* ", b"2,4 ",
    b"(", b")", b"{5}", b"{5+}", b"{0}", b"{99999999}", b"{18446744073709551616+}", b"\r\n", b"\n", b"\r", b'"', b"\\", b" ",
    b"BODY[", b"]", b"<0.5>", b"HEADER.FIELDS ", b"FLAGS ", b"\\Seen ", b"NOT ", b"OR ", b"ALL ", b"CHARSET UTF-8 ",
    b"hello", b"\0", b"\xe9", b"%*", b"+FLAGS.SILENT ", b'" 1-Feb-2024 00:00:00 +0000" ', b"DONE\r\n", b"IDLE\r\n",
    b"AUTHENTICATE PLAIN\r\n", b"x" * 60,
]  # fmt: skip
soup = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=6)), max_size=25).map(b"".join)


@given(soup)
@settings(max_examples=400)
def test_no_octets_raise_anything_but_a_refusal(octets: bytes) -> None:
    for prefix in (b"", b"a1 ", *(f"a1 {name} ".encode() for name in SYNTAX)):
        for read in (lambda text: parse(text, 32), lambda text: append_head(text, 5)):
            try:
                read(prefix + octets)
            except Refusal as refusal:
                assert refusal.text


SMALL = Bounds(line=64, literal=20, command=90, depth=4, message=30, early=10)


def events(pieces: list[bytes], accept: bool, authenticated: bool) -> list[object]:
    """What a connection makes of octets in these pieces; a message counts as one, however it was cut."""
    connection, found = Connection(SMALL, authenticated), []
    for piece in pieces:
        connection.receive(piece)
        while (event := connection.next_event()) is not None:
            if isinstance(event, Upload):
                connection.accept() if accept else connection.refuse()
            if isinstance(event, Chunk) and found and isinstance(found[-1], Chunk):
                found[-1] = Chunk(found[-1].octets + event.octets)
            else:
                found.append(event)
            if isinstance(event, Refused) and event.fatal:
                return found
    return found


@given(soup, st.lists(st.integers(1, 40), max_size=30), st.booleans(), st.booleans())
@settings(max_examples=1000, deadline=None)
@example(b"a1 LOGIN {5+}\r\nhello {5+}\r\nworld\r\n", [1] * 40, True, True)
@example(b"a1 APPEND INBOX {5+}\r\nhello\r\na2 NOOP\r\n", [1] * 40, False, True)
@example(b"x" * 64 + b"\r\na1 NOOP\r\n", [64, 1, 1], True, True)
def test_the_same_octets_give_the_same_events_however_they_are_split(
    octets: bytes, cuts: list[int], accept: bool, authenticated: bool
) -> None:
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(octets[at : at + cut])
        at += cut
    assert events([*pieces, octets[at:]], accept, authenticated) == events([octets], accept, authenticated)


@given(soup)
def test_after_anything_that_was_refused_the_next_command_is_read(octets: bytes) -> None:
    found = events([octets + b"\r\n" * 3, *[b"\r\n" + b"x" * 30 + b"\r\n"] * 3, b"end NOOP\r\n"], True, True)
    if found and isinstance(found[-1], Refused) and found[-1].fatal:
        return
    # an unfinished literal swallows what follows it, up to its announced size; nothing else does
    assert getattr(found[-1], "tag", "") == "end" or b"{" in octets


# one sentence of each kind, in both directions of right and wrong


@pytest.mark.parametrize("text", [
    "CAPABILITY", "noop", "LOGOUT", "STARTTLS", "CHECK", "CLOSE", "UNSELECT", "EXPUNGE", "IDLE", "NAMESPACE", "LOGIN a b",
    'LOGIN "" ""', "AUTHENTICATE PLAIN", "AUTHENTICATE PLAIN =", "ID NIL", 'ID ("a" NIL)', "ID ()", "SELECT INBOX",
    "EXAMINE a]b", 'CREATE "a b"', "DELETE a", "SUBSCRIBE a", "UNSUBSCRIBE a", "RENAME a b", 'LIST "" *', 'LSUB a/ "%"',
    "STATUS a (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)", "FETCH 1 ALL", "UID FETCH 1:*,5 (FLAGS)",
    "FETCH 1 BODY.PEEK[1.2.HEADER]<5.6>", "STORE 1 FLAGS ()", "STORE 1 -FLAGS.SILENT \\Seen a", "UID STORE 1 +FLAGS (a)",
    "COPY 1 a", "UID COPY 1 a", "UID EXPUNGE 1:5", "SEARCH ALL", "SEARCH CHARSET UTF-8 NOT (OR 1 2 FROM a)",
    "UID SEARCH UID 1:*", "SEARCH SENTBEFORE 1-Jan-2024", 'SEARCH HEADER A ""',
])  # fmt: skip
def test_right(text: str) -> None:
    parse(b"a1 " + text.encode())


@pytest.mark.parametrize("text", [
    "", "NOOP ", " NOOP", "NOOP x", "X", "UID", "UID NOOP", "LOGIN a", "LOGIN a b c", "LOGIN (a) b", "LOGIN a  b",
    "AUTHENTICATE", "ID", "ID (a b)", 'ID ("a")', "SELECT", "SELECT a b", "SELECT (a)", "CREATE a%", "RENAME a", 'LIST ""',
    "LIST * *", "STATUS a", "STATUS a ()", "STATUS a (X)", "STATUS a MESSAGES", "FETCH 1", "FETCH 0 ALL", "FETCH 1 (ALL)",
    "FETCH 1 (ALL FLAGS)", "FETCH 1 X", "FETCH 1 BODY[", "FETCH 1 BODY[X]", "FETCH 1 BODY[]<0>", "FETCH 1 BODYSTRUCTURE[]",
    "FETCH a FLAGS", "FETCH 1: FLAGS", "FETCH 4294967296 FLAGS", "STORE 1 FLAGS", "STORE 1 X ()", "STORE 1 FLAGS (\\Recent)",
    "STORE 1 FLAGS (\\Nonsense)", "STORE 1 FLAGS (a", "COPY 1", "COPY a b", "EXPUNGE 1", "SEARCH", "SEARCH X", "SEARCH NOT",
    "SEARCH OR 1", "SEARCH ()", "SEARCH (ALL", "SEARCH SINCE yesterday", "SEARCH ON 31-Feb-2024", "SEARCH LARGER -1",
    "SEARCH KEYWORD \\Seen", "SEARCH HEADER a:b c", "APPEND INBOX hello", "IDLE now",
])  # fmt: skip
def test_wrong(text: str) -> None:
    with pytest.raises(Bad):
        parse(b"a1 " + text.encode())


def test_fetch_items_that_are_equal_count_once() -> None:
    asked = arguments("FETCH 1 (FLAGS BODY[] flags BODY[])")
    assert isinstance(asked, Fetch)
    assert [item.label for item in asked.items] == [b"FLAGS", b"BODY[]"]


def test_search_keys_make_a_tree() -> None:
    key = arguments("SEARCH OR UNSEEN (NEW FROM a) NOT 1:2").key  # type: ignore[attr-defined]
    assert isinstance(key, And)
    either, opposite = key.keys
    assert either == Or(Not(Test("FLAG", 1)), And((And((Test("RECENT"), Not(Test("FLAG", 1)))), Test("FROM", "a"))))
    assert isinstance(opposite, Not)
