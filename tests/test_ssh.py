"""The SSH driver against a real sshd whose forced command behaves as badly as a device may."""

import asyncio
import json
import logging
import shlex
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.credentials import Credentials
from agents.driver import (
    Denied,
    DriverError,
    Garbled,
    HostKeyChanged,
    Misconfigured,
    MissingCredential,
    NoEnd,
    TimedOut,
    Unreachable,
    WrongDevice,
)
from agents.drivers.ssh import Ssh
from agents.messages import Order, Target
from tests.sshd import USER, Sshd, new_key, sshd

AMPLE = timedelta(seconds=10)
SLACK_S = 0.5
"""What a busy machine may add to a deadline."""
HEALTH = {"v": 1, "now": 0.0, "model": "M", "serial": "S1", "battery_ratio": 0.5, "plugged": None}
GOOD = f"echo {shlex.quote(json.dumps(HEALTH))}"


class Desk:
    """A driver with one key, and a target."""

    def __init__(self, folder: Path, port: int, **secret: str) -> None:
        self.folder = folder
        (folder / "credentials").mkdir(exist_ok=True)
        self.credential(**(secret or {"user": USER, "key_file": str(folder / "key")}))
        self.driver = Ssh(Credentials(folder / "credentials"), folder / "state")
        self.target = Target(
            device="d", room="r", kind="laptop", driver="ssh",
            address="127.0.0.1", port=port, credential="laptop",
        )  # fmt: skip

    def credential(self, **parts: str) -> None:
        path = self.folder / "credentials" / "laptop.json"
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(parts))

    def poll(self, timeout: timedelta = AMPLE, **changes: Any) -> dict[str, Any]:
        target = self.target.model_copy(update=changes)
        return self.run(lambda: self.driver.poll(target, timeout))

    def act(self, timeout: timedelta = AMPLE, reset_id: str = "run1.1", **steps: Any) -> None:
        order = an_order(reset_id, **(steps or {"tier": "quick"}))
        self.run(lambda: self.driver.act(self.target, order, timeout))

    def run(self, what: Callable[[], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            return await what()

        return asyncio.run(main())


def an_order(reset_id: str = "run1.1", **steps: Any) -> Order:
    now = datetime.now(UTC)
    return Order(
        id=reset_id, site="s", device="d", room="r", steps=steps,
        not_before=now - timedelta(minutes=1), not_after=now + timedelta(minutes=5),
    )  # fmt: skip


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a laptop whose forced command is the given shell script, and a desk for it."""
    public = new_key(tmp_path / "key")

    @contextmanager
    def opened(script: str, **options: Any) -> Iterator[tuple[Desk, Sshd]]:
        program = tmp_path / "forced"
        program.write_text(script)
        with sshd(tmp_path, f"sh {program}", public, **options) as server:
            desk = Desk(tmp_path, server.port)
            try:
                yield desk, server
            finally:
                asyncio.run(desk.driver.close())

    before = threading.enumerate()  # of another test, perhaps
    yield opened
    no_threads_left(before)


def no_threads_left(before: Sequence[threading.Thread]) -> None:
    for _ in range(500):
        threads = [one for one in threading.enumerate() if one not in before]
        left = [one for one in threads if one.name.startswith(("ssh_", "Thread"))]
        if not left:
            return
        time.sleep(0.02)
    raise AssertionError(left)


def test_health_becomes_facts_and_null_is_left_out(laptop: Any) -> None:
    with laptop(GOOD) as (desk, _):
        facts = desk.poll()
    assert facts.pop("clock_offset_s") < -1e9
    assert facts == {"model": "M", "serial": "S1", "battery_ratio": 0.5}


def test_it_asks_for_one_verb_and_nothing_else(laptop: Any, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    with laptop(f'echo "$SSH_ORIGINAL_COMMAND" >> {asked}\n{GOOD}') as (desk, _):
        desk.poll()
        with pytest.raises(Garbled):
            desk.run(lambda: desk.driver.look(desk.target, an_order(tier="quick"), AMPLE))
        order = an_order("x; rm -rf /", tier="quick")
        with pytest.raises(Misconfigured):
            desk.run(lambda: desk.driver.look(desk.target, order, AMPLE))
    assert asked.read_text() == "health\nverify run1.1\n"


def test_a_banner_before_the_answer_is_tolerated(laptop: Any) -> None:
    banner = 'echo "Willkommen! {no json}"; echo \'{"v": 7}\'; echo "[1]"; printf "\\377\\376\\n"\n'
    with laptop(banner + GOOD) as (desk, _):
        assert desk.poll()["model"] == "M"


def test_another_serial_number_is_another_device(laptop: Any) -> None:
    with laptop(GOOD) as (desk, _):
        assert desk.poll(serial=" s1 ")["serial"] == "S1"
        with pytest.raises(WrongDevice):
            desk.poll(serial="S2")


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("exit 0", Garbled),
        ("echo not json", Garbled),
        ('echo "sudo: a password is required" >&2; exit 1', Garbled),
        ('printf \'{"v": 1, "now": 1\'', Garbled),
        ('echo \'{"v": 1, "now": 1, "battery_ratio": 50}\'', Garbled),
        ('echo \'{"v": 1, "now": 1, "sessions": true}\'', Garbled),
        ('echo \'{"v": 1, "now": NaN}\'', Garbled),
        ("echo '{\"v\": 1}'", Garbled),
        ("yes", Garbled),
        ("cat /dev/zero", Garbled),
        ("sleep 20", TimedOut),
        ("cat /dev/zero >&2", TimedOut),
        ("trap '' TERM HUP PIPE; printf '{'; sleep 20", TimedOut),
        ("kill -9 $PPID; sleep 20", Unreachable),
    ],
)
def test_bad_answers_end_in_time_and_by_name(
    laptop: Any, script: str, error: type[DriverError]
) -> None:
    limit = timedelta(seconds=1.5) if issubclass(error, TimedOut) else AMPLE
    with laptop(script) as (desk, _):
        began = time.monotonic()
        with pytest.raises(error) as caught:
            desk.poll(limit)
        assert time.monotonic() - began < limit.total_seconds() + SLACK_S
        assert type(caught.value) is error
        if "sudo" in script:
            assert "a password is required" in str(caught.value)


def test_a_wrong_key_is_denied(laptop: Any, tmp_path: Path) -> None:
    with laptop(GOOD) as (desk, _):
        new_key(tmp_path / "other")
        desk.credential(user=USER, key_file=str(tmp_path / "other"))
        with pytest.raises(Denied):
            desk.poll()
        desk.credential(user=USER, password="guessed")
        with pytest.raises(Denied):
            desk.poll()


def test_every_form_of_key_opens(laptop: Any, tmp_path: Path) -> None:
    with laptop(GOOD) as (desk, _):
        text = (tmp_path / "key").read_text()
        desk.credential(user=USER, key=text)
        assert desk.poll()
        loaded = pem.load_ssh_private_key(text.encode(), None)
        plain = (pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
        desk.credential(user=USER, key=loaded.private_bytes(*plain).decode())
        assert desk.poll()


def test_an_rsa_key_opens(tmp_path: Path) -> None:
    public = new_key(tmp_path / "key", "rsa")
    with sshd(tmp_path, f"sh -c {shlex.quote('cat ' + str(tmp_path / 'h'))}", public) as server:
        (tmp_path / "h").write_text(json.dumps(HEALTH))
        desk = Desk(tmp_path, server.port)
        assert desk.poll()["model"] == "M"
        asyncio.run(desk.driver.close())


@pytest.mark.parametrize("what", ["missing", "open", "encrypted", "nonsense", "no user", "no key"])
def test_a_credential_that_cannot_be_used_is_missing(
    laptop: Any, tmp_path: Path, what: str
) -> None:
    with laptop(GOOD) as (desk, _):
        key = tmp_path / "key"
        if what == "missing":
            desk.credential(user=USER, key_file=str(tmp_path / "nowhere"))
        elif what == "open":
            key.chmod(0o644)
        elif what == "encrypted":
            locked = Ed25519PrivateKey.generate().private_bytes(
                pem.Encoding.PEM, pem.PrivateFormat.OpenSSH, pem.BestAvailableEncryption(b"x")
            )
            desk.credential(user=USER, key=locked.decode())
        elif what == "nonsense":
            desk.credential(user=USER, key="-----BEGIN PRIVATE KEY-----\nsecret-text\n")
        elif what == "no user":
            desk.credential(key_file=str(key))
        else:
            desk.credential(user=USER)
        with pytest.raises(MissingCredential) as caught:
            desk.poll()
        assert "secret-text" not in str(caught.value)


def test_a_changed_host_key_is_refused_loudly_and_once(
    laptop: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = tmp_path / "asked"
    script = f"echo x >> {asked}\n{GOOD}"
    with laptop(script) as (desk, first):
        desk.poll()
        port = first.port
    new_key(tmp_path / "host_key")
    with laptop(script) as (_, second):
        moved = (tmp_path / "state" / "host_keys").read_text().replace(str(port), str(second.port))
        (tmp_path / "state" / "host_keys").write_text(moved)
        desk = Desk(tmp_path, second.port)
        for _ in range(3):
            with pytest.raises(HostKeyChanged):
                desk.poll()
        loud = [one for one in caplog.records if one.levelno == logging.ERROR]
        assert len(loud) == 1
        assert "HOST KEY CHANGED" in loud[0].message
        assert asked.read_text() == "x\n", "nothing was asked of the stranger"
        assert desk.driver.host_keys.forget("127.0.0.1", second.port)
        assert desk.poll()
        asyncio.run(desk.driver.close())


def test_the_pinned_kind_of_key_is_asked_for(laptop: Any, tmp_path: Path) -> None:
    """A server that gets a second, nicer key is still the same one."""
    new_key(tmp_path / "host_key", "rsa")
    with laptop(GOOD) as (desk, _):
        desk.poll()
        assert " ssh-rsa " in (tmp_path / "state" / "host_keys").read_text()
    new_key(tmp_path / "second_key")
    with laptop(GOOD, settings=f"HostKey {tmp_path / 'second_key'}") as (_, server):
        pinned = tmp_path / "state" / "host_keys"
        pinned.write_text(pinned.read_text().replace(str(desk.target.port), str(server.port)))
        again = Desk(tmp_path, server.port)
        assert again.poll()
        asyncio.run(again.driver.close())


def test_before_the_job_was_sent_nothing_is_unknown(laptop: Any) -> None:
    with laptop(GOOD) as (desk, server):
        server.process.kill()
        server.process.wait()
        with pytest.raises(Unreachable) as caught:
            desk.act()
        assert not isinstance(caught.value, NoEnd)


def test_hanging_laptops_do_not_hold_up_the_others(laptop: Any, tmp_path: Path) -> None:
    """A script that hangs for every second caller."""
    script = f"mkdir {tmp_path}/turn 2>/dev/null && sleep 20\nrmdir {tmp_path}/turn\n{GOOD}"

    async def many(desk: Desk) -> list[Any]:
        polls = [desk.driver.poll(desk.target, timedelta(seconds=4)) for _ in range(12)]
        return await asyncio.gather(*polls, return_exceptions=True)

    with laptop(script) as (desk, _):
        results = asyncio.run(many(desk))
    assert sum(isinstance(one, dict) for one in results) >= 4
    assert all(isinstance(one, dict | TimedOut) for one in results), results


def test_many_long_resets_hold_up_no_look(laptop: Any, tmp_path: Path) -> None:
    """An agent of several sites: thirty resets in each, and each of them takes minutes."""

    async def play(desk: Desk) -> None:
        silent = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        deaf = desk.target.model_copy(update={"port": silent.sockets[0].getsockname()[1]})
        job = an_order(tier="quick")
        acts = [asyncio.create_task(desk.driver.act(deaf, job, 6 * AMPLE)) for _ in range(90)]
        try:
            await asyncio.sleep(1)
            await desk.driver.poll(desk.target, AMPLE / 2)
        finally:
            for act in acts:
                act.cancel()
            await asyncio.gather(*acts, return_exceptions=True)
            silent.close()

    with laptop(GOOD) as (desk, _):
        desk.run(lambda: play(desk))
