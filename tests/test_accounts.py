"""Directory and credentials: concurrency, other processes, and what attackers try."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from argon2 import extract_parameters
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gk.accounts import credentials as module
from gk.accounts.address import Address
from gk.accounts.credentials import Credentials, PasswordError, Remembered, Stored
from gk.accounts.directory import Account, Directory, DirectoryError, NotLocal, UnknownRecipient
from gk.core.config import LimitSettings
from gk.core.database import Database
from gk.core.hub import Hub
from gk.core.limits import ConnectionCaps, LoginBackoff


@dataclass
class House:
    database: Database
    directory: Directory
    credentials: Credentials
    now: float = 1_700_000_000.0

    @classmethod
    def open(cls, folder: Path) -> House:
        database = Database.open(folder)
        directory = Directory(database, Hub(database))
        house = cls(database, directory, None)  # type: ignore[arg-type]
        house.credentials = Credentials(database, directory, clock=lambda: house.now)
        return house

    def close(self) -> None:
        self.credentials.close()
        self.database.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House.open(tmp_path)
    asyncio.run(house.directory.add_domain("example.test"))
    yield house
    house.close()


# --- directory -----------------------------------------------------------------------------------------------------------


async def test_of_twenty_who_take_the_same_name_one_gets_it(house):
    attempts = [house.directory.add_account("alice@example.test") for _ in range(20)]
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(not isinstance(answer, Exception) for answer in answers) == 1
    assert {type(answer) for answer in answers if isinstance(answer, Exception)} == {DirectoryError}


async def test_an_account_and_an_alias_never_share_a_name(house):
    await house.directory.add_account("alice@example.test")
    answers = await asyncio.gather(house.directory.add_alias("bob@example.test", "alice@example.test"),
                                   house.directory.add_account("BOB@example.test"), return_exceptions=True)
    assert [isinstance(answer, DirectoryError) for answer in answers] == [False, True]


async def test_a_deleted_account_s_id_never_comes_back(house):
    first = await house.directory.add_account("alice@example.test")
    await house.directory.delete_account("alice@example.test")
    assert (await house.directory.add_account("alice@example.test")).id > first.id


async def test_deleting_a_person_ends_their_tokens(house):
    alice = await house.directory.add_account("alice@example.test")
    _, text = await house.credentials.add_token(alice, "session")
    ticket = await house.credentials.issue_jwt(alice)
    await house.directory.delete_account("alice@example.test")
    assert await house.credentials.check_token(text, "session") is None
    assert await house.credentials.check_jwt(ticket) is None


async def test_a_list_that_expands_for_ever_ends(house):
    """Each alias stands for the next: bounded work, and an answer."""
    for number in range(module_bound := 1200):
        await house.directory.add_alias(f"n{number}@example.test", f"n{number + 1}@example.test")
    await house.directory.add_account(f"n{module_bound}@example.test")
    with pytest.raises(UnknownRecipient):
        await house.directory.resolve(Address.parse("n0@example.test"))
    assert (await house.directory.resolve(Address.parse("n900@example.test"))).accounts


async def test_an_answer_read_before_a_change_does_not_enter_the_cache_after_it(house):
    alice = await house.directory.add_account("alice@example.test")
    address = Address.parse("team@example.test")
    await house.directory.add_alias("team@example.test", "alice@example.test")
    read, was_read, gate = house.database.read, asyncio.Event(), asyncio.Event()

    async def slow(fn):
        answer = await read(fn)
        was_read.set()
        await gate.wait()
        return answer

    house.database.read = slow  # type: ignore[method-assign]
    asking = asyncio.create_task(house.directory.resolve(address))
    await was_read.wait()
    house.database.read = read  # type: ignore[method-assign]
    await house.directory.delete_alias("team@example.test")
    gate.set()
    assert (await asking).accounts == (alice,)
    assert house.directory.resolve_now(address) is None


LOCALS = ["a", "b", "c", "d", "e"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(accounts=st.sets(st.sampled_from(LOCALS)),
       aliases=st.sets(st.tuples(st.sampled_from([*LOCALS, ""]), st.sampled_from([*LOCALS, "remote"])), max_size=12))
def test_whoever_may_send_as_an_address_also_receives_it_and_nobody_else(tmp_path_factory, accounts, aliases):
    """Send-as is the mirror of delivery, for every directory there can be (RFC 5321 §7.1: no open relay, no impostors)."""

    async def check() -> None:
        for local in sorted(accounts):
            await house.directory.add_account(f"{local}@example.test")
        for local, target in sorted(aliases):
            if local not in accounts and local != target:
                await house.directory.add_alias(f"{local}@example.test",
                                                "x@elsewhere.example" if target == "remote" else f"{target}@example.test")
        for local in [*LOCALS, "zz"]:
            address = Address.parse(f"{local}+tag@example.test")
            try:
                receivers = {account.address for account in (await house.directory.resolve(address)).accounts}
            except UnknownRecipient:
                receivers = set()
            if local in accounts:
                assert receivers == {f"{local}@example.test"}
            for account in await house.directory.accounts():
                assert await house.directory.may_send_as(account, address) == (account.address in receivers)
                assert not await house.directory.may_send_as(account, Address.parse("x@elsewhere.example"))

    house = House.open(tmp_path_factory.mktemp("house"))
    asyncio.run(house.directory.add_domain("example.test"))
    try:
        asyncio.run(check())
    finally:
        house.close()


async def test_what_is_not_ours_is_not_local(house):
    for text in ("a@elsewhere.example", "a@[127.0.0.1]", "a@sub.example.test", "a@example.tes"):
        with pytest.raises(NotLocal):
            await house.directory.resolve(Address.parse(text))


async def test_an_international_domain_is_one_domain_in_both_spellings(house):
    await house.directory.add_domain("xn--caf-dma.example")
    alice = await house.directory.add_account("alice@CAFÉ.example")
    assert (await house.directory.resolve(Address.parse("alice@xn--caf-dma.example"))).accounts == (alice,)
    with pytest.raises(DirectoryError, match="already"):
        await house.directory.add_domain("café.example")


# --- credentials ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch) -> list[str]:
    """The slow checks that ran, each by the name of its thread."""
    checks: list[str] = []
    real = module._matches

    def count(password_hash: str, password: str) -> bool:
        assert extract_parameters(password_hash) == extract_parameters(module._hasher.hash("x"))
        checks.append(threading.current_thread().name)
        return real(password_hash, password)

    monkeypatch.setattr(module, "_matches", count)
    return checks


@pytest.mark.parametrize("password", ["wrong password", "", "x" * 100_000, "\0", "\ud800", "gk_app", "gk_session_x"])
async def test_cve_2026_42393_an_unknown_name_costs_what_a_wrong_password_costs(house, counted, password):
    alice = await house.directory.add_account("alice@example.test", await house.credentials.hash("correct horse"))
    await house.directory.add_account("bob@example.test", None)
    await house.directory.add_alias("team@example.test", alice.address)
    names = ["alice@example.test", "bob@example.test", "team@example.test", "nobody@example.test", "a@else.example", "none"]
    costs = []
    for name in names:
        before = len(counted)
        assert await house.credentials.verify(name, password) is None
        costs.append(len(counted) - before)
    assert costs == [1] * len(names)
    assert {thread.partition("_")[0] for thread in counted} == {"gk-argon2"}, "never on the event loop"


async def test_the_decoy_opens_no_door(house):
    await house.directory.add_account("bob@example.test", module.DECOY)
    for guess in ("", "decoy", module.DECOY):
        assert await house.credentials.verify("bob@example.test", guess) is None


async def test_a_password_changed_by_another_process_ends_the_cache_here(house, counted):
    alice = await house.directory.add_account("alice@example.test", await house.credentials.hash("correct horse"))
    assert await house.credentials.verify("alice@example.test", "correct horse") == alice
    assert await house.credentials.verify("alice@example.test", "correct horse") == alice
    assert len(counted) == 1
    beside = House.open(house.database.folder)
    await beside.credentials.set_password(alice, "battery staple")
    beside.close()
    assert await house.credentials.verify("alice@example.test", "correct horse") is None
    assert await house.credentials.verify("alice@example.test", "battery staple") == alice


def test_the_cache_holds_neither_password_nor_hash():
    remembered = Remembered(lambda: 0.0)
    stored = Stored(Account(1, "alice@example.test", "Alice"), "$argon2id$v=19$stored")
    remembered.add(stored, "correct horse")
    assert remembered.has(stored, "correct horse") and not remembered.has(stored, "correct hors")
    assert "correct horse" not in repr(vars(remembered)) and "argon2" not in repr(vars(remembered))


async def test_a_password_in_another_normal_form_is_the_same_password(house):
    """RFC 8265 §4.2: a Mac types e + accent, a PC types é."""
    await house.directory.add_account("alice@example.test", await house.credentials.hash("ete\u0301 a\u0300 Lyon"))
    assert await house.credentials.verify("alice@example.test", "et\u00e9 \u00e0 Lyon")


@pytest.mark.parametrize("password", ["", "1234567", "x" * 1025, "nul\0nul\0"])
async def test_a_password_at_the_bounds(house, password):
    with pytest.raises(PasswordError):
        await house.credentials.hash(password)
    assert await house.credentials.hash("x" * 8)
    assert await house.credentials.hash("x" * 1024)


async def test_tickets_and_tokens_hold_in_another_process(house):
    alice = await house.directory.add_account("alice@example.test")
    ticket = await house.credentials.issue_jwt(alice)
    _, text = await house.credentials.add_token(alice, "mcp")
    code = ("import asyncio, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); from test_accounts import House\n"
            "house = House.open(Path(sys.argv[2]))\n"
            "print(asyncio.run(house.credentials.check_jwt(sys.argv[3])).address,"
            " asyncio.run(house.credentials.check_token(sys.argv[4], 'mcp')).account.address)\n"
            "house.close()")
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(house.database.folder), ticket, text]
    answer = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == [alice.address] * 2


async def test_the_use_of_a_token_is_noted_every_ten_minutes_and_not_every_time(house, monkeypatch):
    """A client that lists its mail every second is no reader any more, were each look a write to the disk."""
    alice = await house.directory.add_account("alice@example.test")
    _, text = await house.credentials.add_token(alice, "mcp")
    write, written = house.database.write, []
    monkeypatch.setattr(house.database, "write", lambda work: written.append(house.now) or write(work))
    began = house.now
    for passed in (0, 1, 599, 600, 601, 602, 1201, 1202):
        house.now = began + passed
        assert await house.credentials.check_token(text, "mcp")
    assert [when - began for when in written] == [0, 601, 1202]
    (token,) = await house.credentials.tokens(alice)
    assert token.last_used == began + 1202


async def test_nobody_gets_a_ticket_who_is_gone(house):
    alice = await house.directory.add_account("alice@example.test")
    ticket = await house.credentials.issue_jwt(alice)
    assert await house.credentials.check_jwt(ticket) == alice
    await house.directory.delete_account("alice@example.test")
    assert await house.credentials.check_jwt(ticket) is None
    with pytest.raises(PasswordError, match="any more"):
        await house.credentials.issue_jwt(alice)


@pytest.mark.parametrize("scopes", [["bogus"], ["mail", "mail:everything"], [], [""], ["mail.read"]])
async def test_a_token_for_an_unknown_scope_or_none_is_refused(house, scopes):
    """`--scope ""` used to mean every tool."""
    alice = await house.directory.add_account("alice@example.test")
    with pytest.raises(module.ScopeError, match="scope"):
        await house.credentials.add_token(alice, "mcp", scopes=scopes)
    assert await house.credentials.tokens(alice) == []
    token, _ = await house.credentials.add_token(alice, "mcp")
    assert token.scopes == ("mail",)


async def test_a_token_opens_its_own_door_only(house):
    alice = await house.directory.add_account("alice@example.test")
    for kind in module.KINDS:
        token, text = await house.credentials.add_token(alice, kind, seconds=60)
        for other in module.KINDS:
            assert (await house.credentials.check_token(text, other) is not None) == (other == kind)
        assert await house.credentials.check_token(text + "x", kind) is None
        assert await house.credentials.check_token("gk_" + kind + "_" + "\ud800" * 9, kind) is None
        house.now += 59.9
        assert await house.credentials.check_token(text, kind)
        house.now += 0.1
        assert await house.credentials.check_token(text, kind) is None
        assert await house.credentials.revoke(token.id)


@pytest.mark.parametrize("claims", [
    {"sub": "1", "exp": float("nan"), "aud": "gk-api", "pwd": "x"}, {"sub": "1", "exp": 2**80, "aud": "gk-api"},
    {"sub": "one", "exp": 2**40, "aud": "gk-api", "pwd": "x"}, {"sub": "1", "exp": 2**40, "aud": "other", "pwd": "x"},
    {"sub": "1", "exp": 2**40, "pwd": "x"}, {"sub": "9" * 40, "exp": 2**40, "aud": "gk-api", "pwd": "x"},
])
async def test_a_ticket_signed_by_us_with_odd_claims_is_still_none(house, claims):
    import jwt

    await house.directory.add_account("alice@example.test")
    text = jwt.encode(claims, await house.credentials.secret("jwt"), algorithm="HS256")
    assert await house.credentials.check_jwt(text) is None


async def test_sign_out_of_one_browser_leaves_the_other(house):
    alice = await house.directory.add_account("alice@example.test")
    one, first = await house.credentials.add_token(alice, "session")
    _, second = await house.credentials.add_token(alice, "session")
    await house.credentials.revoke(one.id)
    assert await house.credentials.check_token(first, "session") is None
    assert await house.credentials.check_token(second, "session")


# --- limits --------------------------------------------------------------------------------------------------------------


def test_the_same_client_in_two_spellings_has_one_allowance():
    caps = ConnectionCaps(LimitSettings(connections_per_address=1))
    assert caps.acquire("::ffff:192.0.2.7")
    assert not caps.acquire("192.0.2.7")
    assert ConnectionCaps(LimitSettings(connections=0 + 1, per_address=False)).acquire("") is not None


def test_caps_at_the_bound_and_one_past_it():
    caps = ConnectionCaps(LimitSettings(connections_per_address=5, connections_per_network=8, connections=10))
    assert [caps.acquire("192.0.2.1") for _ in range(6)] == [True] * 5 + [False]
    assert [caps.acquire("192.0.2.2") for _ in range(4)] == [True] * 3 + [False]
    assert [caps.acquire(f"198.51.{n}.1") for n in range(3)] == [True] * 2 + [False]
    caps.release("192.0.2.1")
    assert caps.acquire("198.51.100.1")


def test_load_tests_lift_the_caps_per_client_but_not_the_whole():
    caps = ConnectionCaps(LimitSettings(per_address=False, connections=60, connections_per_address=1))
    assert [caps.acquire("127.0.0.1") for _ in range(61)] == [True] * 60 + [False]


def test_a_guesser_at_many_names_waits_like_one_at_one_name():
    backoff = LoginBackoff(LimitSettings(login_failures=10), clock=lambda: 0.0)
    for number in range(10):
        assert backoff.blocked(f"name{number}@example.test", "203.0.113.9") == 0
        backoff.failed(f"name{number}@example.test", "203.0.113.9")
    assert backoff.blocked("alice@example.test", "203.0.113.9") > 0
    assert backoff.blocked("alice@example.test", "192.0.2.7") == 0


async def test_rfc5321_4_5_3_1_1_a_long_local_part_is_taken_from_others_and_not_given_out(house):
    """A mailing list writes whom it writes to into its sender; an address of ours must be one that everybody can write to."""
    long = f"{'l' * 65}@example.test"
    assert str(Address.parse(long)) == long
    for add in (house.directory.add_account(long), house.directory.add_alias(long, "alice@example.test")):
        with pytest.raises(DirectoryError, match="longer than 64"):
            await add
