"""A Net F/T on loopback, byte by byte as ATI's manual has it; shares no code with the driver."""

from __future__ import annotations

import http.server
import queue
import socket
import struct
import threading
from collections.abc import Sequence
from typing import Self

ADDRESS = "127.0.0.1"
PATIENCE = 60.0  # [s] for what is certain to come
PAGE = """<?xml version="1.0" encoding="utf-8"?>
<netft><prodname>Net F/T</prodname><cfgcpf>1000000</cfgcpf><cfgcpt>999999</cfgcpt><scfgfu>{force}</scfgfu>
<scfgtu>{torque}</scfgtu><cfgmr>{ratings}</cfgmr><comrdte>{rdt}</comrdte><comrdtrate>1000</comrdtrate></netft>"""


def record(rdt: int, ft: int, status: int, counts: Sequence[int]) -> bytes:
    """The 36 bytes of a record: three unsigned and six signed integers, most significant byte first."""
    words = (rdt, ft, status, *(count % 2**32 for count in counts))
    return b"".join(word.to_bytes(4, "big") for word in words)


class NetFTServer:
    """Serves the page and the stream. On a start request it sends one record; all others when told.

    Attributes:
        page: of the configuration, as text.
        answers: whether a start request is answered by a record.
        requests: the datagrams that came, in order.
    """

    def __init__(self) -> None:
        self.page = self.make_page()
        self.answers = True
        self.requests: queue.Queue[bytes] = queue.Queue()
        self.counts: Sequence[int] = (0, 0, 0, 0, 0, 0)
        self._rdt = self._ft = 0
        self._client: tuple[str, int] | None = None

    @staticmethod
    def make_page(force: str = "N", torque: str = "N-m", ratings: str = "", rdt: str = "Enabled") -> str:
        return PAGE.format(force=force, torque=torque, ratings=ratings, rdt=rdt)

    @property
    def ports(self) -> dict[str, int]:
        return {"rdt_port": self._udp.getsockname()[1], "http_port": self._http.server_address[1]}

    def __enter__(self) -> Self:
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = self.path == "/netftapi2.xml"
                body = server.page.encode()
                self.send_response(200 if known else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((ADDRESS, 0))
        self._http = http.server.HTTPServer((ADDRESS, 0), Handler)
        self._threads = [
            threading.Thread(target=self._http.serve_forever, args=(0.05,)),
            threading.Thread(target=self._serve),
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._udp.getsockname())
        for thread in self._threads:
            thread.join()
        self._http.server_close()
        self._udp.close()

    def send(self, data: bytes) -> None:
        """Send a datagram to whoever asked last."""
        assert self._client is not None
        self._udp.sendto(data, self._client)

    def measure(self, counts: Sequence[int], status: int = 0) -> None:
        """Measure and send a record."""
        self.counts = counts
        self._rdt, self._ft = self._rdt + 1, self._ft + 7
        self.send(record(self._rdt, self._ft, status, counts))

    def requested(self, *expected: bytes) -> None:
        """Wait for these requests, in this order."""
        for data in expected:
            assert self.requests.get(timeout=PATIENCE) == data

    def _serve(self) -> None:
        while data := self._udp_request():
            header, command, _ = struct.unpack(">HHI", data)
            assert header == 0x1234
            if command == 2:
                self._rdt = 0
                if self.answers:
                    self.measure(self.counts)
            self.requests.put(data)

    def _udp_request(self) -> bytes:
        data, sender = self._udp.recvfrom(100)
        if data:
            self._client = sender
        return data
