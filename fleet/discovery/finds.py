"""Takes what a search found: proposes, follows, and ends the search."""

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network

from sqlmodel import Session, col, select

from agents.messages import Found, FoundHost
from fleet.discovery.matching import Directory, Known, Match, bare
from fleet.discovery.searches import PROBLEMS
from inventory import (
    OPEN_SEARCHES,
    Device,
    DeviceKind,
    DeviceState,
    Flip,
    Health,
    Network,
    Proposal,
    ProposalState,
    Room,
    Search,
    SearchState,
    Site,
    Subject,
)

log = logging.getLogger(__name__)

FOLLOWED = "address_followed"
MOST = 2000
"""Open proposals of one site; an agent that tells more is not believed."""
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def take(session: Session, found: Found, now: datetime) -> list[str]:
    """Store one part of what a search found. Returns the devices that were followed.

    Safe to repeat and in any order. What does not belong to an ordered search of this site, or
    lies outside its networks, is left out: an agent speaks only for what it was asked.
    """
    # One at a time per site, so that two parts never propose the same host twice.
    site = session.exec(
        select(Site).where(Site.id == found.site).with_for_update(key_share=True)
    ).first()
    search = session.get(Search, found.sweep)
    if site is None or search is None or search.site_id != site.id:
        return []
    if search.state not in OPEN_SEARCHES:
        return []
    networks = session.exec(select(Network.range).where(Network.site_id == site.id)).all()
    hosts = [_plain(host) for host in found.hosts if _within(host.address, networks)]
    followed = _place(session, site.id, hosts, now) if hosts else []
    search.found += len(hosts)
    if found.done:
        search.state = SearchState.FAILED if found.problem else SearchState.DONE
        known = found.problem in PROBLEMS or not found.problem
        search.problem = found.problem if known else "failed"
        search.ended_at, search.asked = now, max(0, min(found.asked, 2**31 - 1))
    return followed


def _place(session: Session, site: str, hosts: Sequence[FoundHost], now: datetime) -> list[str]:
    proposals = list(session.exec(select(Proposal).where(Proposal.site_id == site)))
    open_ = sum(each.state == ProposalState.OPEN for each in proposals)
    directory = Directory(_devices(session))
    followed = []
    for host in hosts:
        match = directory.match(site, host)
        before = _same(proposals, host, match)
        if match.sort is None:
            _settle(before, now)
            continue
        if before is None and open_ >= MOST:
            log.warning("%s: too many finds, the rest is not proposed", site)
            break
        proposal = before or Proposal(
            site_id=site, sort=match.sort, address=host.address, first_seen=now, last_seen=now
        )
        if before is None:
            session.add(proposal)
            proposals.append(proposal)
            open_ += 1
        _write(proposal, host, match, now)
        if match.follow and match.device:
            _follow(session, match.device, proposal, now)
            followed.append(match.device)
            session.flush()
            directory = Directory(_devices(session))
    session.flush()
    return followed


def _devices(session: Session) -> Iterable[Known]:
    rows = session.exec(
        select(Device, Room.site_id, DeviceState.reachable, DeviceState.problem)
        .join(Room, col(Room.id) == col(Device.room_id))
        .outerjoin(DeviceState, col(DeviceState.device_id) == col(Device.id))
        .order_by(col(Device.id))
    )
    for device, site, reachable, problem in rows:
        yield Known(
            device.id,
            site,
            device.service,
            device.address,
            device.port,
            device.serial,
            device.mac,
            bool(reachable) and not problem,
        )


def _same(proposals: Iterable[Proposal], host: FoundHost, match: Match) -> Proposal | None:
    """The proposal of an earlier sight of the same host: by what it is before where it is."""
    serial = bare(host.serial)
    tests: tuple[Callable[[Proposal], bool], ...] = (
        lambda one: bool(match.device) and one.device_id == match.device,
        lambda one: bool(serial) and bare(one.serial) == serial,
        lambda one: bool(host.mac) and one.mac == host.mac,
        lambda one: (
            one.address == host.address
            and not (serial and one.serial)
            and not (host.mac and one.mac)
        ),
    )
    candidates = list(proposals)
    for test in tests:
        for one in candidates:
            if test(one):
                return one
    return None


def _settle(proposal: Proposal | None, now: datetime) -> None:
    if proposal and proposal.state == ProposalState.OPEN:
        proposal.state, proposal.decided_at = ProposalState.SETTLED, now
        proposal.last_seen = now


def _write(proposal: Proposal, host: FoundHost, match: Match, now: datetime) -> None:
    """What is known of it now. What somebody ignored stays ignored as long as it means the same."""
    assert match.sort is not None
    again = proposal.state != ProposalState.OPEN and not (
        proposal.state == ProposalState.IGNORED and proposal.sort == match.sort
    )
    if again:
        proposal.state, proposal.first_seen = ProposalState.OPEN, now
        proposal.decided_at, proposal.decided_by, proposal.old_address = None, "", ""
    proposal.sort, proposal.device_id = match.sort, match.device
    proposal.address, proposal.port = host.address, host.port
    proposal.last_seen = now
    for name in ("mac", "serial", "name", "vendor", "model", "kind", "driver"):
        setattr(proposal, name, getattr(host, name) or getattr(proposal, name))
    proposal.ways = sorted(set(host.ways))


def _follow(session: Session, device_id: str, proposal: Proposal, now: datetime) -> None:
    """Write the new address down, and say so: in the device's history and on the page."""
    device = session.get_one(Device, device_id, with_for_update=True)
    proposal.old_address, device.address = device.address, proposal.address
    proposal.state, proposal.decided_at = ProposalState.FOLLOWED, now
    state = session.get(DeviceState, device_id)
    health = (state.health if state else Health.UNKNOWN).value
    session.add(
        Flip(
            subject=Subject.DEVICE,
            room_id=device.room_id,
            device_id=device_id,
            at=now,
            old=health,
            new=health,
            reason=FOLLOWED,
        )
    )
    log.info("%s is now at %s (was %s)", device_id, device.address, proposal.old_address)


def _within(address: str, networks: Sequence[str]) -> bool:
    try:
        one = IPv4Address(address)
    except ValueError:
        return False
    return any(one in IPv4Network(network) for network in networks)


def _plain(host: FoundHost) -> FoundHost:
    """Only what can be stored and shown: printable, short, of known words."""

    def text(value: str, length: int) -> str:
        return "".join(filter(str.isprintable, value)).strip()[:length]

    mac = host.mac.lower()
    return host.model_copy(
        update={
            "mac": mac if _MAC.fullmatch(mac) else "",
            "serial": text(host.serial, 100),
            "name": text(host.name, 200),
            "vendor": text(host.vendor, 200),
            "model": text(host.model, 200),
            "kind": host.kind if host.kind in set(DeviceKind) else "",
            "driver": text(host.driver, 32),
            "port": host.port if host.port and 1 <= host.port <= 65535 else None,
            "ways": [text(way, 32) for way in host.ways],
        }
    )
