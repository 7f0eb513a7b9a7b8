"""The databases of the service and of the ceiling: a file of SQLite, or a PostgreSQL of the run's own."""

import contextlib
import hashlib
import hmac
import os
import random
import re
import secrets
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

from machine import Broken, free_ports

# Where the numbers are among all: the position of +12000000000 (11 digits), and how many there are.
FIRST_NUMBER, NUMBERS = 12_000_000_000, 1_000_000_000
FIRST_POSITION = 11 * 10**15 + FIRST_NUMBER
# The most ranges of a thousand numbers, and of a hundred.
MOST_LONG_RANGES, MOST_RANGES = 1_000_000, 10_000_000
# A ledger that is there before the run is of this time, evenly.
LEDGER_DAYS = 90
# What a token adds, and what it adds at the ceiling.
TABLES = {"service": ["grants", "grant_numbers", "audit_events", "account_keys"], "ceiling": ["tokens"]}
COUNTED = {"service": "grants", "ceiling": "tokens"}


def size_of_ranges(ranges):
    """How many numbers each has."""
    return 1_000 if ranges <= MOST_LONG_RANGES else 100


class Keys:
    """An API key for each account, and the secret that they are hashed with (see src/callers/pepper.rs)."""

    def __init__(self, accounts):
        self.pepper = secrets.token_bytes(32)
        self.name = hmac.digest(self.pepper, b"derived key: name", "sha256")[:8].hex()
        self.all = [secrets.token_urlsafe(32) for _ in range(accounts)]

    def rows(self):
        """The id of each, the hash of its secret in hex, and its account."""
        for n, secret in enumerate(self.all):
            yield f"{n:016x}", hmac.new(self.pepper, secret.encode(), hashlib.sha256).hexdigest(), f"a{n}"

    def key(self, n):
        return f"tna_{n:016x}_{self.all[n]}"


def inventory(series, uuid, accounts, ranges):
    """Statements for accounts, one allocation and its delegations, in turn to each account."""
    last, size = FIRST_POSITION + NUMBERS - 1, size_of_ranges(ranges)
    return [
        f"INSERT INTO accounts (id, name, path, created_at) SELECT 'a' || n, '', '/a' || n, 0 FROM {series(accounts)}",
        "INSERT INTO allocations (id, version, spc, first_position, last_position, span, basis, valid_from, "
        "recorded_at) "
        f"VALUES ('00000000-0000-7000-8000-000000000000', 1, '1234', {FIRST_POSITION}, {last}, "
        f"{NUMBERS}, 'block', 0, 0)",
        "INSERT INTO delegations (id, version, account_id, first_position, last_position, span, ca, lend_on, "
        f"lender_keeps, valid_from, recorded_at) SELECT {uuid}, 1, 'a' || (n % {accounts}), "
        f"{FIRST_POSITION} + n * {size}, {FIRST_POSITION} + n * {size} + {size - 1}, {size}, "
        f"false, false, false, 0, 0 FROM {series(ranges)}",
    ]


# The key that all tokens are for, if the same; see requests.lua.
FINGERPRINT = "SHA256 " + ":".join(["00"] * 8 + ["5E"] * 24)


def proofs(series, uuid, empty, accounts, ranges):
    """A statement for a proof of control for each delegated number, confirmed now for the key that all tokens are for."""
    size, now = size_of_ranges(ranges), int(time.time())
    return (
        "INSERT INTO control_proofs (id, account_id, position, delegation_id, method, gateway, code_hash, tries, "
        "started_at, started_by, request_id, expires_at, confirmed_at, confirmed_by, fingerprint) "
        f"SELECT {uuid('a000', 'n')}, 'a' || (n / {size} % {accounts}), {FIRST_POSITION} + n, "
        f"{uuid('9000', f'n / {size}')}, 'sms', 'sms', {empty}, 0, {now}, '', {uuid('a000', 'n')}, {now}, {now}, '', "
        f"'{FINGERPRINT}' FROM {series(ranges * size)}"
    )


# What differs from grant to grant in a ledger that is there before the run; all else is that of one real grant.
VARIED = ["jti", "request_id", "fingerprint", "issued_at", "expires_at", "account_id", "first_position", "last_position"]


def ledger(count, accounts, ranges, now):
    """Values for `VARIED` of so many grants that have expired, as of one day after the other."""
    size, bits = size_of_ranges(ranges), random.Random(count)
    for n in range(count):
        at = now - (LEDGER_DAYS * 86_400 * (count - n)) // count - 86_400
        # A UUID of version 7, in the order of the grants, and 96 bits.
        event = f"{at * 1000 + n % 1000:012x}7{n % 4096:03x}{0x8000 + n // 4096 % 0x4000:04x}"
        jti = bytes.fromhex(event) + bits.randbytes(18)
        range_of = n % ranges
        position = FIRST_POSITION + range_of * size + n // ranges % size
        yield (jti, bits.randbytes(16), bits.randbytes(32), at, at + 3600, f"a{range_of % accounts}", position,
               position)


class Sqlite:
    name, title = "sqlite", "SQLite"

    def __init__(self, machine, _bin):
        self.folder = machine.folder / "sqlite"

    def start(self):
        self.folder.mkdir(mode=0o700)

    def stop(self):
        shutil.rmtree(self.folder)

    def describe(self):
        return "SQLite, synchronous = FULL"

    def path(self, party):
        return self.folder / f"{party}.sqlite"

    def url(self, party):
        return f"sqlite:{self.path(party)}"

    def fill(self, keys, accounts, ranges, control):
        def series(count):
            numbers = f"SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n + 1 < {count}"
            return f"(WITH RECURSIVE s (n) AS ({numbers}) SELECT n FROM s)"

        def uuid(kind, n):
            return f"printf('00000000-0000-7000-{kind}-%012x', {n})"

        with contextlib.closing(sqlite3.connect(self.path("service"))) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA cache_size = -500000")
            for statement in inventory(series, uuid("9000", "n"), accounts, ranges):
                connection.execute(statement)
            if control:
                connection.execute(proofs(series, uuid, "x''", accounts, ranges))
            connection.executemany(
                "INSERT INTO api_keys (id, secret_hash, role, account_id, label, created_at, hashed_by) "
                f"VALUES (?, ?, 'account', ?, '', 0, '{keys.name}')",
                ((name, bytes.fromhex(hashed), account) for name, hashed, account in keys.rows()),
            )
            connection.commit()
            connection.execute("ANALYZE")

    def add_grants(self, count, accounts, ranges):
        """Copies of the newest grant, while the service is stopped. Indexes are made again, which is faster."""
        with contextlib.closing(sqlite3.connect(self.path("service"))) as connection, connection:
            for pragma in ("synchronous = OFF", "cache_size = -1000000", "temp_store = FILE"):
                connection.execute(f"PRAGMA {pragma}")
            indexes = connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE tbl_name = 'grants' AND type = 'index' AND sql IS NOT NULL",
            ).fetchall()
            for name, _ in indexes:
                connection.execute(f"DROP INDEX {name}")
            connection.execute("CREATE TEMP TABLE newest AS SELECT * FROM grants ORDER BY jti DESC LIMIT 1")
            columns = [row[1] for row in connection.execute("PRAGMA table_info(grants)")]
            values = ["?" if name in VARIED else f"newest.{name}" for name in columns]
            order = [VARIED.index(name) for name in columns if name in VARIED]
            rows = ledger(count, accounts, ranges, int(time.time()))
            connection.executemany(
                f"INSERT INTO grants ({', '.join(columns)}) SELECT {', '.join(values)} FROM newest",
                ([row[n] for n in order] for row in rows),
            )
            for _, statement in indexes:
                connection.execute(statement)
            connection.commit()
            connection.execute("ANALYZE")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def number(self, party, statement):
        # Read only, so that it makes no checkpoint either.
        opened = sqlite3.connect(f"file:{self.path(party)}?mode=ro", uri=True, timeout=30)
        with contextlib.closing(opened) as connection:
            return connection.execute(statement).fetchone()[0]

    def count(self, party):
        return self.number(party, f"SELECT count(*) FROM {COUNTED[party]}")

    def bytes(self, party):
        """The size that the file has after a checkpoint, without free pages."""
        used = "(SELECT page_count FROM pragma_page_count) - (SELECT freelist_count FROM pragma_freelist_count)"
        return self.number(party, f"SELECT ({used}) * page_size FROM pragma_page_size")

    def settle(self):
        pass

    def restart(self, _limit):
        pass

    def statistics(self, _party):
        return None

    def processes(self):
        return []


class Postgres:
    name, title = "postgres", "PostgreSQL"

    def __init__(self, machine, bin):
        self.machine, self.bin = machine, bin
        self.folder = machine.folder / "postgres"
        self.password, self.port, self.process = secrets.token_hex(16), None, None

    def start(self):
        machine, folder = self.machine, self.machine.own_folder(self.folder)
        password = folder / "password"
        password.touch(0o600)
        password.write_text(self.password)
        if machine.user:
            shutil.chown(password, machine.user.pw_uid)
        data = folder / "data"
        made = machine.start("initdb", [
            self.bin / "initdb", "--pgdata", data, "--username", "postgres", "--pwfile", password, "--auth",
            "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync",
        ], as_user=True)
        if made.wait(120) != 0:
            raise Broken(f"initdb failed\n{machine.log_of('initdb')}")
        settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": 100, "fsync": "on",
            "synchronous_commit": "on", "full_page_writes": "on",
        }
        with open(data / "postgresql.conf", "a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        # Another process can take a port that was free a moment ago.
        for _ in range(5):
            [self.port] = free_ports(1)
            self.process = machine.start("postgres", [self.bin / "postgres", "-D", data, "-p", self.port], as_user=True)
            if self.is_up():
                break
        else:
            raise Broken(f"PostgreSQL does not start\n{machine.log_of('postgres')}")
        for party in ("service", "ceiling"):
            self.sql(f"CREATE DATABASE {party}", "postgres")

    def restart(self, limit):
        """With the limit, which all of its processes inherit."""
        self.process.terminate()
        self.process.wait(60)
        data = self.folder / "data"
        self.process = self.machine.start("postgres", [self.bin / "postgres", "-D", data, "-p", self.port], as_user=True)
        limit.add(self.process)
        if not self.is_up():
            raise Broken(f"PostgreSQL does not start again\n{self.machine.log_of('postgres')}")

    def is_up(self):
        command = [self.bin / "pg_isready", "--host", "127.0.0.1", "--port", str(self.port), "--timeout", "1"]
        for _ in range(300):
            if self.process.poll() is not None:
                return False
            if subprocess.run(command, stdout=subprocess.DEVNULL).returncode == 0:
                return True
            time.sleep(0.1)
        return False

    def stop(self):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def describe(self):
        version = self.sql("SHOW server_version", "postgres").split()[0]
        settings = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
        values = [f"{name} = {self.sql(f'SHOW {name}', 'postgres')}" for name in settings]
        return ", ".join([f"PostgreSQL {version}", *values])

    def url(self, party):
        return f"postgres://postgres:{self.password}@127.0.0.1:{self.port}/{party}"

    def fill(self, keys, accounts, ranges, control):
        def series(count):
            return f"generate_series(0, {count - 1}) AS s (n)"

        def uuid(kind, n):
            return f"'00000000-0000-7000-{kind}-' || lpad(to_hex({n}), 12, '0')"

        statements = inventory(series, uuid("9000", "n"), accounts, ranges)
        if control:
            statements.append(proofs(series, uuid, "''", accounts, ranges))
        copied = "\n".join(
            f"{name}\t\\\\x{hashed}\taccount\t{account}\t\t0\t{keys.name}" for name, hashed, account in keys.rows()
        )
        columns = "id, secret_hash, role, account_id, label, created_at, hashed_by"
        inserts = ";\n".join(statements)
        self.sql(f"{inserts};\nCOPY api_keys ({columns}) FROM stdin;\n{copied}\n\\.\n", "service")
        self.sql("VACUUM ANALYZE", "service")

    def add_grants(self, count, accounts, ranges):
        """As on SQLite. The rows come through a file of COPY."""
        file = self.folder / "ledger"
        with open(file, "w") as rows:
            for row in ledger(count, accounts, ranges, int(time.time())):
                rows.write("\t".join(f"\\\\x{one.hex()}" if isinstance(one, bytes) else str(one) for one in row) + "\n")
        if self.machine.user:
            shutil.chown(file, self.machine.user.pw_uid)
        types = {"account_id": "text", "jti": "bytea", "request_id": "bytea", "fingerprint": "bytea"}
        made = ", ".join(f"{name} {types.get(name, 'bigint')}" for name in VARIED)
        columns = self.sql(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'grants'::regclass AND attnum > 0 AND NOT attisdropped "
            "ORDER BY attnum", "service",
        ).split("\n")
        values = ", ".join(f"copied.{name}" if name in VARIED else f"newest.{name}" for name in columns)
        indexes = self.sql(
            "SELECT indexrelid::regclass || ' ' || pg_get_indexdef(indexrelid) FROM pg_index "
            "WHERE indrelid = 'grants'::regclass AND NOT indisprimary", "service",
        ).split("\n")
        drops = "".join(f"DROP INDEX {line.split(' ', 1)[0]};\n" for line in indexes)
        again = "".join(f"{line.split(' ', 1)[1]};\n" for line in indexes)
        self.sql(
            f"CREATE UNLOGGED TABLE copied ({made});\nCOPY copied FROM '{file}';\n{drops}"
            f"INSERT INTO grants ({', '.join(columns)}) SELECT {values} FROM copied, "
            f"(SELECT * FROM grants ORDER BY jti DESC LIMIT 1) newest;\nDROP TABLE copied;\n"
            f"SET maintenance_work_mem = '512MB';\n{again}", "service",
        )
        file.unlink()
        self.sql("VACUUM ANALYZE grants", "service")
        self.sql("CHECKPOINT", "postgres")

    def sql(self, statements, database):
        done = subprocess.run(
            [self.bin / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "--host", "127.0.0.1", "--port",
             str(self.port), "--username", "postgres", "--dbname", database],
            input=statements, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=3600,
            env={**os.environ, "PGPASSWORD": self.password},
        )
        if done.returncode != 0:
            raise Broken(f"psql: {done.stderr.strip()[:2000]}")
        return done.stdout.strip()

    def count(self, party):
        return int(self.sql(f"SELECT count(*) FROM {COUNTED[party]}", party))

    def bytes(self, party):
        sizes = " + ".join(f"pg_total_relation_size('{table}')" for table in TABLES[party])
        return int(self.sql(f"SELECT {sizes}", party))

    def settle(self):
        """So that each run begins with the same amount of work left."""
        self.sql("CHECKPOINT", "postgres")

    def statistics(self, party):
        """Commits and rows, as the server counts them. It learns of them up to a second later."""
        commits, rows = self.sql(
            f"SELECT xact_commit, tup_inserted FROM pg_stat_database WHERE datname = '{party}'", "postgres",
        ).split("|")
        return {"commits": int(commits), "rows": int(rows)}

    def processes(self):
        return [self.process.pid]


DATABASES = {database.name: database for database in (Sqlite, Postgres)}


def find_postgres():
    """The folder with initdb, postgres and psql: of the system, as tests/run finds it, or None."""
    candidates = []
    if found := shutil.which("initdb"):
        candidates.append(Path(found).resolve().parent)
    installed = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    candidates += sorted(installed, key=lambda path: [int(n) for n in re.findall(r"\d+", str(path))], reverse=True)
    needed = ("initdb", "postgres", "psql", "pg_isready")
    return next((path for path in candidates if all(os.access(path / name, os.X_OK) for name in needed)), None)
