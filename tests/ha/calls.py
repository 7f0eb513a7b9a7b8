"""HTTP calls of the load, by asyncio: with a timeout for all of it, on connections that are kept, or a new one each."""

import asyncio
import json


class Broke(Exception):
    """No answer: the connection could not be made, or broke, or took too long."""


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def code(self):
        return self.json().get("code")


class Calls:
    def __init__(self):
        self.idle = {}

    async def call(self, port, method, path, headers=None, body=None, timeout=15, keep=True):
        """One request. A connection that was kept and breaks before it answers may have been closed by the other side
        in the same moment; a client cannot know, so this counts as broken, too."""
        try:
            return await asyncio.wait_for(self.exchange(port, method, path, headers or {}, body, keep), timeout)
        except TimeoutError:
            raise Broke("timeout") from None
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, IndexError) as error:
            raise Broke(type(error).__name__) from None

    async def exchange(self, port, method, path, headers, body, keep):
        idle = self.idle.setdefault(port, [])
        while keep and idle:
            reader, writer = idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                break
            writer.close()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        done = False
        try:
            lines = [f"{method} {path} HTTP/1.1", "Host: authority.example"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            if body is not None:
                lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
            if not keep:
                lines.append("Connection: close")
            writer.write("\r\n".join(lines + ["", ""]).encode() + (body or b""))
            answer = await self.read(reader)
            done = keep and answer.headers.get("connection", "").lower() != "close"
            return answer
        finally:
            if done:
                idle.append((reader, writer))
            else:
                writer.close()

    async def read(self, reader):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split()[1])
        headers = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
        else:
            body = await reader.read()
        return Answer(status, headers, body)
