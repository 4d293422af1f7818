"""Pinned host keys: a file that several threads and processes share, and that never gives in."""

import logging
import resource
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agents.driver import HostKeyChanged, Misconfigured
from agents.ssh.host_keys import HostKeys, fingerprint
from tests.parts import need
from tests.sshd import new_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "host_keys"


ONE, TWO = ("ssh-ed25519", "b25l"), ("ssh-ed25519", "dHdv")


def test_the_first_key_is_pinned_and_every_other_refused(path: Path) -> None:
    keys = HostKeys(path)
    assert keys.find("10.0.0.1", 22) is None
    keys.check("10.0.0.1", 22, *ONE)
    keys.check("10.0.0.1", 22, *ONE)
    with pytest.raises(HostKeyChanged, match="SHA256:"):
        keys.check("10.0.0.1", 22, *TWO)
    with pytest.raises(HostKeyChanged):
        keys.check("10.0.0.1", 22, "ssh-rsa", ONE[1])
    keys.check("10.0.0.1", 2222, *TWO)
    keys.check("fe80::1%eth0", 22, *TWO)
    again = HostKeys(path)
    assert again.find("10.0.0.1", 22) == ONE
    assert again.find("10.0.0.1", 2222) == TWO
    assert again.find("fe80::1%eth0", 22) == TWO
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_each_change_is_told_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = HostKeys(path)
    keys.check("a", 22, *ONE)

    def stranger(kind: str, key: str) -> int:
        with pytest.raises(HostKeyChanged):
            keys.check("a", 22, kind, key)
        return sum(record.levelno == logging.ERROR for record in caplog.records)

    assert stranger(*TWO) == 1
    assert stranger(*TWO) == 1
    assert stranger("ssh-ed25519", "dGhyZWU=") == 2
    keys.check("a", 22, *ONE)
    assert stranger(*TWO) == 3, "it was well in between: this is news"


def test_forgetting_is_seen_by_a_running_agent(path: Path) -> None:
    agent, command = HostKeys(path), HostKeys(path)
    agent.check("a", 22, *ONE)
    agent.check("b", 22, *ONE)
    assert command.forget("a", 22)
    assert not command.forget("a", 22)
    agent.check("a", 22, *TWO)
    with pytest.raises(HostKeyChanged):
        agent.check("b", 22, *TWO)


@pytest.mark.parametrize("content", ["[a]:22 ssh-ed25519", "[a]:x k b25l", "a k b25l", "\xff", "x"])
def test_a_broken_file_pins_nothing_anew(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text("# pinned\n\n[b]:22 ssh-ed25519 b25l\n" + content + "\n", encoding="latin-1")
    keys = HostKeys(path)
    for act in (lambda: keys.check("z", 22, *ONE), lambda: keys.forget("b", 22)):
        with pytest.raises(Misconfigured):
            act()
    assert content in path.read_text(encoding="latin-1")


def test_a_folder_that_cannot_be_written_pins_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file is in the way")
    with pytest.raises(Misconfigured):
        HostKeys(tmp_path / "state" / "host_keys").check("a", 22, *ONE)


def test_a_full_disk_pins_nothing_and_is_not_filled_further(path: Path) -> None:
    keys = HostKeys(path)
    keys.check("a", 22, *ONE)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, unlimited[1]))
    try:
        for _ in range(2):
            with pytest.raises(Misconfigured, match="host key file"):
                keys.check("b", 22, *TWO)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert keys.find("b", 22) is None
    assert sorted(each.name for each in path.parent.iterdir()) == ["host_keys", "host_keys.lock"]
    keys.check("a", 22, *ONE)
    keys.check("b", 22, *TWO)


def test_many_threads_and_processes_lose_nothing(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from agents.ssh.host_keys import HostKeys\n"
        "keys = HostKeys(Path(sys.argv[1]))\n"
        "for n in range(20): keys.check(sys.argv[2], n + 1, 'ssh-ed25519', 'b25l')"
    )
    root = Path(__file__).parents[1]
    others = [
        subprocess.Popen([sys.executable, "-c", code, path, f"process{n}"], cwd=root)
        for n in range(2)
    ]
    keys = HostKeys(path)

    def pin(host: str) -> None:
        for port in range(1, 21):
            keys.check(host, port, *ONE)

    threads = [threading.Thread(target=pin, args=(f"thread{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(20) for other in others] == [0, 0]
    assert len(path.read_text().splitlines()) == 80


def test_ssh_keygen_understands_file_and_fingerprint(path: Path, tmp_path: Path) -> None:
    program = need("ssh-keygen")
    kind, key = new_key(tmp_path / "key").split()
    HostKeys(path).check("10.0.0.1", 2222, kind, key)
    found = subprocess.run(
        [program, "-F", "[10.0.0.1]:2222", "-l", "-f", path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert fingerprint(key) in found.stdout
