"""Folders handled by open descriptors only, so that no link a guest planted is ever followed."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import math
import os
import secrets
import shutil
import stat
import time
from itertools import islice
from typing import Iterator, List, Optional, Tuple

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_DEPTH = 40
MAX_ENTRIES = 100_000
AT_ONCE = 10_000
"""Names of one folder that are held in memory."""
MAX_BYTES = 1 << 30
RENAME_EXCHANGE = 2
AT_FDCWD = -100


class TooBig(Exception):
    """More in this folder than a prepared home can hold."""


def open_folder(name: str, parent: Optional[int] = None) -> int:
    """A descriptor of the folder itself; a link in its place is an error."""
    try:
        return os.open(name, FOLDER, dir_fd=parent)
    except PermissionError:
        if os.geteuid() == 0:
            raise
        # A simulated laptop has no root: what its guest closed is opened by its owner.
        os.chmod(name, 0o700, dir_fd=parent)
        return os.open(name, FOLDER, dir_fd=parent)


def read_file(name: str, parent: int, limit: int = 1 << 16) -> bytes:
    """The beginning of a plain file; a link, a pipe or a folder in its place is an error."""
    file = os.open(name, READ, dir_fd=parent)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "not a plain file")
        return os.read(file, limit)
    finally:
        os.close(file)


def remove(name: str, parent: int, until: float = math.inf) -> int:
    """Delete one entry and all below it; returns how many. What is mounted below is an error, and
    so is a moment (of the monotonic clock) that comes before the end.

    Two open descriptors suffice however deep a guest nested folders: each inner folder is moved
    up to the top before it is opened.
    """
    if _unlinked(name, parent):
        return 1
    top = open_folder(name, parent)
    try:
        removed = 1
        names = _entries(top)
        while names:
            for entry in names:
                if not _unlinked(entry, top):
                    removed += _empty_upwards(entry, top, until)
                    os.rmdir(entry, dir_fd=top)
                removed += 1
                _not_after(until)
            names = _entries(top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)
    return removed


def _not_after(until: float) -> None:
    if time.monotonic() > until:
        raise OSError(errno.ETIME, "the time is over")


def _empty_upwards(name: str, top: int, until: float) -> int:
    """Delete the files of a folder and move its folders up; returns how many files."""
    folder = open_folder(name, top)
    try:
        if os.fstat(folder).st_dev != os.fstat(top).st_dev:
            raise OSError(errno.EBUSY, "something is mounted here")
        removed = 0
        while children := _entries(folder):
            for child in children:
                if _unlinked(child, folder):
                    removed += 1
                else:
                    os.rename(child, secrets.token_hex(16), src_dir_fd=folder, dst_dir_fd=top)
                _not_after(until)
        return removed
    finally:
        os.close(folder)


def _entries(folder: int) -> List[str]:
    """Some of them: a guest can make more than fit into the memory."""
    if os.geteuid() != 0:
        os.fchmod(folder, 0o700)
    with os.scandir(folder) as entries:
        return [entry.name for entry in islice(entries, AT_ONCE)]


def _unlinked(name: str, parent: int) -> bool:
    """False: it is a folder."""
    try:
        os.unlink(name, dir_fd=parent)
    except IsADirectoryError:
        return False
    except FileNotFoundError:
        pass
    return True


def copy_tree(source: int, target: int, uid: int, gid: int) -> int:
    """Fill the new, empty folder `target` like `source`, owned by the guest; returns how many."""
    copied = 0
    for name in sorted(os.listdir(source)):
        info = os.stat(name, dir_fd=source, follow_symlinks=False)
        copied += 1
        if stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            os.chown(name, uid, gid, dir_fd=target, follow_symlinks=False)
        elif stat.S_ISREG(info.st_mode):
            _copy_file(name, source, target, uid, gid)
        elif stat.S_ISDIR(info.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            inner, outer = open_folder(name, source), open_folder(name, target)
            try:
                copied += copy_tree(inner, outer, uid, gid)
            finally:
                os.close(inner)
                os.close(outer)
        else:
            raise OSError(errno.EINVAL, "a prepared home holds files, folders and links only")
    info = os.fstat(source)
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
    os.fchown(target, uid, gid)
    os.fchmod(target, stat.S_IMODE(info.st_mode))
    return copied


def _copy_file(name: str, source: int, target: int, uid: int, gid: int) -> None:
    old = os.fdopen(os.open(name, READ, dir_fd=source), "rb")
    with old, os.fdopen(os.open(name, CREATE, 0o600, dir_fd=target), "wb") as new:
        shutil.copyfileobj(old, new)
        new.flush()
        info = os.fstat(old.fileno())
        os.utime(new.fileno(), ns=(info.st_atime_ns, info.st_mtime_ns))
        os.fchown(new.fileno(), uid, gid)
        os.fchmod(new.fileno(), stat.S_IMODE(info.st_mode) & 0o777)


def hash_tree(folder: int, owner: Optional[int]) -> str:
    """SHA-256 over names, kinds, modes and contents. Raises TooBig.

    `owner`: what belongs to somebody else changes the hash; None: owners do not count, as in a
    prepared home, which belongs to root.
    """
    total = hashlib.sha256()
    entries, size = 0, 0
    for line, content in _describe(folder, owner, "", 0):
        entries, size = entries + 1, size + content
        if entries > MAX_ENTRIES or size > MAX_BYTES:
            raise TooBig("more than a prepared home can hold")
        total.update(line)
    return total.hexdigest()


def _describe(
    folder: int, owner: Optional[int], path: str, depth: int
) -> Iterator[Tuple[bytes, int]]:
    """One line and the number of content bytes for each entry, in a fixed order."""
    if depth > MAX_DEPTH:
        raise TooBig("folders too deep for a prepared home")
    here = os.fstat(folder)
    yield _line(path or ".", "folder", here, owner, ""), 0
    with os.scandir(folder) as entries:
        names = [entry.name for entry in islice(entries, MAX_ENTRIES + 1)]
    if len(names) > MAX_ENTRIES:
        raise TooBig("more than a prepared home can hold")
    for name in sorted(names):
        below = path + "/" + name
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode) and info.st_dev == here.st_dev:
            inner = open_folder(name, folder)
            try:
                yield from _describe(inner, owner, below, depth + 1)
            finally:
                os.close(inner)
        elif stat.S_ISREG(info.st_mode):
            content = "" if info.st_size > MAX_BYTES else _hash_file(name, folder)
            yield _line(below, "file", info, owner, content), info.st_size
        elif stat.S_ISLNK(info.st_mode):
            yield _line(below, "link", info, owner, os.readlink(name, dir_fd=folder)), 0
        else:
            yield _line(below, "other", info, owner, ""), 0


def _line(path: str, kind: str, info: os.stat_result, owner: Optional[int], content: str) -> bytes:
    mode = 0 if kind == "link" else stat.S_IMODE(info.st_mode)
    foreign = owner is not None and info.st_uid != owner
    return json.dumps([path, kind, mode, foreign, content]).encode() + b"\n"


def _hash_file(name: str, folder: int) -> str:
    with os.fdopen(os.open(name, READ, dir_fd=folder), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return ""
        digest = hashlib.sha256()
        for block in iter(lambda: file.read(1 << 16), b""):
            digest.update(block)
        return digest.hexdigest()


def exchange(new: str, old: str) -> None:
    """Swap two folders in one step of the file system: there is no moment without either."""
    libc = ctypes.CDLL(None, use_errno=True)
    paths = os.fsencode(new), os.fsencode(old)
    if libc.renameat2(AT_FDCWD, paths[0], AT_FDCWD, paths[1], RENAME_EXCHANGE) == 0:
        return
    code = ctypes.get_errno()
    if code not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(code, os.strerror(code))
    # A file system that cannot; should it break between the two, the same order resumes.
    os.rename(old, new + ".used")
    os.rename(new, old)
