"""What is measured beside the load: the bare database, and each replica by itself."""

import asyncio
import contextlib
import select
import socket
import threading
import time

import psycopg2
import psycopg2.extensions

from calls import Broke

# One probe of the database takes this long at most.
LONGEST = 1.0


def is_open(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class DatabaseProbe(threading.Thread):
    """An INSERT through the balancer every 100 ms, by no code of ours: what the cluster's own failover takes."""

    def __init__(self, dsn):
        super().__init__(daemon=True)
        self.dsn, self.successes, self.connection, self.ended = dsn, [], None, False

    def run(self):
        while not self.ended:
            began = time.monotonic()
            try:
                self.insert(began + LONGEST)
                self.successes.append(time.monotonic())
            except (psycopg2.Error, TimeoutError):
                self.drop()
            time.sleep(max(0.0, began + 0.1 - time.monotonic()))
        self.drop()

    def insert(self, until):
        if self.connection is None:
            self.connection = psycopg2.connect(self.dsn, async_=1)
            self.wait(until)
        cursor = self.connection.cursor()
        cursor.execute("INSERT INTO probe VALUES (now())")
        self.wait(until)

    def wait(self, until):
        connection = self.connection
        while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            is_read = state == psycopg2.extensions.POLL_READ
            select.select([connection] if is_read else [], [] if is_read else [connection], [], left)

    def drop(self):
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(psycopg2.Error):
                connection.close()

    def point_at(self, dsn):
        self.dsn = dsn
        # The thread finds it closed, and opens another.
        if connection := self.connection:
            with contextlib.suppress(psycopg2.Error):
                connection.close()


class Sample:
    """One answer of a probe: None as status is no answer."""

    __slots__ = ("sent", "received", "status")

    def __init__(self, sent, received, status):
        self.sent, self.received, self.status = sent, received, status


class ReplicaProbe:
    """Asks one replica, without the balancer, whether it is ready, for a certificate, and for a token."""

    def __init__(self, replica, load):
        self.replica, self.load = replica, load
        self.ready, self.minted, self.certificates = [], [], []

    async def run(self):
        path = f"/certs/{self.load.service.chain}.pem"
        await asyncio.gather(
            self.every(0.25, self.ready, lambda: self.get(self.replica.operations, "/readyz")),
            self.every(0.25, self.certificates, lambda: self.get(self.replica.port, path)),
            self.every(0.5, self.minted, lambda: self.load.probe_mint(self.replica.port)),
        )

    async def every(self, seconds, samples, ask):
        """Asks at fixed times, whether earlier questions are answered or not."""
        tasks, due = set(), time.monotonic()
        while not self.load.ended:
            task = asyncio.create_task(self.sample(samples, ask))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            due = max(due + seconds, time.monotonic() - seconds)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def sample(self, samples, ask):
        sent = time.monotonic()
        try:
            status = await ask()
        except Broke:
            status = None
        samples.append(Sample(sent, time.monotonic(), status))

    async def get(self, port, path):
        return (await self.load.calls.call(port, "GET", path, timeout=2, keep=False)).status
