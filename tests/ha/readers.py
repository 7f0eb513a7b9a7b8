"""Readers of the withdrawal feed."""

import asyncio
import time

from calls import Broke


class FeedReader:
    """Follows the feed, as a CA does: from where it is, in order, and nothing twice."""

    def __init__(self, load, port):
        self.load, self.port = load, port
        self.after, self.entries, self.faults = 0, [], []
        # When each answer was asked for and received, and its status.
        self.attempts = []

    async def run(self):
        while not self.load.ended:
            if not await self.read():
                await asyncio.sleep(0.5)

    async def read(self):
        """Reads on, and returns whether there is more."""
        headers = {"Authorization": f"Bearer {self.load.service.keys['auditor']}"}
        path = f"/v1/withdrawals?after={self.after}&limit=100"
        sent, status = time.monotonic(), None
        try:
            answer = await self.load.calls.call(self.port, "GET", path, headers, timeout=15)
            status = answer.status
        except Broke:
            return False
        finally:
            self.attempts.append((sent, time.monotonic(), status, None))
        if answer.status != 200:
            if answer.status not in (429, 502, 503, 504):
                self.faults.append(f"a reader of the feed was answered {answer.status} {answer.code() or ''}")
            return False
        page = answer.json()
        for item in page["items"]:
            if self.entries and item["sequence"] <= self.entries[-1][0]:
                self.faults.append(f"entry {item['sequence']} came after {self.entries[-1][0]}")
            self.entries.append((item["sequence"], item["jti"]))
        self.after = page["next_after"]
        return page["more"]
