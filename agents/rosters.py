"""The roster of each site, on disk too, so that an agent works on when the uplink is gone."""

import logging
import os
from datetime import timedelta
from pathlib import Path

from pydantic import ValidationError

from agents.messages import Roster

log = logging.getLogger(__name__)

_RESTORED = timedelta(minutes=10)
"""A lower revision sent this much later is no latecomer: the centre was set up anew."""


class Rosters:
    """What this agent has last been told, per site."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, Roster] = {}

    def get(self, site: str) -> Roster | None:
        return self._held.get(site)

    def load(self, site: str) -> Roster | None:
        """Take up the one on disk, if there is a whole one."""
        try:
            roster = Roster.model_validate_json(self._path(site).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            log.warning("site '%s': the kept roster cannot be used: %s", site, type(error).__name__)
            return None
        if roster.site == site:
            self._held[site] = roster
        return self._held.get(site)

    def take(self, roster: Roster) -> bool:
        """Hold this one from now on, unless it is older than the one held. False: it is older."""
        held = self._held.get(roster.site)
        if held and not _newer(roster, held):
            return False
        self._held[roster.site] = roster
        try:
            self._write(roster)
        except OSError as error:
            log.error("site '%s': the roster cannot be kept on disk: %s", roster.site, error)
        return True

    def _write(self, roster: Roster) -> None:
        path = self._path(roster.site)
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        with fresh.open("wb") as file:
            file.write(roster.model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)

    def _path(self, site: str) -> Path:
        return self._folder / f"roster-{site}.json"


def _newer(roster: Roster, held: Roster) -> bool:
    if roster.revision < held.revision:
        return roster.sent_at - held.sent_at > _RESTORED
    return (roster.revision, roster.sent_at) > (held.revision, held.sent_at)
