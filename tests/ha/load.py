"""The load: mints, port-outs, withdrawals and readers at a fixed rate, from a client as it should be: an idempotency
key for each change, retries of what was not answered. Every answer goes into a journal, with its times."""

import asyncio
import base64
import itertools
import json
import random
import threading
import time
import uuid

from calls import Broke, Calls
from probes import ReplicaProbe
from readers import FeedReader
from replicas import ACCOUNT, COUNT, FIRST

FINGERPRINT = "SHA256 " + ":".join(["5E"] * 32)
# Operations at the same time, such as the connections that a client has. What is due meanwhile is left out.
MOST = 64
# How long a client repeats one operation, and waits for one answer.
PATIENCE, ANSWER = 90, 15
# Of a hundred operations.
MIX = {"mint": 60, "repeat": 4, "again": 6, "port-out": 6, "withdraw": 6, "status": 10, "certificate": 8}
# No answer, or one that says: later.
LATER = {408, 429, 502, 503, 504}


class Operation:
    """One request, with all attempts at it."""

    def __init__(self, kind, number=None, jti=None, key=None, port=None):
        self.kind, self.number, self.jti, self.port = kind, number, jti, port
        self.key = key or str(uuid.uuid4())
        self.attempts = []
        # The last answer, if it was final: its status, its code, and what it named.
        self.status, self.code, self.named = None, None, None
        # What the client must not have been answered, until a check has reported it.
        self.fault = None

    def first_sent(self):
        return self.attempts[0][0]

    def acknowledged(self):
        return self.attempts[-1][1] if self.status in (200, 201) else None

    def line(self):
        return json.dumps({
            "kind": self.kind, "port": self.port, "number": self.number, "jti": self.jti, "key": self.key,
            "attempts": self.attempts, "status": self.status, "code": self.code, "named": self.named,
            "fault": self.fault,
        })


class Load(threading.Thread):
    def __init__(self, service, public, rate, seed, journal):
        super().__init__(daemon=True)
        self.service, self.public, self.rate, self.journal = service, public, rate, journal
        self.random, self.calls, self.ended = random.Random(seed), Calls(), False
        self.operations, self.running, self.left_out = [], 0, 0
        # By number: acknowledged grants; when a port-out was sent first, and when it was acknowledged.
        self.grants, self.port_sent, self.ported = {}, {}, {}
        # Grants by the instant since which they are known to be withdrawn; those asked to be.
        self.withdrawn, self.withdraw_sent = {}, set()
        self.recent, self.recent_ported, self.replays = [], [], []
        self.probes = [ReplicaProbe(replica, self) for replica in service.replicas]
        ports = [public, public] + [replica.port for replica in service.replicas]
        self.readers = [FeedReader(self, port) for port in ports]
        self.failure = None

    def run(self):
        try:
            asyncio.run(self.all())
        except Exception as error:  # Shown by the main thread, which cannot see it otherwise.
            self.failure = error

    async def all(self):
        await asyncio.gather(
            self.pace(), *(probe.run() for probe in self.probes), *(reader.run() for reader in self.readers),
        )

    async def pace(self):
        kinds, weights = list(MIX), list(MIX.values())
        tasks, due = set(), time.monotonic()
        while not self.ended:
            due = max(due + 1 / self.rate, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            operation = self.next(self.random.choices(kinds, weights)[0])
            if operation is None:
                continue
            if self.running >= MOST:
                self.left_out += 1
                continue
            self.running += 1
            task = asyncio.create_task(self.perform(operation))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    # --- what is asked for ---------------------------------------------------------------------------------------

    def next(self, kind):
        """Chooses an operation. There may be nothing yet for one of this kind."""
        if kind == "mint":
            return self.mint()
        if kind == "again" and self.recent_ported:
            return Operation("mint", number=self.random.choice(self.recent_ported))
        if kind == "repeat" and self.replays:
            done = self.replays.pop(self.random.randrange(len(self.replays)))
            return Operation("repeat", number=done.number, jti=done.named, key=done.key)
        if kind == "port-out" and self.recent:
            number = self.random.choice(self.recent)
            if number not in self.port_sent:
                return Operation(kind, number=number)
        if kind == "withdraw" and self.recent:
            number = self.random.choice(self.recent)
            jti = self.grants[number][-1]
            if number not in self.port_sent and jti not in self.withdraw_sent:
                self.withdraw_sent.add(jti)
                return Operation(kind, number=number, jti=jti)
        if kind == "status" and self.withdrawn:
            jti = self.random.choice(list(itertools.islice(reversed(self.withdrawn), 300)))
            ports = [self.public] + [one.port for one in self.service.replicas]
            return Operation(kind, jti=jti, port=self.random.choice(ports))
        if kind == "certificate":
            return Operation(kind)
        return None

    def mint(self):
        while (number := FIRST + self.random.randrange(COUNT)) in self.port_sent:
            pass
        return Operation("mint", number=number)

    def request(self, operation):
        """Method, path, role and body."""
        kind = operation.kind
        if kind in ("mint", "repeat"):
            body = {"tktype": "TNAuthList", "tkvalue": list_of(operation.number), "fingerprint": FINGERPRINT}
            return "POST", f"/at/account/{ACCOUNT}/token", "account", body
        if kind == "port-out":
            body = {"start": f"+{operation.number}", "count": 1, "reason": "ported-out"}
            return "POST", "/v1/exclusions", "provisioner", body
        if kind == "withdraw":
            return "POST", f"/v1/grants/{operation.jti}/withdraw", "provisioner", {"reason": "load"}
        if kind == "status":
            return "GET", f"/v1/grants/{operation.jti}/status", None, None
        return "GET", f"/certs/{self.service.chain}.pem", None, None

    # --- how it is asked for ---------------------------------------------------------------------------------------

    async def perform(self, operation):
        self.operations.append(operation)
        try:
            await self.repeat(operation)
        finally:
            self.running -= 1
            self.journal.write(operation.line() + "\n")

    async def repeat(self, operation):
        method, path, role, body = self.request(operation)
        headers = {"Idempotency-Key": operation.key} if body else {}
        if role:
            headers["Authorization"] = f"Bearer {self.service.keys[role]}"
        body = json.dumps(body).encode() if body else None
        began, pause = time.monotonic(), 0.1
        while True:
            sent = time.monotonic()
            if operation.kind == "port-out":
                self.port_sent.setdefault(operation.number, sent)
            answer = None
            try:
                port = operation.port or self.public
                answer = await self.calls.call(port, method, path, headers, body, timeout=ANSWER)
                status, code = answer.status, answer.code() if answer.status >= 400 else None
            except Broke as broke:
                status, code = None, str(broke)
            received = time.monotonic()
            operation.attempts.append((round(sent, 4), round(received, 4), status, code))
            # A certificate or a status that does not come is counted, not asked for again.
            is_later = status is None or status in LATER or code == "idempotency-key-in-flight"
            if not is_later or operation.kind in ("status", "certificate"):
                operation.status, operation.code = status, code
                if answer is not None and not is_later:
                    self.note(operation, answer, received)
                return
            if received - began > PATIENCE or self.ended:
                return
            told = answer.headers.get("retry-after", "") if answer else ""
            # As told, but at most a second: what is measured is when the service is back, not when clients return.
            pause = min(max(int(told), 0.1) if told.isdigit() else pause * 2, 1.0)
            await asyncio.sleep(pause * self.random.uniform(0.7, 1.0))

    def note(self, operation, answer, received):
        """Writes down what is known now, and whether the answer was one that may be."""
        kind, number, status = operation.kind, operation.number, answer.status
        named = answer.json()
        if kind in ("mint", "repeat"):
            self.note_token(operation, named, received)
        elif kind == "port-out" and status == 201:
            operation.named = named["id"]
            self.ported[number] = received
            self.recent_ported = [*self.recent_ported[-200:], number]
            for jti in self.grants.get(number, []):
                self.withdrawn.setdefault(jti, received)
        elif kind == "withdraw" and status == 200:
            self.withdrawn.setdefault(operation.jti, received)
        elif kind == "withdraw" and status == 409 and number in self.port_sent:
            pass
        elif kind == "status" and status == 200:
            if named.get("state") != "withdrawn" and operation.first_sent() > self.withdrawn[operation.jti]:
                operation.fault = f"{operation.jti} is withdrawn, and its status was `{named.get('state')}`"
        elif kind == "certificate" and status == 200:
            pass
        else:
            operation.fault = f"{kind} was answered {status} {operation.code or ''}"

    def note_token(self, operation, named, received):
        number, status, code = operation.number, operation.status, operation.code
        if status == 200:
            operation.named = named["jti"]
            if operation.kind == "repeat":
                if operation.jti != operation.named:
                    operation.fault = f"one idempotency key gave two grants: {operation.jti} and {operation.named}"
                return
            self.grants.setdefault(number, []).append(operation.named)
            if number in self.ported:
                if operation.first_sent() > self.ported[number]:
                    operation.fault = f"a token for +{number} after its port-out was acknowledged"
                self.withdrawn.setdefault(operation.named, received)
            self.recent = [*self.recent[-500:], number]
            if len(self.replays) < 200:
                self.replays.append(operation)
        elif status == 403 and code == "not-authorized" and number in self.port_sent:
            pass
        elif code == "grant-ended" and (number in self.port_sent or operation.jti in self.withdraw_sent):
            pass
        else:
            operation.fault = f"a request for +{number} was answered {status} {code or ''}"

    async def probe_mint(self, port):
        """A mint at one replica, without a key and without a second attempt."""
        operation = self.mint()
        operation.kind, operation.port = "probe", port
        method, path, role, body = self.request(Operation("mint", number=operation.number))
        headers = {"Authorization": f"Bearer {self.service.keys[role]}"}
        sent, status, code, answer = time.monotonic(), None, None, None
        try:
            answer = await self.calls.call(port, method, path, headers, json.dumps(body).encode(), ANSWER, keep=False)
            status, code = answer.status, answer.code() if answer.status >= 400 else None
        except Broke as broke:
            code = str(broke)
            raise
        finally:
            operation.attempts.append((round(sent, 4), round(time.monotonic(), 4), status, code))
            operation.status, operation.code = status, code
            if status == 200:
                operation.named = answer.json()["jti"]
                self.grants.setdefault(operation.number, []).append(operation.named)
            self.operations.append(operation)
            self.journal.write(operation.line() + "\n")
        return status


def list_of(number):
    """The TNAuthList of one number of 11 digits (RFC 8226 §9), as a `tkvalue`."""
    der = bytes([0x30, 15, 0xA2, 13, 0x16, 11]) + str(number).encode()
    return base64.urlsafe_b64encode(der).rstrip(b"=").decode()
