"""Just enough of Postgres's protocol 3.0 to see transactions pass: where messages end, and which of them matter.

https://www.postgresql.org/docs/15/protocol-message-formats.html. A connection without TLS is assumed.
"""
import re
import struct

SSL_REQUEST, GSSENC_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
COMMIT = re.compile(rb"\s*commit\b", re.I)
READY, NOTIFICATION = b"Z", b"A"


class Frames:
    """Cuts a stream of bytes into whole messages. The first message of a client has no type byte."""

    def __init__(self, has_startup):
        self._rest = b""
        self._startup = has_startup

    def feed(self, data):
        """[(type, whole message)]; the type of a startup message is b''."""
        data = self._rest + data
        found, at = [], 0
        while True:
            head = 0 if self._startup else 1
            if len(data) - at < head + 4:
                break
            end = at + head + struct.unpack_from("!I", data, at + head)[0]
            if len(data) < end:
                break
            message = data[at:end]
            if self._startup:
                # A question whether there is TLS is answered by one byte, and a startup message follows.
                code = struct.unpack_from("!I", message, 4)[0]
                if code in (SSL_REQUEST, GSSENC_REQUEST):
                    raise ValueError("the connection asks for encryption: set sslmode=disable gssencmode=disable")
                self._startup = False
                found.append((b"", message))
            else:
                found.append((message[:1], message))
            at = end
        self._rest = data[at:]
        return found


class Statements:
    """Which prepared statements a client has run in its transaction so far."""

    def __init__(self):
        self.names = []

    def see(self, kind, message):
        """True where this message is the COMMIT of a transaction."""
        if kind == b"B":
            self.names.append(message[5:].split(b"\0", 2)[1].decode("utf-8", "replace"))
        if kind != b"Q":
            return False
        text = message[5:]
        if re.match(rb"\s*(begin|start)\b", text, re.I):
            self.names = [name.decode() for name in re.findall(rb"; execute (\w+)", text)]
        return bool(COMMIT.match(text))
