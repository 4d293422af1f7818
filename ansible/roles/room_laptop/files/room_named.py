"""What the system itself keeps of the guest: found by its name, for it belongs to root.

Every part of the path is opened without following links. Only system folders are named here, into
which the guest cannot write.
"""

from __future__ import annotations

import fnmatch
import os
from typing import Iterator, List, Tuple

from room_state import Config
from room_tree import open_folder, remove


def count_named(config: Config, patterns: List[str]) -> int:
    return sum(1 for pattern in patterns for _ in _matches(config, pattern))


def remove_named(config: Config, patterns: List[str]) -> int:
    removed = 0
    for pattern in patterns:
        for folder, name in _matches(config, pattern):
            try:
                removed += remove(name, folder)
            except OSError:
                continue  # it stays and is counted
    return removed


def _matches(config: Config, pattern: str) -> Iterator[Tuple[int, str]]:
    """(open folder, name) of each entry that the pattern names."""
    filled = pattern.replace("{guest}", config.guest).replace("{uid}", str(config.uid))
    top = open_folder("/")
    try:
        yield from _below(top, [part for part in filled.split("/") if part])
    finally:
        os.close(top)


def _below(folder: int, parts: List[str]) -> Iterator[Tuple[int, str]]:
    for name in fnmatch.filter(os.listdir(folder), parts[0]):
        if len(parts) == 1:
            yield folder, name
            continue
        try:
            inner = open_folder(name, folder)
        except OSError:
            continue
        try:
            yield from _below(inner, parts[1:])
        finally:
            os.close(inner)
