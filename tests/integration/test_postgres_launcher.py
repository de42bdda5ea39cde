"""The Postgres launcher, on the Postgres of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest

from controller.local.postgres import (
    PostgresNotFoundError,
    Server,
    ServerError,
    find_binaries,
    temporary_server,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_SECONDS = 30.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    # Durable, because without synchronous commits a crash may lose the last half second.
    server = Server(tmp_path / "db").start()
    yield server
    server.stop()


def postgres_in(data_dir: Path) -> list[psutil.Process]:
    folder = (data_dir / "pgdata").resolve()
    return [
        process
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"].startswith("postgres") and process.info["cwd"] == str(folder)
    ]


def wait_until_gone(data_dir: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left := postgres_in(data_dir):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.02)


def one(dsn: str, query: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def remember_seven(server: Server) -> None:
    with psycopg.connect(server.dsn()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")


def test_a_temporary_server_answers_and_leaves_nothing() -> None:
    with temporary_server(durable=False) as server:
        assert one(server.dsn(dbname="postgres"), "SELECT current_user::text") == "postgres"
        assert one(server.dsn(), "SHOW fsync") == "off"
        assert one(server.dsn(), "SHOW listen_addresses") == "127.0.0.1"
        folder = server.data_dir

    wait_until_gone(folder)
    assert not folder.exists()


def test_the_password_is_needed_and_kept_private(server: Server) -> None:
    assert (server.data_dir / "password").stat().st_mode & 0o777 == 0o600
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(server.dsn(password="wrong"))


def test_a_durable_server_keeps_its_rows_over_a_clean_stop(tmp_path: Path) -> None:
    first = Server(tmp_path / "db").start()
    remember_seven(first)
    assert one(first.dsn(), "SHOW fsync") == "on"
    first.stop()
    assert "database system is shut down" in (tmp_path / "db" / "postgres.log").read_text()

    second = Server(tmp_path / "db").start()
    try:
        assert one(second.dsn(), "SELECT n FROM kept") == 7
    finally:
        second.stop()


def test_killing_the_wrapper_takes_postgres_along_and_the_folder_starts_again(server: Server) -> None:
    remember_seven(server)
    os.kill(server.pid, signal.SIGKILL)
    wait_until_gone(server.data_dir)
    server.stop()

    server.start()
    assert one(server.dsn(), "SELECT n FROM kept") == 7


def test_killing_the_owner_takes_wrapper_and_postgres_along(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from controller.local.postgres import Server\n"
        "server = Server(pathlib.Path(sys.argv[1]), durable=False).start()\n"
        "print(server.pid, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "db")], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    wrapper = psutil.Process(int(owner.stdout.readline()))
    assert postgres_in(tmp_path / "db")

    owner.kill()
    owner.communicate()

    wait_until_gone(tmp_path / "db")
    psutil.wait_procs([wrapper], timeout=PATIENCE_SECONDS)
    assert not wrapper.is_running()


def test_a_crash_of_postgres_ends_the_wrapper_with_an_error(server: Server) -> None:
    postmaster = int((server.data_dir / "pgdata" / "postmaster.pid").read_text().splitlines()[0])
    assert server.poll() is None

    os.kill(postmaster, signal.SIGKILL)

    deadline = time.monotonic() + PATIENCE_SECONDS
    while server.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert server.poll() == 1


def test_a_killed_postmaster_and_its_stale_pid_file_are_no_obstacle(server: Server) -> None:
    remember_seven(server)
    pid_file = server.data_dir / "pgdata" / "postmaster.pid"
    os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGKILL)
    server.stop()
    wait_until_gone(server.data_dir)
    # The pid now belongs to a stranger that lives: Postgres alone would refuse to start.
    lines = pid_file.read_text().splitlines() if pid_file.exists() else ["0"] * 8
    pid_file.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")

    server.start()
    assert one(server.dsn(), "SELECT n FROM kept") == 7


def test_a_running_server_of_the_folder_is_replaced(server: Server) -> None:
    remember_seven(server)
    successor = Server(server.data_dir, durable=False).start()
    try:
        assert one(successor.dsn(), "SELECT n FROM kept") == 7
    finally:
        successor.stop()


def test_an_initdb_that_was_cut_off_is_repeated(tmp_path: Path) -> None:
    half = tmp_path / "db" / "pgdata.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("15\n")
    server = Server(tmp_path / "db", durable=False).start()
    server.stop()
    assert (tmp_path / "db" / "pgdata" / "PG_VERSION").exists()


def test_a_folder_with_a_long_path_works(tmp_path: Path) -> None:
    server = Server(tmp_path / ("long" * 30), durable=False).start()
    try:
        assert one(server.dsn(), "SELECT 1") == 1
    finally:
        server.stop()


def test_a_taken_port_is_reported_with_the_words_of_postgres(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="Address already in use"):
        Server(tmp_path / "other", port=server.port, durable=False).start()


def test_a_folder_without_programs_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(PostgresNotFoundError, match="apt install postgresql"):
        find_binaries(tmp_path)


def test_an_older_version_is_refused(tmp_path: Path) -> None:
    for program in ("postgres", "initdb"):
        (tmp_path / program).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.9'\n")
        (tmp_path / program).chmod(0o755)
    with pytest.raises(PostgresNotFoundError, match="version 14"):
        find_binaries(tmp_path)
