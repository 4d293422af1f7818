"""This machine's own IPv4 networks: where a packet to everybody goes out."""

import array
import fcntl
import socket
import struct
from ipaddress import IPv4Address, IPv4Interface

_IFCONF, _FLAGS, _BROADCAST, _MASK = 0x8912, 0x8913, 0x8919, 0x891B
_UP, _CAN_BROADCAST = 0x1, 0x2
_ROW = struct.calcsize("16s24x")
_ROOM = 256 * _ROW


def interfaces() -> list[IPv4Interface]:
    """This machine's own addresses, each with its network; loopback too."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for name, address in _addresses(asked):
            try:
                mask = _address(_ask(asked, _MASK, name))
            except OSError:
                continue  # it went away while we looked
            found.append(IPv4Interface(f"{address}/{mask}"))
    return found


def broadcasts() -> dict[IPv4Interface, IPv4Address]:
    """Each network that this machine stands in, with its address for everybody."""
    found = {}
    # Not `socket.if_nameindex`: it needs netlink, which a well-guarded service does not have.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for name, address in _addresses(asked):
            try:
                (flags,) = struct.unpack_from("16xH", _ask(asked, _FLAGS, name))
                if flags & _UP and flags & _CAN_BROADCAST:
                    mask = _address(_ask(asked, _MASK, name))
                    own = IPv4Interface(f"{address}/{mask}")
                    found[own] = _address(_ask(asked, _BROADCAST, name))
            except OSError:
                continue  # it went away while we looked
    return found


def _addresses(asked: socket.socket) -> list[tuple[bytes, IPv4Address]]:
    room = array.array("B", bytes(_ROOM))
    place, _ = room.buffer_info()
    answer = fcntl.ioctl(asked, _IFCONF, struct.pack("iP", _ROOM, place))
    (length, _) = struct.unpack("iP", answer)
    rows = [room[at : at + _ROW].tobytes() for at in range(0, length, _ROW)]
    return [(row[:16].rstrip(b"\0"), _address(row)) for row in rows]


def _ask(asked: socket.socket, what: int, name: bytes) -> bytes:
    return fcntl.ioctl(asked, what, struct.pack("16s24x", name))


def _address(row: bytes) -> IPv4Address:
    """The address in a row of the kernel's: name, family, port, address."""
    return IPv4Address(row[20:24])
