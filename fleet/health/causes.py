"""What explains that a device cannot be reached: the fault of another one; pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from inventory import DeviceKind

SITE = "site"
"""The cause when a whole site is silent at once."""
LEAST_OF_SITE = 4
"""Fewer devices that are silent together may be a coincidence."""
WIRELESS = frozenset({DeviceKind.LAPTOP, DeviceKind.TABLET})


SERVER = "server:"
"""Begins the cause that is a management server, which is no device; its address follows."""
LONGEST = 63


def server_cause(address: str, port: int) -> str:
    name = f"{SERVER}{address.lower()}:{port}"
    if len(name) <= LONGEST:
        return name
    return f"{SERVER}{sha256(name.encode()).hexdigest()[:40]}"


def dead_servers(votes: Iterable[tuple[str, str, bool]]) -> set[tuple[str, str]]:
    """(site, server) of those of which every device says that they do not answer. `votes`: site,
    server, whether the last looks at one device found the server silent; who knows nothing of
    the server has no vote."""
    silent: dict[tuple[str, str], bool] = {}
    for site, server, gone in votes:
        silent[site, server] = silent.get((site, server), True) and gone
    return {place for place, gone in silent.items() if gone}


@dataclass(frozen=True, slots=True)
class Sight:
    """A device in service that has to be there now. `silent`: several looks in a row found
    nobody; `on_battery`: a UPS that gets no power."""

    id: str
    kind: DeviceKind
    room: str
    site: str
    uplink: str | None
    power: str | None
    silent: bool
    on_battery: bool = False
    server: str = ""
    """The dead server that explains its silence, as `server_cause` names it."""


def causes(sights: Iterable[Sight]) -> dict[str, str]:
    """Silent device → the device whose fault explains it, or SITE. Who is not in the answer is
    silent by its own fault, or not silent at all.

    In this order: a dead server through which it is asked; a power cut that the UPS of the room
    tells; what the device hangs on, link by link to the first that is silent itself; for laptops
    and tablets without a link of their own the access points of their room, when all of them are
    silent; the site, when everything there is silent and no single device explains it.
    """
    known = {sight.id: sight for sight in sights}
    cut = {s.room: s.id for s in known.values() if s.kind is DeviceKind.UPS and s.on_battery}
    points: dict[str, list[Sight]] = defaultdict(list)
    for sight in known.values():
        if sight.kind is DeviceKind.ACCESS_POINT:
            points[sight.room].append(sight)
    found: dict[str, str] = {}
    for sight in known.values():
        if sight.silent:
            cause = sight.server or _cause(sight, known, cut, points)
            if cause and cause != sight.id:
                found[sight.id] = cause
    return found | _whole_sites(known, found)


def _cause(
    sight: Sight,
    known: Mapping[str, Sight],
    cut: Mapping[str, str],
    points: Mapping[str, list[Sight]],
) -> str:
    if sight.power is None and sight.room in cut:
        return cut[sight.room]
    root = _root(sight, known)
    if root != sight.id or sight.kind not in WIRELESS or sight.uplink is not None:
        return root
    near = points.get(sight.room, ())
    if near and all(point.silent for point in near):
        first = min(near, key=lambda point: point.id)
        return _cause(first, known, cut, points)
    return root


def _root(sight: Sight, known: Mapping[str, Sight]) -> str:
    """The first silent device above this one from which on nothing above is silent; of devices
    that hang on each other (a UPS and the switch that it feeds) one stands for all."""
    path = [sight.id]
    while True:
        at = known[path[-1]]
        links = [known[up] for up in (at.power, at.uplink) if up is not None and up in known]
        above = next((up.id for up in links if up.silent), None)
        if above is None:
            return at.id
        if above in path:
            return min(path[path.index(above) :])
        path.append(above)


def _whole_sites(known: Mapping[str, Sight], found: Mapping[str, str]) -> dict[str, str]:
    sites: dict[str, list[Sight]] = defaultdict(list)
    for sight in known.values():
        sites[sight.site].append(sight)
    whole: dict[str, str] = {}
    for there in sites.values():
        if len(there) < LEAST_OF_SITE or not all(sight.silent for sight in there):
            continue
        roots = [sight.id for sight in there if sight.id not in found]
        if len(roots) > 1:
            whole |= {sight.id: SITE for sight in there}
    return whole
