"""Hardware addresses of neighbours, as the kernel has learned them by talking to them."""

import re
from pathlib import Path

ARP = Path("/proc/net/arp")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def macs(table: Path = ARP) -> dict[str, str]:
    """Address → MAC address; empty where the kernel does not tell."""
    try:
        rows = table.read_text().splitlines()[1:]
    except OSError:
        return {}
    found = {}
    for row in rows:
        parts = row.split()
        if len(parts) >= 4 and _MAC.fullmatch(parts[3].lower()) and parts[3] != "00:00:00:00:00:00":
            found[parts[0]] = parts[3].lower()
    return found
