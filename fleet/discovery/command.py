"""What `fleet discover` says and does."""

import os
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table
from sqlmodel import Session, col, select

from agents.drivers import DRIVERS
from fleet.discovery.accepting import DiscoveryRefused, accept, ignore
from fleet.discovery.searches import PROBLEMS, ask, latest
from fleet.shell import database, out, stop
from inventory import Network, Proposal, ProposalState, Site, Sort
from inventory.db import session as writing

MEANINGS: dict[Sort, str] = {
    Sort.NEW: "new",
    Sort.MOVED: "perhaps {device}, which is written down elsewhere",
    Sort.DOUBLE: "has the serial number or MAC of {device}, which answers at its place",
    Sort.RETIRED: "{device}, which is retired",
    Sort.ELSEWHERE: "{device}, which belongs to another site",
}


class Unknown(Exception):
    """There is no such site or find; the text says so."""


def search(session: Session, site: str, now: datetime, by: str) -> list[str]:
    """Ask for a search of this site, or of all that have networks; returns lines to print."""
    sites = session.exec(select(Network.site_id).distinct().order_by(Network.site_id)).all()
    if site and session.get(Site, site) is None:
        raise Unknown(f"There is no site '{site}'.")
    chosen = [each for each in sites if site in ("", each)]
    if not chosen:
        raise Unknown("No networks are written down; import a list 'networks' first.")
    for each in chosen:
        ask(session, each, now, by)
    return [f"The networks of {each} will be searched at once." for each in chosen]


def decide(
    session: Session,
    number: int,
    fields: Mapping[str, str] | None,
    now: datetime,
    by: str,
    drivers: Collection[str],
) -> str:
    """Accept (with fields) or ignore (None). Raises Unknown, DiscoveryRefused."""
    if session.get(Proposal, number) is None:
        raise Unknown(f"There is no find {number}.")
    if fields is None:
        ignore(session, number, now, by)
        return f"Find {number} is ignored from now on."
    device = accept(session, number, fields, now, by, drivers)
    return f"{device.id} is in the inventory, at {device.address}."


def finds(session: Session, site: str) -> Iterator[tuple[str, ...]]:
    """A line for each open find: number, site, address, what it is, what it means."""
    query = (
        select(Proposal)
        .where(Proposal.state == ProposalState.OPEN)
        .order_by(col(Proposal.site_id), col(Proposal.id))
    )
    for one in session.exec(query.where(Proposal.site_id == site) if site else query):
        seen = " ".join(filter(None, (one.kind, one.vendor, one.model, one.name)))
        meaning = MEANINGS[one.sort].format(device=one.device_id)
        yield str(one.id), one.site_id, one.address, seen, one.serial or one.mac, meaning


def failures(session: Session, site: str) -> Iterator[str]:
    """A sentence for each site whose last search failed."""
    sites = session.exec(select(Network.site_id).distinct().order_by(Network.site_id)).all()
    for each in sites:
        if site in ("", each) and (last := latest(session, each)) and last.problem:
            yield f"{each}: {PROBLEMS.get(last.problem, PROBLEMS['failed'])}"


def discover(
    site: Annotated[str, typer.Argument(help="Only this site; empty: all.")] = "",
    now: Annotated[bool, typer.Option("--now", help="Search at once.")] = False,
    accept_: Annotated[
        int, typer.Option("--accept", help="Take this find into the inventory.")
    ] = 0,
    ignore_: Annotated[int, typer.Option("--ignore", help="Never show this find again.")] = 0,
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Of a new device: id=…, room=…, name=…, kind=…, driver=…, options={…}"
        ),
    ] = None,
) -> None:
    """Show what the search of the sites' networks found; search, accept, ignore."""
    engine, _ = database()
    at, actor = datetime.now(UTC), f"shell:{os.environ.get('USER', 'unknown')}"
    given = dict(field.partition("=")[::2] for field in fields or ())
    try:
        with writing(engine) as opened:
            if now:
                out.print(*search(opened, site, at, actor), sep="\n")
            for number, values in ((accept_, given), (ignore_, None)):
                if number:
                    said = decide(opened, number, values, at, actor, DRIVERS)
                    out.print(said, markup=False, soft_wrap=True)
            lines, failed = list(finds(opened, site)), list(failures(opened, site))
    except (Unknown, DiscoveryRefused) as error:
        stop(str(error))
    table = Table("no.", "site", "address", "what", "serial or MAC", "meaning")
    for line in lines:
        table.add_row(*map(escape, line))
    out.print(table if lines else "Nothing was found that does not fit the inventory.", *failed)
