"""Plans the searches of the night, takes those asked for by hand, and claims what is due."""

from collections.abc import Collection
from datetime import datetime, timedelta
from hashlib import blake2b
from zoneinfo import ZoneInfo

from sqlalchemy import update
from sqlmodel import Session, col, select

from agents.messages import Sweep, SweepRange
from fleet.settings import Settings
from inventory import OPEN_SEARCHES, Network, Search, SearchState, Site

HERE = ZoneInfo("Europe/Berlin")
NIGHT = "night"
START = timedelta(minutes=15)
"""How long an order waits for its agent."""
LONGEST = timedelta(hours=2)
"""How long the end of a search is waited for."""
SPREAD_MIN = 60
"""The sites of a region begin within this many minutes, not all at once."""

PROBLEMS: dict[str, str] = {
    "expired": "The site's agent did not take it up in time.",
    "no_end": "The site's agent began and its end was not heard.",
    "bad_range": "A network of the site cannot be searched.",
    "missing_credential": "The SNMP credential of a network is not on the agent's machine.",
    "failed": "The agent could not finish it.",
}
"""Why a search failed → the sentence for people."""


def plan(session: Session, now: datetime, settings: Settings) -> list[str]:
    """Ask for tonight's search of every site that has networks; returns the sites."""
    if settings.discovery_hour < 0:
        return []
    planned = []
    for site in _with_networks(session):
        due = _due(site, now, settings.discovery_hour)
        if not due <= now < due + timedelta(hours=1):
            continue
        done = session.exec(
            select(Search.id).where(Search.site_id == site, col(Search.asked_at) >= due)
        ).first()
        if done is None:
            _add(session, site, now, NIGHT)
            planned.append(site)
    return planned


def ask(session: Session, site: str, now: datetime, by: str) -> Search | None:
    """Search this site as soon as possible; the one that is open, if there is one.

    None: the site has no networks.
    """
    # One asks at a time: two clicks are one search.
    session.exec(select(Site).where(Site.id == site).with_for_update()).one()
    has = session.exec(select(Network.id).where(Network.site_id == site)).first()
    if has is None:
        return None
    opened = session.exec(
        select(Search).where(Search.site_id == site, col(Search.state).in_(OPEN_SEARCHES))
    ).first()
    return opened or _add(session, site, now, by)


def claim(session: Session, now: datetime) -> list[Sweep]:
    """Take what is asked for; the caller publishes after the commit. Two callers never take the
    same search."""
    orders = []
    for search in session.exec(select(Search).where(Search.state == SearchState.ASKED)).all():
        taken = session.execute(
            update(Search)
            .where(col(Search.id) == search.id, col(Search.state) == SearchState.ASKED)
            .values(state=SearchState.ORDERED, not_after=now + START + LONGEST)
        )
        if taken.rowcount == 1:  # type: ignore[attr-defined]
            ranges = _ranges(session, search.site_id)
            orders.append(
                Sweep(id=search.id, site=search.site_id, ranges=ranges, not_after=now + START)
            )
    return orders


def give_back(session: Session, ids: Collection[str], now: datetime) -> None:
    """These never left: they are tried again."""
    session.execute(
        update(Search)
        .where(col(Search.id).in_(ids), col(Search.state) == SearchState.ORDERED)
        .values(state=SearchState.ASKED, not_after=now + START)
    )


def expire(session: Session, now: datetime) -> int:
    """End what nobody took up or ended; returns how many."""
    ended = session.execute(
        update(Search)
        .where(col(Search.state).in_(OPEN_SEARCHES), col(Search.not_after) < now)
        .values(state=SearchState.FAILED, problem="no_end", ended_at=now)
    )
    return int(ended.rowcount)  # type: ignore[attr-defined]


def latest(session: Session, site: str) -> Search | None:
    """The newest search of a site."""
    return session.exec(
        select(Search).where(Search.site_id == site).order_by(col(Search.asked_at).desc()).limit(1)
    ).first()


def _add(session: Session, site: str, now: datetime, by: str) -> Search:
    search = Search(site_id=site, asked_at=now, asked_by=by[:200], not_after=now + START)
    session.add(search)
    session.flush()
    return search


def _with_networks(session: Session) -> list[str]:
    return list(session.exec(select(Network.site_id).distinct().order_by(Network.site_id)))


def _ranges(session: Session, site: str) -> list[SweepRange]:
    networks = session.exec(
        select(Network).where(Network.site_id == site).order_by(col(Network.id)).limit(64)
    )
    return [
        SweepRange(range=each.range, credential=each.credential, version=each.snmp.value)
        for each in networks
    ]


def _due(site: str, now: datetime, hour: int) -> datetime:
    """When this site's search of the present night begins."""
    local = now.astimezone(HERE)
    minute = int.from_bytes(blake2b(site.encode(), digest_size=4).digest()) % SPREAD_MIN
    return local.replace(hour=hour, minute=minute, second=0, microsecond=0).astimezone(now.tzinfo)
