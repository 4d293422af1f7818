"""The driver against net-snmp's own agent: v1, v2c and v3."""

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agents.driver import Denied, Unreachable
from agents.drivers.snmp import Snmp
from agents.messages import Facts
from tests.parts import need
from tests.snmp_targets import driver, secret, target
from tests.snmpsim import free_port, listens

__all__ = ["driver"]

AUTH = {"SHA": "SHA"} | {f"SHA{size}": f"SHA-{size}" for size in (224, 256, 384, 512)}
PRIV = {"AES128": "AES", "AES192": "AES-192", "AES256": "AES-256"}
USERS = {
    f"{ours}{secret}".lower(): (ours, secret, theirs, hidden)
    for ours, theirs in AUTH.items()
    for secret, hidden in PRIV.items()  # where the digest is short, the key is stretched
}


@pytest.fixture(scope="module")
def snmpd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    program = need("snmpd")
    folder = tmp_path_factory.mktemp("snmpd")
    lines = ["rocommunity raum 127.0.0.1", "sysName lernraum-pc", "agentXSocket none"]
    for name, (_, _, auth, priv) in USERS.items():
        lines += [
            f"createUser {name} {auth} authentisch {priv} verschluesselt",
            f"rouser {name} authPriv",
        ]
    lines += ["createUser unseen SHA-256 authentisch AES verschluesselt"]
    (folder / "snmpd.conf").write_text("\n".join(lines) + "\n")
    port = free_port()
    command = [
        *(str(program), "-f", "-C", "-c", str(folder / "snmpd.conf"), "-Lf", str(folder / "log")),
        *("-I", "-smux,-agentx", "-p", str(folder / "pid"), f"udp:127.0.0.1:{port}"),
    ]
    environment = {"SNMP_PERSISTENT_DIR": str(folder), "PATH": "/usr/bin:/bin", "MIBS": ""}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not listens(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def look(driver: Snmp, port: int, version: str, credential: str, seconds: float = 10) -> Facts:
    async def scene() -> Facts:
        looking = target(port, version, credential=credential)
        try:
            first = await driver.poll(looking, timedelta(seconds=seconds))
            second = await driver.poll(looking, timedelta(seconds=seconds))
        finally:
            await driver.close()
        assert first.keys() == second.keys()
        return second

    return asyncio.run(scene())


@pytest.mark.parametrize("version", ["1", "2c"])
def test_by_community(
    driver: Snmp, snmpd: int, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret(monkeypatch, "raum", community="raum")
    facts = look(driver, snmpd, version, "raum")
    assert facts["profile"] == "linux-host"
    assert facts["name"] == "lernraum-pc"
    assert facts["memory_total_bytes"] == pytest.approx(memory_fitted(), rel=0.01)
    assert 0 < facts["memory_ratio"] < 1
    assert "serial" not in facts


@pytest.mark.parametrize("name", USERS)
def test_by_user(driver: Snmp, snmpd: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs of a digest and a cipher."""
    user(monkeypatch, name, *USERS[name][:2])
    facts = look(driver, snmpd, "3", name)
    assert facts["name"] == "lernraum-pc"
    assert facts["memory_total_bytes"] == pytest.approx(memory_fitted(), rel=0.01)


def test_what_snmpd_denies(driver: Snmp, snmpd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    user(monkeypatch, "nobody", "SHA256", "AES128")
    user(monkeypatch, "shaaes128", "SHA", "AES128", auth_password="a wrong password")
    user(monkeypatch, "sha512aes128", "SHA512", "AES128", priv_password="a wrong password")
    user(monkeypatch, "unseen", "SHA256", "AES128")  # may sign in, may see nothing
    for name in ("nobody", "shaaes128", "unseen"):
        with pytest.raises(Denied):
            look(driver, snmpd, "3", name)
    # What cannot be decrypted may be answered or dropped; it is never taken for an answer.
    with pytest.raises((Denied, Unreachable)):
        look(driver, snmpd, "3", "sha512aes128", 1)


def test_snmpd_is_silent_to_another_community(
    driver: Snmp, snmpd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret(monkeypatch, "raum", community="another")
    with pytest.raises(Unreachable):
        look(driver, snmpd, "2c", "raum", 0.5)


def user(monkeypatch: pytest.MonkeyPatch, name: str, auth: str, priv: str, **changed: str) -> None:
    parts = {
        "user": name,
        "auth_protocol": auth,
        "auth_password": "authentisch",
        "priv_protocol": priv,
        "priv_password": "verschluesselt",
    }
    monkeypatch.setenv(f"RAUMWART_SECRET_{name.upper()}", json.dumps(parts | changed))


def memory_fitted() -> int:
    line = Path("/proc/meminfo").read_text().split("\n", 1)[0]
    return int(line.split()[1]) * 1024
