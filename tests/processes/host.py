"""A computer of its own on this one, for tests: namespaces of network and mounts, with one card that is a TAP device.

``unshare --net --mount python -m tests.processes.host SOCKET ADDRESS IDENTITY`` makes it, hands the device's descriptor
over by the inherited ``SOCKET``, and lives until that is closed. Nothing has to be removed: namespaces and device go
with the last process in them.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import subprocess
import sys
from pathlib import Path

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # of <linux/if_tun.h>
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, IFF_UP = 0x8913, 0x8914, 0x8916, 0x891C, 0x1
CARD, NETMASK = "tap0", "255.255.255.0"
MACHINE_ID = Path("/etc/machine-id")


def main(arguments: list[str]) -> int:
    number, address, identity = arguments
    link = socket.socket(fileno=int(number))
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"], check=True)  # DDS would go by it, not by the network
    if MACHINE_ID.exists():
        subprocess.run(["mount", "--bind", identity, str(MACHINE_ID)], check=True)
    with open("/dev/net/tun", "r+b", buffering=0) as tap:
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", CARD.encode(), IFF_TAP | IFF_NO_PI))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            _set_address(control, SIOCSIFADDR, address)
            _set_address(control, SIOCSIFNETMASK, NETMASK)
            for card in (CARD, "lo"):
                request = bytearray(struct.pack("16sH22x", card.encode(), 0))
                fcntl.ioctl(control, SIOCGIFFLAGS, request)
                _, flags = struct.unpack("16sH22x", request)
                fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", card.encode(), flags | IFF_UP))
        socket.send_fds(link, [b"up"], [tap.fileno()])
        link.recv(1)  # nothing, once whoever started this has closed it or is gone
    return 0


def _set_address(control: socket.socket, request: int, address: str) -> None:
    packed = struct.pack("16sHH4s16x", CARD.encode(), socket.AF_INET, 0, socket.inet_aton(address))
    fcntl.ioctl(control, request, packed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
