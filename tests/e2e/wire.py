"""MQTT packets by hand, for what no client library would send."""

import socket
import struct


class Wire:
    """Packets by hand, MQTT 3.1.1 or 5."""

    def __init__(self, node, client_id, version=4, clean=True, keep_alive=0, will=None):
        self.open(node)
        flags = (2 if clean else 0) | (4 if will else 0)
        body = self.text("MQTT") + bytes([version, flags]) + struct.pack(">H", keep_alive)
        body += (b"\0" if version == 5 else b"") + self.text(client_id)
        if will:
            body += (b"\0" if version == 5 else b"") + self.text(will[0]) + struct.pack(">H", len(will[1])) + will[1]
        self.version = version
        self.send(0x10, body)
        self.connack = self.receive()

    @classmethod
    def raw(cls, node):
        """A connection that has not said CONNECT."""
        made = cls.__new__(cls)
        made.open(node)
        return made

    def open(self, node):
        self.socket = socket.create_connection(("127.0.0.1", node.mqtt_port), timeout=20)

    @staticmethod
    def text(value):
        data = value.encode()
        return struct.pack(">H", len(data)) + data

    def send(self, head, body):
        length, rest = b"", len(body)
        while True:
            rest, low = divmod(rest, 128)
            length += bytes([low | (128 if rest else 0)])
            if not rest:
                break
        self.socket.sendall(bytes([head]) + length + body)

    def receive(self):
        """The next packet as (first byte, body); None at the end of the connection."""
        head = self.exactly(1)
        if not head:
            return None
        length = shift = 0
        while True:
            byte = self.exactly(1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return head[0], self.exactly(length)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except ConnectionResetError:
                return b""
            if not more:
                return b""
            data += more
        return data

    def publish(self, topic, payload, qos=1, packet_id=1, retain=0, dup=0):
        body = self.text(topic) + (struct.pack(">H", packet_id) if qos else b"")
        body += (b"\0" if self.version == 5 else b"") + payload
        self.send(0x30 | dup << 3 | qos << 1 | retain, body)
