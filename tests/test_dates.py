"""What people call a moment, in French and English, from a fixed moment: Tuesday 3 March 2026, 16:10 in Paris."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gk.agent.dates import RULES, Span, Today, find_dates, parse_date
from gk.agent.words import read_words

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 3, 3, 16, 10, tzinfo=PARIS)


def at(text: str | None) -> datetime | None:
    """ "2026-03-02" or "2026-03-02T09:00" in Paris."""
    return datetime.fromisoformat(text).replace(tzinfo=PARIS) if text else None


def table(text: str) -> list[tuple[str, str | None, str | None]]:
    """Rows of "phrase | start | end", with … for an open side."""
    rows = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return [(phrase, None if start == "…" else start, None if end == "…" else end) for phrase, start, end in rows]


PAST = table("""
aujourd'hui                | 2026-03-03       | 2026-03-04
aujourd’hui                | 2026-03-03       | 2026-03-04
hier                       | 2026-03-02       | 2026-03-03
avant-hier                 | 2026-03-01       | 2026-03-02
the day before yesterday   | 2026-03-01       | 2026-03-02
mardi                      | 2026-03-03       | 2026-03-04
mardi dernier              | 2026-02-24       | 2026-02-25
last Tuesday               | 2026-02-24       | 2026-02-25
samedi                     | 2026-02-28       | 2026-03-01
on Saturday                | 2026-02-28       | 2026-03-01
dimanche dernier           | 2026-03-01       | 2026-03-02
cette semaine              | 2026-03-02       | 2026-03-09
la semaine dernière        | 2026-02-23       | 2026-03-02
last week                  | 2026-02-23       | 2026-03-02
la semaine passée          | 2026-02-23       | 2026-03-02
le week-end dernier        | 2026-02-28       | 2026-03-02
last weekend               | 2026-02-28       | 2026-03-02
ce mois-ci                 | 2026-03-01       | 2026-04-01
le mois dernier            | 2026-02-01       | 2026-03-01
last month                 | 2026-02-01       | 2026-03-01
cette année                | 2026-01-01       | 2027-01-01
l'année dernière           | 2025-01-01       | 2026-01-01
l'an dernier               | 2025-01-01       | 2026-01-01
en février                 | 2026-02-01       | 2026-03-01
in December                | 2025-12-01       | 2026-01-01
en mars                    | 2026-03-01       | 2026-04-01
last March                 | 2025-03-01       | 2025-04-01
mars 2024                  | 2024-03-01       | 2024-04-01
en 2024                    | 2024-01-01       | 2025-01-01
le 1er mars                | 2026-03-01       | 2026-03-02
1 mars                     | 2026-03-01       | 2026-03-02
le premier janvier         | 2026-01-01       | 2026-01-02
3 mars                     | 2026-03-03       | 2026-03-04
le 4 mars                  | 2025-03-04       | 2025-03-05
mardi 3 février            | 2026-02-03       | 2026-02-04
March 2nd, 2026            | 2026-03-02       | 2026-03-03
the 2nd of March           | 2026-03-02       | 2026-03-03
Feb 14                     | 2026-02-14       | 2026-02-15
02/03/2026                 | 2026-03-02       | 2026-03-03
2/3/26                     | 2026-03-02       | 2026-03-03
2026-03-02                 | 2026-03-02       | 2026-03-03
25/12                      | 2025-12-25       | 2025-12-26
12/25                      | 2025-12-25       | 2025-12-26
29 février 2024            | 2024-02-29       | 2024-03-01
il y a 3 jours             | 2026-02-28       | 2026-03-01
il y a deux semaines       | 2026-02-16       | 2026-02-23
three days ago             | 2026-02-28       | 2026-03-01
les 7 derniers jours       | 2026-02-25       | 2026-03-04
the last 3 days            | 2026-03-01       | 2026-03-04
ces derniers jours         | 2026-02-25       | 2026-03-04
ce matin                   | 2026-03-03T05:00 | 2026-03-03T12:00
hier soir                  | 2026-03-02T18:00 | 2026-03-03
yesterday morning          | 2026-03-02T05:00 | 2026-03-02T12:00
last night                 | 2026-03-02T18:00 | 2026-03-03T06:00
cette nuit                 | 2026-03-02T22:00 | 2026-03-03T06:00
vendredi matin             | 2026-02-27T05:00 | 2026-02-27T12:00
lundi à 9h                 | 2026-03-02T09:00 | 2026-03-02T10:00
hier à 17h30               | 2026-03-02T17:30 | 2026-03-02T17:31
yesterday at 5:30 pm       | 2026-03-02T17:30 | 2026-03-02T17:31
hier à midi                | 2026-03-02T12:00 | 2026-03-02T13:00
yesterday at 12am          | 2026-03-02T00:00 | 2026-03-02T01:00
depuis lundi               | 2026-03-02       | …
depuis 3 jours             | 2026-02-28       | …
since last week            | 2026-02-23       | …
à partir du 1er mars       | 2026-03-01       | …
après le 1er mars          | 2026-03-02       | …
after yesterday            | 2026-03-03       | …
avant lundi                | …                | 2026-03-02
before March 2025          | …                | 2025-03-01
jusqu'à hier               | …                | 2026-03-03
until 2026-03-01           | …                | 2026-03-02
entre le 3 et le 7 février | 2026-02-03       | 2026-02-08
du 1er au 15 janvier       | 2026-01-01       | 2026-01-16
between 3 and 7 February   | 2026-02-03       | 2026-02-08
from Monday to yesterday   | 2026-03-02       | 2026-03-03
le 2 mars 2026 à 9h        | 2026-03-02T09:00 | 2026-03-02T10:00
mars dernier               | 2025-03-01       | 2025-04-01
2 March, 2026 noon         | 2026-03-02T12:00 | 2026-03-02T13:00
tonight                    | 2026-03-03T18:00 | 2026-03-04
au mois de février         | 2026-02-01       | 2026-03-01
du mois d'août             | 2025-08-01       | 2025-09-01
début février              | 2026-02-01       | 2026-02-11
mi-février                 | 2026-02-11       | 2026-02-21
end of January 2025        | 2025-01-21       | 2025-02-01
la semaine du 10 février   | 2026-02-09       | 2026-02-16
the week of January 1st    | 2025-12-29       | 2026-01-05
ces trois derniers jours   | 2026-03-01       | 2026-03-04
the past couple of days    | 2026-03-02       | 2026-03-04
il y a quelques jours      | 2026-02-25       | 2026-03-04
last Friday                | 2026-02-27       | 2026-02-28
since Monday               | 2026-03-02       | …
depuis le 1er              | 2026-03-01       | …
before the 20th            | …                | 2026-02-20
on the 3rd                 | 2026-03-03       | 2026-03-04
on the 15th                | 2026-02-15       | 2026-02-16
in October                 | 2025-10-01       | 2025-11-01
this weekend               | 2026-02-28       | 2026-03-02
over the weekend           | 2026-02-28       | 2026-03-02
pendant le week-end        | 2026-02-28       | 2026-03-02
last week of October       | 2025-10-25       | 2025-11-01
la première semaine de janvier | 2026-01-01    | 2026-01-08
la dernière semaine de février | 2026-02-22    | 2026-03-01
from February              | 2026-02-01       | 2026-03-01
d’octobre                  | 2025-10-01       | 2025-11-01
entre le 3 et le 5 novembre | 2025-11-03      | 2025-11-06
du 28 au 2 mars            | 2026-02-28       | 2026-03-03
du 30 décembre au 2 janvier | 2025-12-30      | 2026-01-03
from Friday to yesterday   | 2026-02-27       | 2026-03-03
depuis hier soir           | 2026-03-02T18:00 | …
""")


@pytest.mark.parametrize(("phrase", "start", "end"), PAST)
def test_looking_back(phrase: str, start: str | None, end: str | None) -> None:
    assert parse_date(phrase, NOW) == Span(at(start), at(end))


# asked at: the last night of a year, its first morning, the days of both clock changes, a leap day
EDGES = """
2026-01-01T00:30 | hier                     | 2025-12-31       | 2026-01-01
2026-01-01T00:30 | la semaine dernière      | 2025-12-22       | 2025-12-29
2026-01-01T00:30 | le mois dernier          | 2025-12-01       | 2026-01-01
2026-01-01T00:30 | last year                | 2025-01-01       | 2026-01-01
2026-01-01T00:30 | le 31                    | 2025-12-31       | 2026-01-01
2025-12-31T23:30 | this week                | 2025-12-29       | 2026-01-05
2025-12-31T23:30 | since Monday             | 2025-12-29       | …
2026-03-01T08:00 | on the 30th              | 2026-01-30       | 2026-01-31
2026-03-01T08:00 | from Friday to Monday    | 2026-02-20       | 2026-02-24
2026-03-30T09:00 | hier                     | 2026-03-29       | 2026-03-30
2026-03-30T09:00 | last weekend             | 2026-03-28       | 2026-03-30
2026-03-30T09:00 | les 2 derniers jours     | 2026-03-29       | 2026-03-31
2026-10-26T09:00 | yesterday evening        | 2026-10-25T18:00 | 2026-10-26
2026-10-26T09:00 | depuis samedi            | 2026-10-24       | …
2024-03-01T09:00 | hier                     | 2024-02-29       | 2024-03-01
2024-02-29T09:00 | l'année dernière         | 2023-01-01       | 2024-01-01
"""


@pytest.mark.parametrize("row", EDGES.strip().splitlines())
def test_the_ends_of_years_and_the_changes_of_clocks(row: str) -> None:
    now, phrase, start, end = (cell.strip() for cell in row.split("|"))
    asked = datetime.fromisoformat(now).replace(tzinfo=PARIS)
    assert parse_date(phrase, asked) == Span(at(start), at(end if end != "…" else None))


# on the first of these dateparser finds nothing, or the wrong day
FUTURE = table("""
lundi prochain à 9h      | 2026-03-09T09:00 | 2026-03-09T10:00
ce soir à 20h            | 2026-03-03T20:00 | 2026-03-03T21:00
vendredi matin           | 2026-03-06T05:00 | 2026-03-06T12:00
jeudi en huit            | 2026-03-12       | 2026-03-13
jeudi en quinze          | 2026-03-19       | 2026-03-20
mardi                    | 2026-03-10       | 2026-03-11
mercredi                 | 2026-03-04       | 2026-03-05
demain                   | 2026-03-04       | 2026-03-05
après-demain à midi      | 2026-03-05T12:00 | 2026-03-05T13:00
demain à 9 h 30          | 2026-03-04T09:30 | 2026-03-04T09:31
next Friday at 5pm       | 2026-03-06T17:00 | 2026-03-06T18:00
at 9am tomorrow          | 2026-03-04T09:00 | 2026-03-04T10:00
ce soir à 8h             | 2026-03-03T20:00 | 2026-03-03T21:00
dans 3 semaines          | 2026-03-24       | 2026-03-25
in two days              | 2026-03-05       | 2026-03-06
la semaine prochaine     | 2026-03-09       | 2026-03-16
le mois prochain         | 2026-04-01       | 2026-05-01
next year                | 2027-01-01       | 2028-01-01
en avril                 | 2026-04-01       | 2026-05-01
en février               | 2027-02-01       | 2027-03-01
le 10                    | 2026-03-10       | 2026-03-11
the 1st                  | 2026-04-01       | 2026-04-02
2 mars                   | 2027-03-02       | 2027-03-03
two days from now        | 2026-03-05       | 2026-03-06
mercredi 11 mars à 14h30 | 2026-03-11T14:30 | 2026-03-11T14:31
""")


@pytest.mark.parametrize(("phrase", "start", "end"), FUTURE)
def test_looking_ahead(phrase: str, start: str, end: str) -> None:
    assert parse_date(phrase, NOW, "future") == Span(at(start), at(end))


@pytest.mark.parametrize(
    "phrase",
    [
        "",
        "je",
        "Bob",
        "31 février",
        "29 février 2026",
        "le 45",
        "99/99/2026",
        "25h",
        "la semaine",
        "mars attaque",
        "demain la facture",
        "2026-13-01",
        "lundi bleu",
        "entre nous",
        "since Bob",
        "31/12/9999",
    ],
)
def test_what_is_no_date(phrase: str) -> None:
    assert parse_date(phrase, NOW) is None


def test_je_is_not_thursday() -> None:
    """dateparser.search_dates reads "je" as "jeudi": the grammar finds no date in these words."""
    assert not list(find_dates(read_words("je cherche la facture que je dois payer").folded, Today(NOW)))


def test_a_date_inside_a_sentence_has_its_place() -> None:
    text = read_words("les mails de Bob de la semaine dernière sur la facture").folded
    [(start, end, span)] = find_dates(text, Today(NOW))
    assert text[start:end] == "la semaine derniere" and span == Span(at("2026-02-23"), at("2026-03-02"))


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_the_day_of_a_clock_change_is_one_day(day: str, hours: int) -> None:
    span = parse_date(day, datetime(2026, 12, 1, 12, tzinfo=PARIS))
    assert span and span.start and span.end
    assert span.end.timestamp() - span.start.timestamp() == hours * 3600


def test_now_and_its_zone_are_the_callers() -> None:
    """The same words at the same instant are another day on the other side of the world."""
    instant = datetime.fromisoformat("2026-03-03T23:30+00:00")
    paris, honolulu = (parse_date("today", instant.astimezone(ZoneInfo(zone))) for zone in ("Europe/Paris", "Pacific/Honolulu"))
    assert paris and honolulu and paris.start and honolulu.start
    assert (paris.start.day, honolulu.start.day) == (4, 3)


def test_the_end_of_a_month_does_not_overflow() -> None:
    end_of_march = datetime(2026, 3, 31, 12, tzinfo=PARIS)
    assert parse_date("le mois dernier", end_of_march) == Span(at("2026-02-01"), at("2026-03-01"))
    assert parse_date("les 1 derniers mois", end_of_march) == Span(at("2026-03-01"), at("2026-04-01"))
    assert parse_date("l'an dernier", datetime(2024, 2, 29, tzinfo=PARIS)) == Span(at("2023-01-01"), at("2024-01-01"))


def test_every_rule_is_used_by_a_phrase_above() -> None:
    phrases = [read_words(p).folded for p, *_ in (*PAST, *FUTURE)]
    unused = [p.pattern for p, _ in RULES if not any(p.match(text, i) for text in phrases for i in range(len(text)))]
    assert not unused


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet="le la du depuis jeudi 1234567890/-: hmars ago last", max_size=60),
    st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)),
)
def test_any_text_gives_a_span_or_none(text: str, now: datetime) -> None:
    for prefer in ("past", "future"):
        for _, _, span in find_dates(read_words(text).folded, Today(now.replace(tzinfo=PARIS), prefer)):  # type: ignore[arg-type]
            assert span.start is None or span.end is None or span.end - span.start >= timedelta(0)
