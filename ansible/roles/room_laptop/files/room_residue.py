"""Traces of a guest outside the home: where they are, how many, and away with them.

Counts only, never names: what a guest called a file is nobody's business.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from contextlib import contextmanager
from typing import Dict, Iterator, List, Sequence, Tuple

from room_machine import Machine
from room_state import Config, guest_ids
from room_system import identity, local_roots
from room_tree import open_folder, remove

MAX_DEPTH = 32
HIDDEN = (errno.EACCES, errno.ENOTCONN)
"""Even to root: what somebody mounted from a program, or from one that is gone."""


def count(config: Config, machine: Machine) -> Dict[str, int]:
    """Place → number of traces. A place that cannot be read counts as one trace."""
    counts = {
        place: sum(_count_folder(folder, guest_ids(config)) for folder in folders)
        for place, folders in config.places.items()
    }
    counts.update(machine.count_system_traces())
    return counts


def sweep(config: Config, machine: Machine) -> int:
    """Remove all of the guest; returns how many entries went. What stays is counted later."""
    removed = machine.remove_system_traces()
    with _open_trash(config) as trash:
        for folders in config.places.values():
            removed += sum(_sweep_folder(folder, guest_ids(config), trash) for folder in folders)
    return removed


def discard(name: str, parent: int, trash: int) -> int:
    """Out of everybody's reach at once, however much it holds; returns how many entries went.

    Across file systems nothing can be moved: there it is deleted here and now.
    """
    try:
        os.rename(name, secrets.token_hex(16), src_dir_fd=parent, dst_dir_fd=trash)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return remove(name, parent)
    return 1


def in_trash(config: Config) -> List[str]:
    """What lies there now. Ask with the lock held: later another reset builds its home there."""
    try:
        return os.listdir(config.trash)
    except FileNotFoundError:
        return []


def empty_trash(config: Config, names: List[str], seconds: float) -> int:
    """Delete these, for so long; returns how many entries went. What stays, stays out of reach."""
    until = time.monotonic() + seconds
    removed = 0
    folder = open_folder(config.trash)
    try:
        for name in names:
            try:
                removed += remove(name, folder, until)
            except OSError:
                continue  # something is mounted there, or another reset deletes it, too
    finally:
        os.close(folder)
    return removed


def _count_folder(path: str, ids: List[range]) -> int:
    try:
        folder = open_folder(path)
    except FileNotFoundError:
        return 0
    except OSError:
        return 1
    try:
        return sum(1 for _ in _owned(folder, ids, 0))
    except OSError:
        return 1
    finally:
        os.close(folder)


def sweep_everywhere(config: Config) -> int:
    """Files of the guest anywhere on this laptop's own disks, outside home and trash."""
    skipped = identity(config.home, config.trash, config.state)
    ids = guest_ids(config)
    with _open_trash(config) as trash:
        return sum(_sweep_folder(root, ids, trash, skipped) for root in local_roots(config))


@contextmanager
def _open_trash(config: Config) -> Iterator[int]:
    trash = open_folder(config.trash)
    try:
        yield trash
    finally:
        os.close(trash)


def _sweep_folder(
    path: str, ids: List[range], trash: int, skipped: Sequence[Tuple[int, int]] = ()
) -> int:
    try:
        folder = open_folder(path)
    except OSError:
        return 0
    removed = 0
    try:
        for parent, name in _owned(folder, ids, 0, skipped):
            try:
                removed += discard(name, parent, trash)
            except OSError:
                continue  # it stays, is counted, and the reset fails
    finally:
        os.close(folder)
    return removed


def _names(folder: int) -> Iterator[str]:
    """One by one, however many a guest made; what is removed meanwhile disturbs nothing."""
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name


def _owned(
    folder: int, ids: List[range], depth: int, skipped: Sequence[Tuple[int, int]] = ()
) -> Iterator[Tuple[int, str]]:
    """(open parent, name) of each entry of the guest; what lies inside one is not told again."""
    device = os.fstat(folder).st_dev
    for name in _names(folder):
        try:
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in HIDDEN:
                raise
            yield folder, name
            continue
        if (info.st_dev, info.st_ino) in skipped:
            continue
        if any(info.st_uid in numbers for numbers in ids):
            yield folder, name
        elif stat.S_ISDIR(info.st_mode) and info.st_dev == device and depth < MAX_DEPTH:
            try:
                inner = open_folder(name, folder)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                yield from _owned(inner, ids, depth + 1, skipped)
            finally:
                os.close(inner)
