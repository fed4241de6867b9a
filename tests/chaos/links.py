"""Ways between nodes that can be shut, slowed and broken: a TCP proxy before each node, in a process of its own.

`Links` is what a run holds; run as a program this file is the proxy, which obeys lines of JSON.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from callers import node_port_of  # noqa: E402

PIECE_BYTES = 64 << 10
PIECES_MAX = 64


class Links:
    """Proxies by the number of the node behind each; others reach it at `port(number)`."""

    def __init__(self, behind):
        command = [sys.executable, __file__, json.dumps(behind)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ports = {int(number): port for number, port in json.loads(self.process.stdout.readline()).items()}

    def tell(self, **what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def port(self, number):
        return self.ports[number]

    def shut(self, ways):
        """Nothing gets through; connections stand, and what was sent arrives once the ways are open."""
        self.tell(do="set", ways=ways, mode="shut")

    def lose(self, ways):
        """What is sent is lost; the connections break once the ways are open."""
        self.tell(do="set", ways=ways, mode="lost")

    def slow(self, ways, delay_ms):
        self.tell(do="set", ways=ways, mode="open", delay_ms=delay_ms)

    def reset(self, ways):
        """Connections break."""
        self.tell(do="reset", ways=ways)

    def open_all(self):
        self.tell(do="open")

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


class Way:
    """One direction between two nodes."""

    def __init__(self):
        self.mode, self.delay_s, self.opened = "open", 0.0, asyncio.Event()
        self.opened.set()

    def set(self, mode, delay_s):
        self.mode, self.delay_s = mode, delay_s
        if mode == "shut":
            self.opened.clear()
        else:
            self.opened.set()


class Proxy:
    def __init__(self, behind):
        self.ways, self.connections = {}, {}
        self.numbers = {port: int(number) for number, port in behind.items()}

    def way(self, sender, receiver):
        return self.ways.setdefault((sender, receiver), Way())

    async def call(self, to, port, reader, writer):
        """Takes a connection for a node."""
        streams = [writer]
        try:
            calling = await asyncio.to_thread(node_port_of, writer.get_extra_info("peername")[1])
            caller = self.numbers.get(calling, 0)
            onward_reader, onward = await asyncio.open_connection("127.0.0.1", port)
            streams.append(onward)
            connection = {"between": {caller, to}, "streams": streams, "lossy": False}
            self.connections[id(connection)] = connection
            pumps = [
                self.pump(self.way(caller, to), connection, reader, onward),
                self.pump(self.way(to, caller), connection, onward_reader, writer),
            ]
            await finish_with_first(pumps)
            del self.connections[id(connection)]
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for stream in streams:
                stream.close()

    async def pump(self, way, connection, reader, writer):
        """Passes on what is read, each piece so much later as the way is slow, in order."""
        pieces = asyncio.Queue(PIECES_MAX)
        now = asyncio.get_running_loop().time

        async def take():
            piece = await reader.read(PIECE_BYTES)
            while piece:
                await pieces.put((now() + way.delay_s, piece))
                piece = await reader.read(PIECE_BYTES)
            await pieces.put((now() + way.delay_s, b""))
            await asyncio.Event().wait()

        async def give():
            while True:
                due, piece = await pieces.get()
                await asyncio.sleep(max(0.0, due - now()))
                await way.opened.wait()
                if not piece:
                    return
                if way.mode == "lost":
                    connection["lossy"] = True
                elif not connection["lossy"]:
                    writer.write(piece)
                    await writer.drain()

        await finish_with_first([take(), give()])

    def reset(self, is_meant):
        for connection in list(self.connections.values()):
            if is_meant(connection):
                for stream in connection["streams"]:
                    stream.transport.abort()

    def obey(self, order):
        ways = [tuple(way) for way in order.get("ways", [])]
        if order["do"] == "set":
            for way in ways:
                self.way(*way).set(order["mode"], order.get("delay_ms", 0) / 1000)
        elif order["do"] == "reset":
            self.reset(lambda connection: any(connection["between"] == set(way) for way in ways))
        else:
            for way in self.ways.values():
                way.set("open", 0.0)
            self.reset(lambda connection: connection["lossy"])


async def finish_with_first(works):
    """Ends all of them with the first that ends."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    for task in done:
        if task.exception() and not isinstance(task.exception(), OSError):
            raise task.exception()


async def main(behind):
    proxy, ports = Proxy(behind), {}
    for number, port in behind.items():
        take = lambda reader, writer, to=int(number), port=port: proxy.call(to, port, reader, writer)
        server = await asyncio.start_server(take, "127.0.0.1", 0)
        ports[number] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        proxy.obey(json.loads(line))
        print(json.dumps({"connections": len(proxy.connections)}), flush=True)


if __name__ == "__main__":
    # A proxy that waits for a processor is a network that stands still, which is a fault of its own.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    asyncio.run(main(json.loads(sys.argv[1])))
