"""A stand-in for a Windows laptop behind a real sshd: its way of files, with the Linux laptop's
reset behind it.

`python -m tests.windows_laptop entry FOLDER` is what the forced command does there: it lays the
request into the inbox and passes the answer on. `Service` is what the scheduled task does.
"""

import json
import os
import re
import sys
import threading
import time
import uuid
from pathlib import Path

from agents.simulator.laptop_folder import LaptopFolder

SCRIPTS = Path(__file__).parents[1] / "ansible" / "roles" / "room_laptop_windows" / "files"


def asked(script: str) -> re.Pattern[str]:
    """The expression by which a script of the role tells what may be asked."""
    (text,) = re.findall(r"^\$Asked = '(.+)'$", (SCRIPTS / script).read_text(), re.MULTILINE)
    return re.compile(text.replace("(?<", "(?P<"))


def entry(folder: Path) -> int:
    line = os.environ.get("SSH_ORIGINAL_COMMAND", "")
    if not asked("entry.ps1").search(line):
        print('{"event":"end","result":"refused","reason":"bad_request"}')
        return 64
    job = sys.stdin.read(16385) if line == "start" else ""
    name = uuid.uuid4().hex
    fresh = folder / "inbox" / f"{name}.json.new"
    fresh.write_text(json.dumps({"v": 1, "asked": line, "job": job}))
    fresh.rename(fresh.with_suffix(""))
    answer, end, said = folder / "outbox" / f"{name}.jsonl", folder / "outbox" / f"{name}.end", 0
    while True:
        over = end.exists()
        if answer.exists():
            text = answer.read_bytes()[said:]
            said += len(text)
            sys.stdout.buffer.write(text)
            sys.stdout.flush()
        if over:
            return 0
        time.sleep(0.05)


class Service:
    """Takes requests out of the inbox, one after the other. `requests`: what was asked."""

    def __init__(self, folder: Path, laptop: LaptopFolder) -> None:
        self._folder, self._laptop = folder, laptop
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.requests: list[str] = []
        for part in ("inbox", "outbox"):
            (folder / part).mkdir()

    def __enter__(self) -> "Service":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _serve(self) -> None:
        while not self._over.wait(0.05):
            for path in sorted((self._folder / "inbox").glob("*.json")):
                request = json.loads(path.read_text())
                path.unlink()
                self.requests.append(request["asked"])
                answer, _ = self._laptop.obey(
                    request["asked"],
                    request["job"].encode(),
                    in_use=False,
                    leaves_traces=False,
                    wrong_serial=False,
                )
                (self._folder / "outbox" / f"{path.stem}.jsonl").write_bytes(answer)
                (self._folder / "outbox" / f"{path.stem}.end").touch()


if __name__ == "__main__":
    sys.exit(entry(Path(sys.argv[2])))
