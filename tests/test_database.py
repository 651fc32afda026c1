"""The database when things go wrong: crashes, full disks, neighbours that fail, other processes, files that are not ours."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from gk.core import schema
from gk.core.config import Settings, SettingsError, load
from gk.core.database import HEAD, Database, DatabaseError, StorageFull, Transaction, storage_error
from gk.core.hub import Hub


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "data")
    yield database
    database.close()


def put(name: str, size: int = 1):
    """A writing function: one row of a few octets."""
    return lambda tx: tx.driver.execute("INSERT INTO secret (name, value) VALUES (?, zeroblob(?))", (name, size)) and name


def names(database: Database) -> list[str]:
    return [name for (name,) in database.read_now(lambda r: r.driver.execute("SELECT name FROM secret ORDER BY name").fetchall())]


def fails_at_commit(tx: Transaction) -> None:
    """Succeeds, and makes the COMMIT of the whole group fail: a deferred foreign key is checked only there."""
    tx.driver.execute("PRAGMA defer_foreign_keys = ON")
    tx.driver.execute("INSERT INTO account (domain_id, address, created) VALUES (999, 'x@nowhere', 0)")


async def together(database: Database, *functions):
    """Let the functions share one group: the writer is held until all of them wait."""
    gate, holding = threading.Event(), threading.Event()
    held = asyncio.create_task(database.write(lambda tx: holding.set() or gate.wait(10)))
    await asyncio.to_thread(holding.wait, 10)
    waiting = [asyncio.create_task(database.write(function)) for function in functions]
    await asyncio.sleep(0)
    gate.set()
    await held
    return await asyncio.gather(*waiting, return_exceptions=True)


async def test_rolling_back_the_group_undoes_savepoints_that_were_released(database):
    answers = await together(database, put("kept-before-commit"), fails_at_commit, put("another"))
    assert [type(answer) for answer in answers] == [DatabaseError] * 3
    assert names(database) == []
    assert len({id(answer) for answer in answers}) == 3, "each waiter has an error of its own"


async def test_one_failing_function_harms_no_neighbour(database):
    def stumbles(tx: Transaction) -> None:
        put("half")(tx)
        raise ValueError("stumbled")

    answers = await together(database, put("a"), stumbles, put("a"), put("b"))
    assert answers[0] == "a" and answers[3] == "b"
    assert isinstance(answers[1], ValueError) and isinstance(answers[2], sqlite3.IntegrityError)
    assert names(database) == ["a", "b"]


async def test_a_failing_sqlalchemy_statement_rolls_back_nothing_but_itself(database):
    def twice(tx: Transaction) -> None:
        tx.execute(insert(schema.domain), {"name": "twice.test", "created": 0.0})
        tx.execute(insert(schema.domain), {"name": "twice.test", "created": 0.0})

    answers = await together(database, put("a"), twice, put("b"))
    assert isinstance(answers[1], IntegrityError)
    assert names(database) == ["a", "b"]
    assert database.read_now(lambda r: r.execute(select(schema.domain.c.name)).fetchall()) == []


async def test_sqlalchemy_and_driver_share_a_transaction(database):
    def both(tx: Transaction) -> int:
        tx.execute(insert(schema.domain), {"name": "core.test", "created": 0.0})
        return tx.driver.execute("SELECT count(*) FROM domain").fetchone()[0]

    assert await database.write(both) == 1


async def test_a_function_that_raises_stop_iteration_is_answered(database):
    with pytest.raises(RuntimeError):
        await asyncio.wait_for(database.write(lambda tx: next(iter(()))), 5)


async def test_a_cancelled_waiter_leaves_its_write_and_its_neighbours_alone(database):
    gate = threading.Event()
    held = asyncio.create_task(database.write(lambda tx: gate.wait(10)))
    cancelled = asyncio.create_task(database.write(put("cancelled")))
    neighbour = asyncio.create_task(database.write(put("neighbour")))
    await asyncio.sleep(0.05)
    cancelled.cancel()
    gate.set()
    await asyncio.gather(held, neighbour)
    assert names(database) == ["cancelled", "neighbour"]


async def test_reads_never_wait_for_the_writer(database):
    gate = threading.Event()
    held = asyncio.create_task(database.write(lambda tx: (put("unseen")(tx), gate.wait(10))))
    await asyncio.sleep(0.05)
    assert names(database) == []
    assert await database.read(lambda r: r.driver.execute("SELECT count(*) FROM secret").fetchone()) == (0,)
    gate.set()
    await held


def test_a_reader_cannot_write(database):
    with pytest.raises(DatabaseError, match="may not be written"):
        database.read_now(lambda r: r.driver.execute("DELETE FROM secret"))


def test_a_read_is_one_snapshot(database):
    database.write_now(put("a"))

    def look(reader):
        first = reader.driver.execute("SELECT count(*) FROM secret").fetchone()
        threading.Thread(target=database.write_now, args=(put("b"),)).run()
        return first, reader.driver.execute("SELECT count(*) FROM secret").fetchone()

    assert database.read_now(look) == ((1,), (1,))


# --- a full disk ---------------------------------------------------------------------------------------------------------


def limit_pages(database: Database, pages: int) -> None:
    """What a full disk looks like to SQLite, on any machine."""
    database.write_now(lambda tx: tx.driver.execute(f"PRAGMA max_page_count = {pages}").fetchone())


async def test_a_full_disk_reaches_every_waiter_and_the_writer_works_again(database):
    limit_pages(database, 1)
    answers = await together(database, *(put(f"large{n}", 3_000_000) for n in range(5)))
    assert [type(answer) for answer in answers] == [StorageFull] * 5
    assert str(database.path) in str(answers[0])
    limit_pages(database, 1_000_000)
    assert await together(database, put("a"), put("b", 3_000_000)) == ["a", "b"]
    assert names(database) == ["a", "b"]


@pytest.fixture
def small_disk(mounted):
    return mounted("size=4m")


async def test_a_disk_that_is_really_full_and_then_is_not(small_disk):
    database = Database.open(small_disk / "data")
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 65536)
            file.flush()
    answers = []
    for number in range(30):  # what SQLite has preallocated still takes a few
        answers += await asyncio.gather(*(database.write(put(f"{number}-{n}", 20_000)) for n in range(3)), return_exceptions=True)
    told = [answer for answer in answers if isinstance(answer, str)]
    assert any(isinstance(answer, StorageFull) for answer in answers)
    assert {type(answer) for answer in answers} <= {str, StorageFull}, answers
    ballast.unlink()
    assert await database.write(put("again", 20_000)) == "again"
    assert sorted(names(database)) == sorted([*told, "again"]), "kept is exactly what was acknowledged"
    database.close()


def test_a_full_disk_at_the_first_start_leaves_nothing_half_made(small_disk):
    (small_disk / "ballast").write_bytes(b"x" * (4 * 1024 * 1024 - 80_000))
    with pytest.raises(StorageFull, match="no space left"):
        Database.open(small_disk / "data")
    (small_disk / "ballast").unlink()
    Database.open(small_disk / "data").close()


def test_mail_files_and_the_database_share_one_error_for_a_full_disk():
    assert isinstance(storage_error(OSError(errno.EDQUOT, "Quota exceeded"), Path("x")), StorageFull)
    assert storage_error(PermissionError(errno.EACCES, "no")) is None


# --- crashes and other processes -----------------------------------------------------------------------------------------

WRITES = """
import sys
from pathlib import Path
from gk.core.database import Database
database = Database.open(Path(sys.argv[1]))
for number in range(100000):
    database.write_now(lambda tx: tx.driver.execute("INSERT INTO secret (name, value) VALUES (?, x'00')",
                                                    (f"{sys.argv[2]}{number}",)) and None)
    print(f"{sys.argv[2]}{number}", flush=True)
    if len(sys.argv) > 3 and number + 1 == int(sys.argv[3]): break
database.close()
"""


def test_kill_9_keeps_whatever_was_acknowledged(tmp_path):
    Database.open(tmp_path).close()
    for round_number in range(5):
        command = [sys.executable, "-c", WRITES, tmp_path, f"r{round_number}n"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        acknowledged = [process.stdout.readline().strip() for _ in range(20 * (round_number + 1))]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.read().split()
        process.wait()
        database = Database.open(tmp_path)
        assert set(acknowledged) <= set(names(database))
        database.close()


def test_two_processes_write_and_migrate_the_same_file_at_once(tmp_path):
    both = [subprocess.Popen([sys.executable, "-c", WRITES, tmp_path, name, "200"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for name in ("a", "b")]
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in both] == [(b"", 0)] * 2
    database = Database.open(tmp_path)
    assert len(names(database)) == 400
    database.close()


async def test_another_process_is_heard_through_the_hub(tmp_path):
    database = Database.open(tmp_path)
    hub = Hub(database)
    await hub.start()
    with hub.subscribe("mailbox:7") as subscription:
        code = ("import sys; from pathlib import Path; from gk.core.database import Database;"
                "d = Database.open(Path(sys.argv[1])); d.write_now(lambda tx: tx.notify('mailbox:7')); d.close()")
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, tmp_path)
        assert await subscription.next(timeout=20) == {"mailbox:7"}
        await process.wait()
    await hub.stop()
    database.close()


async def test_the_hub_wakes_once_for_own_commits_and_never_for_undone_ones(database):
    hub = Hub(database)
    await hub.start()

    def undone(tx: Transaction) -> None:
        tx.notify("queue")
        fails_at_commit(tx)

    with hub.subscribe("queue", "mailbox:1") as subscription:
        await asyncio.gather(database.write(undone), return_exceptions=True)
        await database.write(lambda tx: tx.notify("mailbox:1"))
        assert await subscription.next(timeout=5) == {"mailbox:1"}
        assert await subscription.next(timeout=0.6) is None
    await hub.stop()


# --- files that are not ours ---------------------------------------------------------------------------------------------


def test_migrations_make_what_the_schema_says(database):
    from alembic.autogenerate import compare_metadata
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import create_engine

    with create_engine(f"sqlite:///{database.path}").connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    config = Config()
    config.set_main_option("script_location", "gk.core:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_a_file_at_head_never_imports_alembic(tmp_path):
    Database.open(tmp_path).close()
    code = ("import sys; from pathlib import Path; from gk.core.database import Database;"
            "Database.open(Path(sys.argv[1])).close(); assert 'alembic' not in sys.modules")
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)


def test_a_migration_that_fails_leaves_nothing(tmp_path, monkeypatch):
    import alembic.command

    upgrade = alembic.command.upgrade

    def breaks(config, revision):
        upgrade(config, revision)
        raise RuntimeError("in the middle")

    monkeypatch.setattr(alembic.command, "upgrade", breaks)
    with pytest.raises(RuntimeError, match="in the middle"):
        Database.open(tmp_path)
    with sqlite3.connect(tmp_path / "gk.db") as file:
        assert file.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    monkeypatch.undo()
    Database.open(tmp_path).close()


def edit(path: Path, statement: str) -> None:
    """Change a file as another program would, and let go of it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute(statement)


def foreign(path: Path) -> None:
    edit(path, "CREATE TABLE songs (title)")


def newer(path: Path) -> None:
    Database.open(path.parent).close()
    edit(path, "UPDATE alembic_version SET version_num = '0999'")


def unversioned(path: Path) -> None:
    Database.open(path.parent).close()
    edit(path, "DELETE FROM alembic_version")


@pytest.mark.parametrize(("make", "text"), [
    (foreign, "belongs to another program"),
    (newer, "newer gk .*0999"),
    (unversioned, "older than its first release"),
    (lambda path: path.write_bytes(b"not a database " * 1000), "not a database"),
    (lambda path: path.mkdir(), "cannot be used as the data folder"),
])
def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(tmp_path, make, text):
    path = tmp_path / "gk.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(DatabaseError, match=text) as caught:
        Database.open(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_the_files_are_for_their_owner_only(database):
    database.write_now(put("a"))
    assert {oct(file.stat().st_mode & 0o777) for file in database.folder.iterdir()} == {"0o600"}
    assert oct(database.folder.stat().st_mode & 0o777) == "0o700"


def test_closing_finishes_what_waits_and_then_refuses(tmp_path):
    database = Database.open(tmp_path)
    threads = [threading.Thread(target=database.write_now, args=(put(f"{n}"),)) for n in range(20)]
    gate, held = threading.Event(), threading.Event()
    holder = threading.Thread(target=database.write_now, args=(lambda tx: held.set() or gate.wait(10),))
    holder.start()
    held.wait(10)
    for thread in threads:
        thread.start()
    while database._writer.jobs.qsize() < len(threads):
        time.sleep(0.01)
    closing = threading.Thread(target=database.close)
    closing.start()
    gate.set()
    for thread in (closing, holder, *threads):
        thread.join(10)
    again = Database.open(tmp_path)
    assert len(names(again)) == 20
    again.close()
    with pytest.raises(DatabaseError, match="closed"):
        database.write_now(put("late"))


async def test_a_listener_that_fails_does_not_end_the_writer(database):
    database.on_commit.append(lambda topics: 1 / 0)
    await database.write(lambda tx: tx.notify("queue"))
    await asyncio.wait_for(database.write(put("after")), 10)
    assert "after" in names(database)


async def test_a_disk_that_does_not_even_allow_a_new_connection_does_not_end_the_writer(database, monkeypatch):
    """Nobody may wait for ever because the thread that would answer has ended."""
    def gone(*args):
        raise sqlite3.OperationalError("unable to open database file")

    with monkeypatch.context() as patch:
        patch.setattr("gk.core.database._connect", gone)
        database._writer.transaction.driver.close()  # what a connection is worth after SQLITE_IOERR
        for _ in range(2):
            with pytest.raises(DatabaseError):
                await asyncio.wait_for(database.write(put("lost")), 10)
    with pytest.raises(DatabaseError):  # finds it closed, and opens it anew
        await asyncio.wait_for(database.write(put("lost")), 10)
    await asyncio.wait_for(database.write(put("kept")), 10)
    assert names(database) == ["kept"]


# --- settings ------------------------------------------------------------------------------------------------------------


def test_every_default_is_valid_and_every_key_has_a_description():
    from gk.core.config import keys

    Settings.model_validate(Settings().model_dump())
    assert [key for key, _, text in keys() if not text] == []


@pytest.mark.parametrize(("text", "said"), [
    ("[smtp]\nlissten = []", r"line 2.*'smtp.lissten'.*'smtp.listen'"),
    ("hostnam = 'x'", r"line 1.*'hostname'"),
    ("smtp.listen = ['nowhere']", r"line 1.*not host:port"),
    ("[imap]\nidle_seconds = -1", r"line 2.*greater than 0"),
    ("a = [", "not a TOML file"),
])
def test_a_wrong_setting_is_an_error_that_helps(tmp_path, text, said):
    file = tmp_path / "gk.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=said) as caught:
        load(file)
    assert str(file) in str(caught.value)


def test_a_missing_config_file_is_an_error(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path / "gk.toml")
