"""The real programs some tests need. On a bare machine those tests are skipped, with the reason;
where `RAUMWART_ALL_PARTS` is set (the CI does) a missing part is a failure."""

import os
import shutil
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

SEARCH = os.pathsep.join(
    [
        os.environ.get("PATH", ""),
        str(Path(sys.executable).parent),
        *("/usr/sbin", "/sbin", "/usr/local/sbin"),
        *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True),
    ]
)


def find(program: str) -> Path | None:
    """Where the program is, also in folders that are not on everybody's PATH."""
    found = shutil.which(program, path=SEARCH)
    return Path(found) if found else None


def need(program: str) -> Path:
    """The program's path; skips the calling test (or module) when it is not installed."""
    found = find(program)
    if found:
        return found
    reason = f"{program} is not installed"
    if os.environ.get("RAUMWART_ALL_PARTS"):
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)


def need_module(name: str) -> ModuleType:
    """The Python package of somebody else that a test compares us with; skips without it."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        reason = f"the Python package {name} is not installed"
    if os.environ.get("RAUMWART_ALL_PARTS"):
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)
