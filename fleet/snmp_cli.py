"""The commands that look at SNMP devices to write something for a human to edit."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from sqlalchemy import Engine

from agents.credentials import Credentials
from agents.driver import DriverError
from agents.drivers.snmp import Snmp
from agents.messages import Target
from agents.snmp.profile import load
from agents.snmp.survey import proposal
from fleet import roster
from fleet.behind import proposed
from fleet.shell import database, find, out, stop
from inventory import Device
from inventory.db import reading

profiles = typer.Typer(help="Device models that speak SNMP.", no_args_is_help=True)
Found = TypeVar("Found")
_TIME = timedelta(seconds=60)


@profiles.command("new")
def new_profile(
    device: Annotated[str, typer.Argument(help="The device's id.")],
    file: Annotated[Path | None, typer.Option("--out", help="Write it here.")] = None,
) -> None:
    """Read all that a device of an unknown model tells, and propose a profile for it."""
    _, survey = _ask(device, lambda driver, target: driver.survey(target, _TIME))
    text = proposal(survey, load())
    if file is None:
        out.print(text, markup=False, highlight=False, soft_wrap=True, end="")
        return
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        stop(f"{file} cannot be written: {error.strerror}.")
    out.print(f"Written to {file}. The device has the profile '{survey.profile}' now.")


def access_points(
    device: Annotated[str, typer.Argument(help="The controller's id.")],
) -> None:
    """Print the access points behind a controller that are not in the inventory yet, as YAML for
    `fleet import`: each becomes a device of its own."""
    engine, found = _ask(device, lambda driver, target: driver.access_points(target, _TIME))
    if not found:
        stop(f"{device} tells of no access points behind it.")
    with reading(engine) as opened:
        text = proposed(opened, opened.get_one(Device, device), found)
    if not text:
        stop(f"All {len(found)} access points behind {device} are in the inventory.")
    out.print(text, markup=False, highlight=False, soft_wrap=True, end="")


def _ask(device: str, question: Callable[[Snmp, Target], Awaitable[Found]]) -> tuple[Engine, Found]:
    engine, settings = database()
    row, state = find(engine, settings, device)
    if row.driver != "snmp":
        stop(f"{device} does not speak SNMP but {row.driver}.")
    target = roster.target_of(row, settings)

    async def ask() -> Found:
        driver = Snmp(Credentials(settings.credentials), state)
        try:
            return await question(driver, target)
        finally:
            await driver.close()

    try:
        return engine, asyncio.run(ask())
    except DriverError as error:
        stop(f"{device}: {error.code}: {error}")
