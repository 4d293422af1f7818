"""`fleet reset`, `recall`, `canary`, `pause`, `resume`: what is done about resets from a shell."""

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from sqlalchemy import Engine

from fleet import canary, overrides, resets
from fleet.shell import database, out, stop
from inventory import OPEN_STATES, OverrideKind, ResetRun, RunState, Tier
from inventory.db import reading, session


def reset(
    device: Annotated[str, typer.Argument(help="The device's id.")],
    wait: Annotated[bool, typer.Option(help="Wait for the proof.")] = True,
    tier: Annotated[Tier, typer.Option(help="How thorough.")] = Tier.QUICK,
    force: Annotated[
        bool, typer.Option(help="Although the timetable is in doubt, or a pause holds; with --why.")
    ] = False,
    countdown: Annotated[
        bool,
        typer.Option(
            help="Although somebody is signed in: they get a minute to save. With --force."
        ),
    ] = False,
    why: Annotated[str, typer.Option(help="The reason, kept with the reset.")] = "",
) -> None:
    """Ask for a reset of one device now; the running service carries it out and proves it."""
    if countdown and sys.stdin.isatty():
        typer.confirm("Whoever works on it now has to stop. Go on?", abort=True)
    engine, settings = database()
    actor = shell_user()
    try:
        with session(engine) as opened:
            run = resets.request(
                opened,
                device,
                datetime.now(UTC),
                settings,
                actor,
                tier=None if tier is Tier.QUICK else tier,
                force=force,
                over_all=True,  # from here everything can be paused, too
                countdown=countdown,
                why=why,
            )
    except resets.ResetRefused as refused:
        stop(f"{device} is not reset: {refused}")
    follow(engine, run, wait=wait)


def shell_user() -> str:
    return f"shell:{os.environ.get('USER', 'unknown')}"


def follow(engine: Engine, run: ResetRun, *, wait: bool) -> None:
    """Tell how the reset goes on until it ends; without a proof the command fails."""
    out.print(f"Reset {run.id} of {run.device_id} is planned.")
    shown = RunState.PLANNED
    while wait and shown in OPEN_STATES:
        if shown == RunState.PLANNED and datetime.now(UTC) > run.not_after:
            stop("Nobody took it up in time. Is the service running?")
        time.sleep(0.5)
        with reading(engine) as opened:
            row = opened.get_one(ResetRun, run.id)
        if row.state != shown:
            shown = row.state
            out.print(f"  {shown.value} {row.reason}".rstrip())
    if wait and shown != RunState.VERIFIED:
        raise typer.Exit(1)


def recall(reset: Annotated[str, typer.Argument(help="The reset's id.")]) -> None:
    """Take back a reset that was asked for by hand, if its device has touched nothing yet."""
    engine, _ = database()
    try:
        with session(engine) as opened:
            run = resets.recall(opened, reset, datetime.now(UTC))
    except resets.ResetRefused as refused:
        stop(f"{reset} goes on: {refused}")
    if run.state is RunState.DROPPED:
        out.print(f"Reset {run.id} of {run.device_id} was taken back.")
    else:
        out.print(f"Reset {run.id} of {run.device_id} is on its way; the device is asked to stop.")


def canary_(
    device: Annotated[str, typer.Argument(help="The laptop's id.")],
    wait: Annotated[bool, typer.Option(help="Wait for the proof.")] = True,
) -> None:
    """Test the reset on this laptop: it plants traces as a guest would, resets and looks."""
    engine, settings = database()
    actor = shell_user()
    try:
        with session(engine) as opened:
            run = canary.ask(opened, device, datetime.now(UTC), settings, actor)
    except resets.ResetRefused as refused:
        stop(f"{device} is not tested: {refused}")
    follow(engine, run, wait=wait)


def pause(
    site: Annotated[str, typer.Option(help="Only this site; empty: everywhere.")] = "",
    hours: Annotated[float, typer.Option(min=0, max=8784, help="0: until `fleet resume`.")] = 0,
    reason: Annotated[str, typer.Option(help="Shown on the pages.")] = "",
) -> None:
    """Stop resets at once: none begins any more; what has begun to delete comes to its end."""
    engine, _ = database()
    now = datetime.now(UTC)
    until = now + timedelta(hours=hours) if hours else None
    scope = overrides.Scope(site=site or None)
    try:
        with session(engine) as opened:
            overrides.say(
                opened, OverrideKind.PAUSE, scope, now, shell_user(), until=until, reason=reason
            )
    except overrides.OverrideRefused as refused:
        stop(f"Nothing was paused: {refused}")
    end = f"until {until:%Y-%m-%d %H:%M} UTC" if until else "until `fleet resume`"
    out.print(f"Resets are paused {f'at {site}' if site else 'everywhere'}, {end}.")


def resume(
    site: Annotated[str, typer.Option(help="Only this site's pauses; empty: all.")] = "",
) -> None:
    """Take back every pause (of one site, or all), and every recipe that stopped itself."""
    engine, _ = database()
    now = datetime.now(UTC)
    ended = 0
    with session(engine) as opened:
        kinds = (OverrideKind.PAUSE, OverrideKind.STOP)
        for said in overrides.in_force(opened, now, *kinds):
            by_hand = said.recipe_id == canary.CANARY  # nobody who resumes means the canary
            if said.id is not None and not by_hand and site in ("", said.site_id):
                overrides.end(opened, said.id, now, shell_user())
                ended += 1
    out.print(f"{ended} taken back." if ended else "Nothing was paused.")
