#!/usr/bin/env python3
"""A bad network: TCP proxies, one listener for each edge between two parts, steered over a Unix socket.

`proxy.py SOCKET`. A steering connection sends one JSON object a line, `{"do": ..., "edge": PATTERN, ...}`, and gets one
back. PATTERN is a name as fnmatch reads it. What can be done:

add       name, listen, upstreams (ports, tried in turn), postgres: a new edge
set       refuse (new connections), hold_up, hold_down (bytes are taken and go nowhere: a half-open connection; on
          release they are delivered, as after lost packets), delay_up, delay_down (seconds), drop_notifications
cut       reset every connection now
commits   action (`before`: reset instead of forwarding COMMIT; `doubt`: forward it and reset instead of forwarding the
          answer; `hold`: forward it `seconds` later), count, statement: for the next `count` transactions of a Postgres
          edge in which a statement of that name (a regular expression) has run
upstreams ports: where new connections go from now on
flap      seconds: resets and refuses for so long, works for so long, until healed
heal      everything passes again
counts    what was done so far
"""
import asyncio
import collections
import fnmatch
import json
import os
import re
import socket
import struct
import sys

import pg_wire

CHUNK_BYTES = 64 * 1024
# So much is taken in of an edge that holds; then the sender feels it, as it would a full window.
HELD_CHUNKS = 256
CONNECT_SECONDS = 2
COUNTS = collections.Counter()


class CommitRule:
    """What happens to the next commits that fit."""

    def __init__(self, action, count, statement, seconds):
        self.action, self.left, self.seconds = action, count, seconds
        self.statement = re.compile(statement)

    def takes(self, names):
        if self.left <= 0 or not any(self.statement.search(name) for name in names):
            return False
        self.left -= 1
        return True


class Edge:
    """One listener and what it does to the connections that come through it."""

    def __init__(self, name, listen, upstreams, postgres):
        self.name, self.listen, self.upstreams, self.postgres = name, listen, upstreams, postgres
        self.connections = set()
        self.flap_task = None
        self.commits = None
        self._next_upstream = 0
        self._passes = {"up": asyncio.Event(), "down": asyncio.Event()}
        # Also when the edge is healed.
        self.always_drops_notifications = False
        self.reset_settings()

    def reset_settings(self):
        self.refuse = self.drop_notifications = False
        self.delay = {"up": 0.0, "down": 0.0}
        self.commits = None
        for event in self._passes.values():
            event.set()

    def apply(self, settings):
        for way in ("up", "down"):
            if f"delay_{way}" in settings:
                self.delay[way] = settings[f"delay_{way}"]
            if f"hold_{way}" in settings:
                (self._passes[way].clear if settings[f"hold_{way}"] else self._passes[way].set)()
        self.refuse = settings.get("refuse", self.refuse)
        self.drop_notifications = settings.get("drop_notifications", self.drop_notifications)
        self.always_drops_notifications = settings.get("always_drop_notifications", self.always_drops_notifications)

    async def passes(self, way):
        await self._passes[way].wait()

    def cut(self):
        for connection in list(self.connections):
            connection.reset()

    def heal(self):
        if self.flap_task:
            self.flap_task.cancel()
            self.flap_task = None
        self.reset_settings()

    async def flap(self, seconds):
        while True:
            self.refuse = True
            self.cut()
            await asyncio.sleep(seconds)
            self.refuse = False
            await asyncio.sleep(seconds)

    async def connect(self):
        """A connection to the first upstream that takes one, beginning with another each time."""
        start, self._next_upstream = self._next_upstream, self._next_upstream + 1
        for step in range(len(self.upstreams)):
            port = self.upstreams[(start + step) % len(self.upstreams)]
            try:
                return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), CONNECT_SECONDS)
            except (OSError, asyncio.TimeoutError):
                continue
        raise ConnectionRefusedError(f"{self.name}: nobody listens on {self.upstreams}")

    async def accept(self, reader, writer):
        connection = Connection(self, writer)
        self.connections.add(connection)
        COUNTS["connections"] += 1
        try:
            if self.refuse:
                COUNTS["connections refused"] += 1
                return
            # What is half-open takes connections, too, and says nothing.
            await self.passes("up")
            connection.reader, (connection.up_reader, connection.up_writer) = reader, await self.connect()
            await connection.run()
        except OSError:
            pass
        finally:
            connection.reset()
            self.connections.discard(connection)


class Connection:
    """Two pumps; each takes chunks as they come and hands them on when they are due."""

    def __init__(self, edge, writer):
        self.edge, self.writer = edge, writer
        self.reader = self.up_reader = self.up_writer = None
        self.was_reset = False
        self.in_doubt = False
        self.statements = pg_wire.Statements()

    def reset(self):
        """RST both ways: what the other side has not read is lost, as when a host goes away."""
        if self.was_reset:
            return
        self.was_reset = True
        for writer in (self.writer, self.up_writer):
            if writer is None:
                continue
            try:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except (OSError, AttributeError):
                pass
            writer.transport.abort()

    async def run(self):
        for writer in (self.writer, self.up_writer):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        filters = {"up": self.pass_on, "down": self.pass_on}
        if self.edge.postgres:
            filters = {"up": self.commits_of(pg_wire.Frames(True)), "down": self.answers_of(pg_wire.Frames(False))}
        pumps = [asyncio.ensure_future(pump) for pump in (
            *self.pump("up", self.reader, self.up_writer, filters["up"]),
            *self.pump("down", self.up_reader, self.writer, filters["down"]))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    def pump(self, way, reader, writer, look):
        queue = asyncio.Queue(HELD_CHUNKS)
        loop = asyncio.get_running_loop()

        async def take():
            while data := await reader.read(CHUNK_BYTES):
                if data := await look(data):
                    await queue.put((loop.time() + self.edge.delay[way], data))
            await queue.put((loop.time() + self.edge.delay[way], None))

        async def give():
            while True:
                due, data = await queue.get()
                if (wait := due - loop.time()) > 0:
                    await asyncio.sleep(wait)
                await self.edge.passes(way)
                if data is None:
                    writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()

        return take(), give()

    async def pass_on(self, data):
        return data

    def commits_of(self, frames):
        async def look(data):
            passed = []
            for kind, message in frames.feed(data):
                if self.statements.see(kind, message):
                    COUNTS["commits"] += 1
                    await self.at_commit()
                passed.append(message)
            return b"".join(passed)
        return look

    async def at_commit(self):
        rule = self.edge.commits
        if rule is None or not rule.takes(self.statements.names):
            return
        if rule.action == "before":
            COUNTS["commits cut before"] += 1
            self.reset()
            raise ConnectionResetError
        if rule.action == "doubt":
            COUNTS["commits in doubt"] += 1
            self.in_doubt = True
        if rule.action == "hold":
            COUNTS["commits held"] += 1
            await asyncio.sleep(rule.seconds)

    def answers_of(self, frames):
        async def look(data):
            passed = []
            for kind, message in frames.feed(data):
                if self.in_doubt:
                    # The answer is here, so the server has decided; the client will not hear of it.
                    self.reset()
                    raise ConnectionResetError
                drops = self.edge.drop_notifications or self.edge.always_drops_notifications
                if kind == pg_wire.NOTIFICATION and drops:
                    COUNTS["notifications dropped"] += 1
                    continue
                passed.append(message)
            return b"".join(passed)
        return look


class Steering:
    """Carries out what the steering connections ask for."""

    def __init__(self):
        self.edges = {}

    async def add(self, request):
        edge = Edge(request["name"], request["listen"], request["upstreams"], request.get("postgres", False))
        await asyncio.start_server(edge.accept, "127.0.0.1", edge.listen, limit=CHUNK_BYTES)
        self.edges[edge.name] = edge

    async def carry_out(self, request):
        do = request["do"]
        if do == "add":
            await self.add(request)
        elif do != "counts":
            edges = [edge for name, edge in self.edges.items() if fnmatch.fnmatch(name, request["edge"])]
            if not edges:
                return {"error": f"no edge is called {request['edge']}"}
            for edge in edges:
                self.change(edge, do, request)
        return {"counts": dict(COUNTS), "connections": {name: len(e.connections) for name, e in self.edges.items()}}

    @staticmethod
    def change(edge, do, request):
        if do == "set":
            edge.apply(request)
        elif do == "cut":
            edge.cut()
        elif do == "commits":
            edge.commits = CommitRule(request["action"], request["count"], request.get("statement", ""),
                                      request.get("seconds", 0))
        elif do == "upstreams":
            edge.upstreams = request["ports"]
        elif do == "flap":
            edge.flap_task = edge.flap_task or asyncio.ensure_future(edge.flap(request["seconds"]))
        elif do == "heal":
            edge.heal()
        else:
            raise ValueError(f"cannot {do}")

    async def serve(self, reader, writer):
        while line := await reader.readline():
            try:
                answer = await self.carry_out(json.loads(line))
            except (ValueError, KeyError, OSError) as error:
                answer = {"error": repr(error)}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()


async def main(path):
    if os.path.exists(path):
        os.unlink(path)
    server = await asyncio.start_unix_server(Steering().serve, path)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
