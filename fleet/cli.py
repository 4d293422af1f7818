"""The command `fleet`: everything that is done from a shell."""

import asyncio
import logging
import secrets
import shutil
import socket
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from rich.table import Table
from sqlmodel import select

from agents.__main__ import main as run_agent
from agents.credentials import Credentials
from agents.driver import DriverError
from agents.drivers import DRIVERS
from agents.ssh.host_keys import HostKeys
from fleet import auth, evidence, roster
from fleet import demo as simulation
from fleet.app import create_app
from fleet.discovery.command import discover
from fleet.health.rules import THRESHOLDS
from fleet.readiness import replay
from fleet.reset_cli import canary_, pause, recall, reset, resume
from fleet.settings import Settings
from fleet.shell import database, find, load_settings, out, prepared, stop
from fleet.snmp_cli import access_points, profiles
from inventory import Account, Role
from inventory.db import reading, session
from inventory.exporter import export_csv, export_yaml
from inventory.importer import ImportRefused, apply, diff, read_region

main = typer.Typer(
    help="Raumwart looks after the devices of public learning rooms.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
evidence_commands = typer.Typer(help="What proves how resets ended.", no_args_is_help=True)
main.add_typer(evidence_commands, name="evidence")
main.command()(discover)
main.command("access-points")(access_points)
main.add_typer(profiles, name="profile")
main.command()(reset)
main.command()(recall)
main.command("canary")(canary_)
main.command()(pause)
main.command()(resume)


def log_to_stderr(level: int) -> None:
    """Our own words from this level on; of the libraries only what is wrong."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname).1s %(name)s: %(message)s")
    for package in ("agents", "dashboards", "fleet", "inventory"):
        logging.getLogger(package).setLevel(level)


def listening(settings: Settings) -> socket.socket:
    """The port, taken before anything else begins: a service that nobody can reach must not
    work, and must not void the invitation of the one that has the port."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(family, kind)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        taken.listen(2048)
    except OSError as error:
        stop(f"{settings.host}, port {settings.port}, cannot be listened on: {error.strerror}.")
    return taken


def serve_until_stopped(settings: Settings, port: socket.socket, *, demo: bool = False) -> None:
    try:
        app = create_app(settings, demo=demo)
    except OSError as error:
        stop(f"FLEET_HOME must be a folder to write to: {error}")
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):
        server.run([port])
    if not server.started:
        raise typer.Exit(1)


@main.command()
def serve() -> None:
    """Run the service: pages, API, metrics, clockwork, and (FLEET_BUS=local:) the agent."""
    log_to_stderr(logging.INFO)
    settings = load_settings()
    port = listening(settings)
    engine = prepared(settings)
    with session(engine) as opened:
        token = auth.first_invitation(opened, datetime.now(UTC))
    if token:
        out.print(
            f"Nobody has an account yet. Sign in once, within a day, with\n"
            f"  {settings.public_url}/einladung/{token}",
            soft_wrap=True,
        )
    serve_until_stopped(settings, port)


@main.command()
def agent(
    site: Annotated[list[str], typer.Option(help="A site to look after; may be given often.")],
    state: Annotated[Path, typer.Option(help="Where the agent keeps things.")] = Path("var/agent"),
) -> None:
    """Run only a site's agent. It needs FLEET_BUS and FLEET_CREDENTIALS, and no database."""
    settings = load_settings()
    if settings.credentials is None:
        stop("FLEET_CREDENTIALS must name the folder with the devices' secrets.")
    arguments = ["--bus", settings.bus, "--credentials", str(settings.credentials)]
    for name in site:
        arguments += ["--site", name]
    raise typer.Exit(run_agent([*arguments, "--state", str(state)]))


@main.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="A YAML or CSV file, or a folder of CSV.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the changes.")] = False,
    prune: Annotated[bool, typer.Option(help="Delete what the file does not name.")] = False,
) -> None:
    """Bring a region into the inventory: all of it or, if anything is wrong, nothing."""
    engine, _ = database()
    try:
        with session(engine) as opened:
            region = read_region(
                path, drivers=DRIVERS, thresholds=THRESHOLDS, session=opened, prune=prune
            )
            change = (diff if dry_run else apply)(opened, region, prune=prune)
    except ImportRefused as refused:
        stop(f"{refused}\nNothing was imported.")
    for line in change.lines():
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    out.print(
        f"{len(change.added)} added, {len(change.changed)} changed, {len(change.removed)} removed, "
        f"{change.unchanged} unchanged" + (" (dry run: nothing was done)" if dry_run else "")
    )


@main.command()
def export(
    path: Annotated[Path, typer.Argument(help="A .yaml file, or a folder for CSV files.")],
) -> None:
    """Write the whole region out, in the form that `fleet import` reads."""
    engine, _ = database()
    try:
        with reading(engine) as opened:
            if path.suffix in {".yaml", ".yml"}:
                path.write_text(export_yaml(opened))
            else:
                path.mkdir(parents=True, exist_ok=True)
                export_csv(opened, path)
    except OSError as error:
        stop(f"{path} cannot be written: {error.strerror}.")
    out.print(f"Written to {path}.")


@main.command("migrate")
def migrate_() -> None:
    """Bring the database to the newest form (also done at every start)."""
    database()
    out.print("The database is up to date.")


@main.command()
def probe(device: Annotated[str, typer.Argument(help="The device's id.")]) -> None:
    """Look at one device now, from this machine, and show what it says."""
    engine, settings = database()
    row, state = find(engine, settings, device)
    target = roster.target_of(row, settings)

    async def look() -> dict[str, object]:
        driver = DRIVERS[target.driver](Credentials(settings.credentials), state)
        try:
            return await driver.poll(target, timedelta(seconds=15))
        finally:
            await driver.close()

    try:
        facts = asyncio.run(look())
    except DriverError as error:
        stop(f"{device}: {error.code}: {error}")
    table = Table("fact", "value", title=f"{device} ({target.driver}, {target.address})")
    for name, value in sorted(facts.items()):
        table.add_row(name, str(value))
    out.print(table)


@evidence_commands.command("verify")
def verify_evidence() -> None:
    """Check every chain of evidence, and say where one was changed or cut."""
    engine, _ = database()
    with reading(engine) as opened:
        count, broken = evidence.check(opened, datetime.now(UTC))
    for each in broken:
        out.print(f"{each.chain or 'seals'} {each.number}: {each.what}", highlight=False)
    if broken:
        stop(f"{len(broken)} places in {count} records do not hold.")
    out.print(f"{count} records of evidence, all as they were written.")


@main.command()
def demo(
    devices: Annotated[int, typer.Option(min=1, max=20_000, help="How many devices.")] = 60,
    port: Annotated[int, typer.Option(help="Where it listens; taken: the next free one.")] = 8080,
    folder: Annotated[Path, typer.Option(help="Emptied at the start.")] = Path("var/demo"),
) -> None:
    """Show everything on a simulated region: real sockets, no hardware, nothing to set up."""
    log_to_stderr(logging.WARNING)
    shutil.rmtree(folder, ignore_errors=True)
    now = datetime.now(UTC)
    out.print(f"Starting {devices} simulated devices …")
    with simulation.simulated(folder, devices) as ports:
        file = simulation.write_region(folder, devices, ports, now)
        settings = simulation.settings(folder, simulation.free_port(port), devices)
        port_taken = listening(settings)
        engine = prepared(settings)
        with session(engine) as opened:
            apply(opened, read_region(file, drivers=DRIVERS))
            admin = Account(name="demo", role=Role.REGION_ADMIN, created_at=now)
            auth.set_password(admin, secrets.token_urlsafe())
            opened.add(admin)
            opened.flush()
            link = f"{settings.public_url}/einladung/{auth.invite(opened, admin, now)}"
        out.print(simulation.greeting(link, folder), soft_wrap=True, highlight=False)
        serve_until_stopped(settings, port_taken, demo=True)
    out.print("The demo is over; nothing keeps running.")


PINNED = {
    "ssh": ("host_keys", 22),
    "kiosk": ("certificates", 2323),
    "freekiosk": ("certificates", 8080),
    "headwind": ("certificates", 443),
}
"""Driver → the file of what its devices showed first, and their usual port."""


@main.command()
def why(
    room: Annotated[str, typer.Argument(help="The room's id.")],
    when: Annotated[str, typer.Argument(help="2026-03-12 or 12.3.; empty: its last trouble.")] = "",
) -> None:
    """Tell from what is kept how a room was for its courses of a day, and why."""
    with reading(database()[0]) as opened:
        try:
            lines = replay.tell(opened, room, when, datetime.now(UTC))
        except (LookupError, replay.NotUnderstood) as error:
            stop(str(error))
    out.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


@main.command()
def trust(device: Annotated[str, typer.Argument(help="The device's id.")]) -> None:
    """Accept a new SSH host key or certificate of this device: it was replaced or set up anew."""
    engine, settings = database()
    row, state = find(engine, settings, device)
    file, port = PINNED.get(row.driver, PINNED["ssh"])
    if not HostKeys(state / file).forget(row.address, row.port or port):
        stop(f"No key and no certificate of {device} is held in {state}.")
    out.print(f"The old key of {device} is forgotten; the next one it shows is pinned.")


@main.command()
def account(
    name: Annotated[str, typer.Argument(help="The name to sign in with.")],
    role: Annotated[Role, typer.Option(help="What the account may do.")] = Role.VIEWER,
    municipality: Annotated[str, typer.Option(help="Only this one's sites; empty: all.")] = "",
) -> None:
    """Make an account, or a new invitation for one; prints a link that signs in once."""
    engine, settings = database()
    now = datetime.now(UTC)
    with session(engine) as opened:
        row = opened.exec(select(Account).where(Account.name == name)).first()
        if row is None:
            row = Account(name=name, role=role, municipality=municipality or None, created_at=now)
            opened.add(row)
            opened.flush()
        token = auth.invite(opened, row, now)
    out.print(f"{settings.public_url}/einladung/{token}", soft_wrap=True)


@main.command()
def token(
    name: Annotated[str, typer.Argument(help="The account that the script acts as.")],
    days: Annotated[int, typer.Option(min=1, max=730)] = 365,
) -> None:
    """Print a bearer token for a script that uses the API or the Ansible inventory."""
    engine, _ = database()
    with session(engine) as opened:
        row = opened.exec(select(Account).where(Account.name == name)).first()
        if row is None:
            stop(f"There is no account '{name}'.")
        secret, _ = auth.open_session(opened, row, datetime.now(UTC), timedelta(days=days))
    out.print(secret)
