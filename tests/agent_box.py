"""A site's machine that Ansible looks after over SSH, and the wheel that is installed there."""

import json
import os
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Any

from tests.machine import Machine
from tests.parts import need
from tests.sshd import new_key

ROOT = Path(__file__).parents[1]
UNIT = "/etc/systemd/system/raumwart-agent.service"
COMMUNITY, PASSWORD = "c0mmunity-of-the-switch", "p4ssword-of-the-bus"


def build_wheel(folder: Path) -> Path:
    """This project's wheel. What npm and the pages' parts leave behind lies in the tree it is
    built from, so that it is seen whether that is shipped."""
    tree = folder / "raumwart"
    unwanted = shutil.ignore_patterns(".*", "build", "var", "node_modules", "*.egg-info", "vendor")
    shutil.copytree(ROOT, tree, ignore=unwanted)
    for left in ("node_modules/x/python/x.py", "node_modules/x/x.js", "static/vendor/x.woff2"):
        path = tree / "dashboards" / left
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"),
            *("--no-build-isolation", "--wheel-dir", folder, tree),
        ],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


def _anybody_may(command: list[str]) -> bool:
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    done = subprocess.run([*nobody, *command], check=False, stderr=subprocess.DEVNULL)
    return done.returncode == 0


def _python_for_all() -> str:
    """A Python of this version that every account may run and that makes virtual environments."""
    own = f"python3.{sys.version_info.minor}"
    for path in (os.path.realpath(sys.executable), f"/usr/bin/{own}", f"/usr/local/bin/{own}"):
        asked = [path, "-c", "import ensurepip"]
        if Path(path).exists() and _anybody_may(asked):
            return path
    return str(need(f"{own} for every account"))


class Box(Machine):
    """A site's machine, and the one from which Ansible looks after it."""

    def __init__(self, folder: Path, wheel: Path, bus: str) -> None:
        for part in ("ssh", "setpriv"):
            need(part)
        self._folder = folder
        python = _python_for_all()
        super().__init__()
        (folder / "authorized").write_text(new_key(folder / "key") + "\n")
        host = new_key(folder / "host")
        port = self.serve(
            f"-f /dev/null -h {folder / 'host'} -o AuthorizedKeysFile={folder / 'authorized'}"
            " -o StrictModes=no -o UsePAM=no -o PasswordAuthentication=no"
            " -o PermitRootLogin=prohibit-password -o SetEnv=HOME=/mnt/root"
            " -o 'Subsystem sftp internal-sftp'"
        )
        (folder / "known").write_text(f"[127.0.0.1]:{port} {host}\n")
        about = {
            "ansible_host": "127.0.0.1",
            "ansible_port": port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(folder / "key"),
            "ansible_python_interpreter": sys.executable,
            "agent_site": "erlental",
            "agent_bus": bus,
            "agent_package": str(wheel),
            "agent_pip_arguments": "--no-deps --no-index --no-cache-dir",
            "agent_python": python,
            "agent_packages": [],
            "agent_credentials": {"switches": {"community": COMMUNITY}},
            "agent_bus_credentials": {"user": "erlental", "password": PASSWORD},
            "agent_start": False,
        }
        self._hosts = folder / "hosts.json"
        self._hosts.write_text(json.dumps({"agents": {"hosts": {"box": about}}}))

    def play(self, **change: Any) -> subprocess.CompletedProcess[str]:
        """Apply `site.yml`, as talkative as for an operator who looks for a mistake."""
        known = f"-o UserKnownHostsFile={self._folder / 'known'} -o StrictHostKeyChecking=yes"
        return subprocess.run(
            [
                *(sys.executable, "-m", "ansible", "playbook", "-i", self._hosts, "-vvv", "--diff"),
                *("-e", json.dumps(change), ROOT / "ansible" / "site.yml"),
            ],
            capture_output=True, text=True, timeout=200, check=False,
            env=os.environ | {
                "HOME": str(self._folder), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_PIPELINING": "1",
                "ANSIBLE_SSH_ARGS": f"-F none {known} -o ControlMaster=auto -o ControlPersist=20s",
            },
        )  # fmt: skip

    def unit(self) -> ConfigParser:
        """The unit file, taken apart."""
        parsed = ConfigParser(interpolation=None, strict=True)
        parsed.optionxform = str  # type: ignore[assignment, method-assign]
        parsed.read_string(self.sh(f"cat {UNIT}"))
        return parsed
