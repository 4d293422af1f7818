"""A laptop in a folder, on which the tests run the laptop's real scripts."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

FILES = Path(__file__).parents[1] / "ansible" / "roles" / "room_laptop" / "files"
PYTHON = os.environ.get("RAUMWART_LAPTOP_PYTHON", sys.executable)
"""Laptops have older Pythons than we: set it to try the scripts with one."""
ROOT = os.geteuid() == 0
GUEST = 54321 if ROOT else os.getuid()
"""As root the guest is really somebody else, so that root's special powers are in play."""
STEPS = ["prepare", "lock", "sessions", "unmount", "prints", "network", "home", "residue",
         "settings", "alarm", "unlock", "trash"]  # fmt: skip


@contextmanager
def open_folder() -> Iterator[Path]:
    """A new folder into which the guest can go, unlike pytest's."""
    folder = Path(mkdtemp(prefix="raumwart-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        # Python's own removal does not get to the end of what an attacker nests.
        subprocess.run(["rm", "-rf", folder], check=True)


class Machine:
    """The guest's home and places, what must stay untouched, and the scripts run on it all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scripts = FILES
        self.home, self.tmp = folder / "home", folder / "tmp"
        self.victims = folder / "victims"
        for one in ("skeletons/standard/Desktop", "skeletons/senioren", "state", "tmp", "victims"):
            (folder / one).mkdir(parents=True)
        (folder / "skeletons/standard/.bashrc").write_text("# prepared\n")
        (folder / "skeletons/standard/Desktop/open.sh").write_text("echo\n")
        (folder / "skeletons/standard/Desktop/open.sh").chmod(0o755)
        (folder / "skeletons/standard/link").symlink_to("Desktop/open.sh")
        (folder / "skeletons/senioren/GROSS").write_text("")
        (self.victims / "rc").write_text("system\n")
        self.home.mkdir()
        self.give(self.home)
        self.configure()

    def configure(self, **changes: Any) -> None:
        config = {
            "guest": "kurs", "uid": GUEST, "gid": GUEST if ROOT else os.getgid(),
            "home": str(self.home), "skeletons": str(self.folder / "skeletons"),
            "trash": str(self.folder / "trash"), "state": str(self.folder / "state"),
            "places": {"tmp": [str(self.tmp)], "none": [str(self.folder / "nowhere")]},
            "sessions": str(self.folder / "sessions.json"), "serial": "PF-1",
        }  # fmt: skip
        (self.folder / "laptop.json").write_text(json.dumps(config | changes))

    def give(self, *paths: Path) -> None:
        for path in paths:
            os.chown(path, GUEST, GUEST if ROOT else os.getgid(), follow_symlinks=False)

    def give_all(self) -> None:
        """All in home and tmp is the guest's, deep down, without following links."""
        for top in (self.home, self.tmp):
            for folder, folders, files in os.walk(top):
                self.give(*(Path(folder, name) for name in folders + files))

    def command(self, *words: str) -> list[str]:
        config = str(self.folder / "laptop.json")
        return [PYTHON, "-Es", str(self.scripts / "room_command.py"), "--config", config, *words]

    def copy_scripts(self, folder: Path) -> None:
        """From here on the machine runs scripts of its own, which a test may spoil."""
        shutil.copytree(FILES, folder)
        self.scripts = folder

    def spoil(self, script: str, function: str, statement: str) -> None:
        """Let a function of its own scripts begin with this statement."""
        path = self.scripts / script
        head, found, rest = path.read_text().partition(function)
        signature, _, body = rest.partition(":\n")
        assert found
        path.write_text(f"{head}{function}{signature}:\n    {statement}\n{body}")

    def job(self, number: int = 1, **changes: Any) -> str:
        return a_job(number, **changes)

    def run(self, *words: str, job: str = "") -> list[dict[str, Any]]:
        done = subprocess.run(
            self.command(*words), input=job, capture_output=True, text=True, timeout=60, check=False
        )
        assert not done.stderr, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def start(self, number: int = 1, **changes: Any) -> dict[str, Any]:
        return self.run("start", job=a_job(number, **changes))[-1]

    def verify(self, number: int = 1) -> dict[str, Any]:
        return self.run("verify", f"01JRUN.{number}")[-1]

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.folder / "state" / "state.json").read_text())
        return state


def a_job(number: int = 1, **changes: Any) -> str:
    now = datetime.now(UTC)
    job = {
        "v": 1, "reset_id": f"01JRUN.{number}", "sent_at": now.isoformat(),
        "not_before": (now - timedelta(minutes=1)).isoformat(),
        "not_after": (now + timedelta(minutes=1)).isoformat(),
        "next_start": None, "max_runtime_s": 60, "tier": "quick", "serial": "PF-1",
    }  # fmt: skip
    return json.dumps({key: value for key, value in (job | changes).items() if value != ...})
