"""What comes from a device that speaks no SSH, or SSH and nonsense."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.driver import DriverError, Garbled, TimedOut, Unreachable
from agents.facts import FACTS
from agents.messages import Target
from agents.ssh.answers import Health, Verified, health_facts, judge_end, verified_facts
from tests.test_ssh import AMPLE, Desk, no_threads_left


@contextmanager
def a_raw_server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                talk(connection)

        thread = threading.Thread(target=serve, name="raw")
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


def _flood(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 65536)


def _drip(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"S")
        time.sleep(0.05)


def _say(words: bytes) -> Callable[[socket.socket], None]:
    def say(connection: socket.socket) -> None:
        connection.sendall(words)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass

    return say


@pytest.mark.parametrize(
    ("talk", "error"),
    [
        (_flood, Garbled),
        (_drip, TimedOut),
        (lambda connection: connection.close(), Unreachable),
        (_say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Garbled),
        (_say(b"SSH-1.5-Old\r\n"), Garbled),
        (_say(b"SSH-2.0-X\r\n" + b"\xff" * 4096), Garbled),
    ],
    ids=["flood", "drip", "close", "http", "ssh1", "noise"],
)
def test_what_is_not_ssh(
    tmp_path: Path, talk: Callable[[socket.socket], None], error: type[DriverError]
) -> None:
    before = threading.enumerate()
    with a_raw_server(talk) as port:
        desk = Desk(tmp_path, port, user="u", password="p")
        try:
            with pytest.raises(error) as caught:
                desk.poll(timedelta(seconds=2) if error is TimedOut else AMPLE)
            assert type(caught.value) is error
        finally:
            asyncio.run(desk.driver.close())
    no_threads_left(before)


def test_the_deadline_is_told_as_one_however_late_it_is_noticed(tmp_path: Path) -> None:
    """A busy machine looks at its clocks late and in any order."""
    before = threading.enumerate()
    with a_raw_server(_drip) as port:
        desk = Desk(tmp_path, port, user="u", password="p")

        async def poll_while_busy() -> None:
            polling = asyncio.create_task(desk.driver.poll(desk.target, timedelta(seconds=0.4)))
            await asyncio.sleep(0.05)
            time.sleep(1.2)  # noqa: ASYNC251 nothing else gets its turn
            with pytest.raises(TimedOut):
                await polling
            await desk.driver.close()

        asyncio.run(poll_while_busy())
    no_threads_left(before)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
ANSWER = st.dictionaries(
    st.sampled_from([*Health.model_fields, *Verified.model_fields, "result", "reason", "detail"]),
    JSON,
    max_size=12,
)


@given(ANSWER)
def test_no_answer_brings_us_down_or_gives_unknown_facts(answer: dict[str, Any]) -> None:
    target = Target(device="d", room="r", kind="laptop", driver="ssh", address="x", serial="S1")
    for facts in (health_facts, verified_facts):
        with suppress(DriverError):
            assert set(facts(answer, target)) <= set(FACTS)
    with suppress(DriverError):
        judge_end(answer, "run1.1")


def test_every_field_is_a_fact() -> None:
    assert set(Health.model_fields) - {"now"} <= set(FACTS)
    assert set(Verified.model_fields) - {"now", "counts"} <= set(FACTS)
