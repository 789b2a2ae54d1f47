"""ATI Net F/T and Ethernet Axia, read by RDT over UDP.

A device serves one client: a second one that asks takes the stream, and the first hears nothing more.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import time
import urllib.error
import urllib.request
from typing import Any

from hardware.force import rdt
from hardware.force.sequence import SequenceTracker
from hardware.force.stream import StreamedSensor
from hardware.interfaces import ForceError, ForceEventKind

HTTP_PORT = 80
ADDRESS = "192.168.1.1"  # as it leaves the factory
HTTP_TIMEOUT = 3.0  # [s]
LARGEST_PAGE = 1 << 20  # bytes
WORDS = {
    ForceEventKind.LOST: "{count} records lost before number {number}",
    ForceEventKind.REPEATED: "record {number} came twice",
    ForceEventKind.REORDERED: "record {number} came after later ones",
    ForceEventKind.RESTARTED: "records are counted anew, from {number}",
}


class NetFT(StreamedSensor):
    """The sensor at an address.

    Args:
        name: the sensor's name in messages.
        address: of the device.
        frame: name of the frame of its readings: origin and axes are those of the drawing, or of the tool
            transformation that is set on the device. "" is ``<name>_frame``.
        timeout: `read` gives up after this time without a new reading [s].
        counts_per_force, counts_per_torque: counts of 1 N and of 1 N·m, for a device whose page cannot be read; both
            or none. By default its page says them.
        rdt_port, http_port: of the device.
    """

    def __init__(
        self,
        name: str,
        address: str = ADDRESS,
        frame: str = "",
        timeout: float = 0.1,
        counts_per_force: float | None = None,
        counts_per_torque: float | None = None,
        rdt_port: int = rdt.PORT,
        http_port: int = HTTP_PORT,
    ) -> None:
        super().__init__(name, frame, f"ATI Net F/T at {address}", timeout)
        if (counts_per_force is None) != (counts_per_torque is None):
            raise ForceError(f"force sensor {name!r}: give both counts_per_force and counts_per_torque, or none")
        self._given: rdt.Scale | None = None
        if counts_per_force is not None and counts_per_torque is not None:
            self._given = rdt.scale_of(counts_per_force, counts_per_torque)
        self._address = (address, rdt_port)
        self._page = f"http://{address}:{http_port}/{rdt.PAGE}"
        self._opened = contextlib.ExitStack()
        self._socket: socket.socket  # of a connection, as the two that end a wait
        self._wake_end: socket.socket
        self._wait_end: socket.socket
        self._sequence = SequenceTracker()
        self._measured = -1  # count of the last measurement
        self._frozen = False

    def set_bias(self) -> None:
        """Make the present load the device's new zero, for all its clients, until it is switched off.

        A tool that was identified before has to be identified again. Raises `ForceError`.
        """
        if self._reader is None:
            raise ForceError(f"{self._label} is not connected; call connect() first")
        self._request(rdt.SET_BIAS)

    def _open(self) -> None:
        self._scale = self._given or self._fetch()
        self._sequence.restart()
        self._measured, self._frozen = -1, False
        self._wake_end, self._wait_end = map(self._opened.enter_context, socket.socketpair())
        self._socket = self._opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        try:
            self._socket.connect(self._address)
        except OSError as error:
            raise ForceError(f"{self._label} cannot be reached: {error}; check address and network") from error
        self._socket.setblocking(False)
        self._request(rdt.START)

    def _close(self) -> None:
        self._opened.close()

    def _wake(self) -> None:
        self._wake_end.send(b"\0")

    def _fetch(self) -> rdt.Scale:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(self._page, timeout=HTTP_TIMEOUT) as answer:
                page = answer.read(LARGEST_PAGE)
        except (OSError, urllib.error.URLError, http.client.HTTPException) as error:
            raise ForceError(
                f"{self._label}: {self._page} cannot be read ({error}); check power, cable and address, or give "
                "counts_per_force and counts_per_torque"
            ) from error
        try:
            return rdt.read_page(page)
        except ForceError as error:
            raise ForceError(f"{self._label}: {error}") from error

    def _request(self, command: int) -> None:
        try:
            self._socket.send(rdt.request(command))
        except ConnectionRefusedError:
            pass  # of an earlier request: nobody listened then, which ends as silence
        except OSError as error:
            raise ForceError(f"{self._label} cannot be asked: {error}; check the network") from error

    def _listen(self) -> None:
        deadline = time.monotonic() + self._timeout
        while not self._stop.is_set():
            ready, _, _ = select.select((self._socket, self._wait_end), (), (), max(0.0, deadline - time.monotonic()))
            if self._socket in ready:
                if self._take():
                    deadline = time.monotonic() + self._timeout
            elif not ready:
                self._fall_silent(time.time())
                self._ask_again()
                deadline = time.monotonic() + self._timeout
        self._say_goodbye()

    def _take(self) -> bool:
        """Take one datagram; whether it was a record."""
        try:
            data = self._socket.recv(rdt.RECORD.size + 1)
        except OSError:  # nobody listens there, or the network is down: silence, unless it passes
            return False
        stamp, received = time.time(), time.monotonic()
        record = rdt.parse(data)
        if record is None:
            return False
        arrival = self._sequence.feed(record.rdt_sequence)
        if arrival.kind is not None:
            text = WORDS[arrival.kind].format(count=arrival.records, number=record.rdt_sequence)
            self._tell(arrival.kind, text, stamp, arrival.records)
        if not arrival.newer:
            return True
        if rdt.is_fault(record.status):
            self._break(rdt.described(record.status), stamp)
            return True
        if record.ft_sequence == self._measured:
            if not self._frozen:
                self._tell(ForceEventKind.FROZEN, f"measurement {self._measured} is sent again and again", stamp)
            self._frozen = True
            return True
        self._measured, self._frozen = record.ft_sequence, False
        saturated = bool(record.status & rdt.SATURATED) or self._scale.saturated(record.counts)
        status = rdt.described(record.status)
        self._deliver(self._scale.wrench(record.counts), stamp, received, saturated, status)
        return True

    def _ask_again(self) -> None:
        """Ask a silent device to send: it may have been switched off and on. It counts from 1 then."""
        self._sequence.restart()
        try:
            self._request(rdt.START)
        except ForceError:
            return  # the network is down; the next time

    def _say_goodbye(self) -> None:
        try:
            self._request(rdt.STOP)
        except ForceError:
            return  # who cannot be reached need not stop


def make_net_ft(name: str, device: str = "", **settings: Any) -> NetFT:
    """The driver ``ati`` of `hardware.force.FORCE_SENSORS`; ``device`` is the address, "" the factory's."""
    return NetFT(name, device or ADDRESS, **settings)
