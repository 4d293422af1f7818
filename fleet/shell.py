"""What the commands share: how they speak, end, and reach the database and the devices."""

from pathlib import Path
from typing import NoReturn

import typer
from alembic.util import CommandError
from pydantic import ValidationError
from rich.console import Console
from sqlalchemy import Engine
from sqlalchemy.exc import ArgumentError, DBAPIError

from fleet.settings import Settings
from inventory import Device, Room
from inventory.db import migrate, open_engine, reading, session
from inventory.recipes import ensure_recipes

out = Console()
err = Console(stderr=True)


def stop(message: str) -> NoReturn:
    """End with one clear sentence instead of a traceback."""
    err.print(message, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(1)


def load_settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        stop("\n".join(": ".join([*_setting(e["loc"]), e["msg"]]) for e in error.errors()))


def _setting(place: tuple[int | str, ...]) -> list[str]:
    return [("FLEET_" + str(place[0])).upper().replace("FLEET_FLEET_", "FLEET_")] if place else []


def prepared(settings: Settings) -> Engine:
    """The database, migrated and with the built-in recipes in it."""
    try:
        engine = open_engine(settings.database_url)
        migrate(engine)
        with session(engine) as opened:
            ensure_recipes(opened)
    except (ValueError, ArgumentError) as error:
        stop(f"FLEET_DB is no address of a database: {error}")
    except OSError as error:
        stop(f"The database's folder cannot be made: {error}")
    except (DBAPIError, CommandError) as error:
        said = str(error.orig if isinstance(error, DBAPIError) else error)
        stop(f"The database cannot be used: {said.strip().splitlines()[0]}")
    return engine


def database() -> tuple[Engine, Settings]:
    """The prepared database of this installation, and its settings."""
    settings = load_settings()
    return prepared(settings), settings


def find(engine: Engine, settings: Settings, device: str) -> tuple[Device, Path]:
    """A device, and the state folder of the agent inside the service that looks after it."""
    with reading(engine) as opened:
        row = opened.get(Device, device)
        if row is None:
            stop(f"There is no device '{device}'.")
        return row, settings.home / "agents" / opened.get_one(Room, row.room_id).site_id
