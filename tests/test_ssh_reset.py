"""A reset through the SSH driver against a real sshd: its end, and connections lost in between."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.driver import DriverError, Garbled, Misconfigured, NoEnd, Refused, ResetFailed
from tests.sshd import Sshd
from tests.test_ssh import AMPLE, SLACK_S, Desk, an_order, laptop

__all__ = ["laptop"]


END = '{"event":"end","reset_id":"run1.1","result":'


@pytest.mark.parametrize(
    ("end", "error", "text"),
    [
        (END + '"ok"}', None, ""),
        (END + '"refused","reason":"in_use"}', Refused, "in_use"),
        (END + '"failed","reason":"too_long","step":"trash"}', ResetFailed, "too_long: trash"),
        (END + '"perhaps"}', Garbled, "result"),
        (END.replace("run1", "run2") + '"ok"}', Garbled, "another reset"),
        ('{"event":"step","step":"home","status":"ok"}', NoEnd, "no answer"),
        ("", NoEnd, "no answer"),
    ],
)
def test_the_last_line_says_how_it_went(
    laptop: Any, end: str, error: type[DriverError] | None, text: str
) -> None:
    script = f"cat >/dev/null; echo 'Willkommen'; echo '{{\"event\":\"step\"}}'; echo '{end}'"
    limit = timedelta(seconds=2) if error is NoEnd else AMPLE
    with laptop(script) as (desk, _):
        if error is None:
            desk.act()
            return
        with pytest.raises(error) as caught:
            desk.act(limit)
        assert text in str(caught.value)
        if isinstance(caught.value, ResetFailed):
            assert caught.value.step == "trash"


def test_the_job_says_all_that_the_laptop_must_check(laptop: Any, tmp_path: Path) -> None:
    ok = END + '"ok"}'
    with laptop(f"cat > {tmp_path}/job; echo '{ok}'") as (desk, _):
        desk.act(tier="quick", profile="senioren")
        job = json.loads((tmp_path / "job").read_text())
        assert job["v"] == 1
        assert job["reset_id"] == "run1.1"
        assert job["profile"] == "senioren"
        assert job["next_start"] is None
        assert job["max_runtime_s"] == 120
        sent = datetime.fromisoformat(job["sent_at"])
        assert abs(datetime.now(UTC) - sent) < timedelta(seconds=10)
        with pytest.raises(Misconfigured):
            desk.act(reset_id="../../x")


FOLLOWED = """
echo "$SSH_ORIGINAL_COMMAND" >> {folder}/asked
case "$SSH_ORIGINAL_COMMAND" in
start) cat > /dev/null; echo '{{"event":"step","seq":1}}'; echo '{{"event":"step","seq":2}}'
  touch {folder}/begun; sleep 20;;
"follow run1.1 2") {answer};;
esac
"""


def _act_and_lose(desk: Desk, server: Sshd, begun: Path, limit: timedelta) -> None:
    async def lose() -> None:
        order = an_order(tier="quick")
        acting = asyncio.create_task(desk.driver.act(desk.target, order, limit))
        await asyncio.to_thread(_wait_for, begun)
        server.cut()
        await acting

    asyncio.run(lose())


def test_a_lost_connection_is_made_anew_and_heard_on(laptop: Any, tmp_path: Path) -> None:
    script = FOLLOWED.format(folder=tmp_path, answer=f"echo '{END}\"ok\"}}'")
    with laptop(script) as (desk, server):
        _act_and_lose(desk, server, tmp_path / "begun", AMPLE)
    assert (tmp_path / "asked").read_text() == "start\nfollow run1.1 2\n"


@pytest.mark.parametrize("event", ["interrupted", "unknown_reset"])
def test_a_reset_that_nobody_works_on_is_ordered_once_more(
    laptop: Any, tmp_path: Path, event: str
) -> None:
    script = FOLLOWED.format(
        folder=tmp_path, answer=f'echo "{{\\"event\\":\\"{event}\\"}}"; mkdir {tmp_path}/again'
    )
    again = f"test -d {tmp_path}/again && cat >/dev/null && echo '{END}\"ok\"}}' && exit\n"
    with laptop(again + script) as (desk, server):
        _act_and_lose(desk, server, tmp_path / "begun", AMPLE)
    assert (tmp_path / "asked").read_text() == "start\nfollow run1.1 2\n"


def test_a_connection_that_stays_lost_is_no_end(laptop: Any, tmp_path: Path) -> None:
    with laptop(FOLLOWED.format(folder=tmp_path, answer="sleep 20")) as (desk, server):
        began = time.monotonic()
        with pytest.raises(NoEnd):
            _act_and_lose(desk, server, tmp_path / "begun", timedelta(seconds=3))
        assert time.monotonic() - began < 3 + SLACK_S


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def test_an_end_that_comes_too_late_is_no_end(laptop: Any) -> None:
    with laptop("cat >/dev/null; sleep 20") as (desk, _):
        began = time.monotonic()
        with pytest.raises(NoEnd):
            desk.act(timedelta(seconds=1))
        assert time.monotonic() - began < 1 + SLACK_S
