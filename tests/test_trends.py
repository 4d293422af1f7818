"""Trouble to come: foretold where the past speaks, and nowhere else."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import select

from fleet.health.trends import AHEAD, due, predict, search
from inventory import Device, DeviceKind, DeviceState, Health, Prediction, Reading
from inventory.db import reading, session
from tests.rows import device, make_region

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def line(
    start: float, per_day: float, days: int, noise: float = 0.0
) -> list[tuple[datetime, float]]:
    chance = Random(1)
    return [
        (NOW - days * DAY + n * HOUR, start + per_day * n / 24 + chance.uniform(-noise, noise))
        for n in range(days * 24)
    ]


def test_toner_that_goes_down_is_foretold() -> None:
    at = due(line(0.5, -0.02, 20, noise=0.005), 0.05, rising=False, now=NOW)
    assert at is not None
    assert abs(at - (NOW + 2.5 * DAY)) < DAY


def test_a_new_cartridge_begins_anew() -> None:
    old = [(at - 10 * DAY, value) for at, value in line(0.3, -0.02, 10)]
    new = line(1.0, -0.03, 10)
    at = due([*old, *new], 0.05, rising=False, now=NOW)
    assert at is not None
    assert abs(at - (NOW + (1.0 - 0.3 - 0.05) / 0.03 * DAY)) < DAY


@pytest.mark.parametrize(
    ("samples", "limit", "rising"),
    [
        (line(0.5, 0.0, 20), 0.05, False),
        (line(0.5, 0.01, 20), 0.05, False),
        (line(0.5, -0.001, 20), 0.05, False),
        (line(0.5, -0.02, 2), 0.05, False),
        (line(0.04, -0.001, 20), 0.05, False),
        (line(0.5, -0.0001, 20, noise=0.2), 0.05, False),
        (line(0.96, 0.001, 20), 0.95, True),
        ([], 0.95, True),
        (line(0.5, 0.02, 20)[:5], 0.95, True),
    ],
    ids=["still", "other way", "far away", "too short", "there already", "noise", "full", "none",
         "few"],
)  # fmt: skip
def test_nothing_is_foretold(
    samples: list[tuple[datetime, float]], limit: float, rising: bool
) -> None:
    assert due(samples, limit, rising=rising, now=NOW) is None


points = st.tuples(st.integers(0, 720), st.floats(-1e12, 1e12))
pasts = st.lists(points, max_size=60).map(
    lambda found: [(NOW - hour * HOUR, value) for hour, value in sorted(found, reverse=True)]
)


@given(pasts, st.floats(-1e6, 1e6), st.booleans())
def test_whatever_the_past_was(
    samples: list[tuple[datetime, float]], limit: float, rising: bool
) -> None:
    at = due(samples, limit, rising=rising, now=NOW)
    assert at is None or NOW <= at <= NOW + AHEAD


def test_a_lamp_only_by_a_threshold() -> None:
    past = {"lamp_s": line(3_000_000, 8 * 3600, 20)}
    assert not list(predict(DeviceKind.PROJECTOR, past, {}, NOW))
    ((code, at),) = predict(DeviceKind.PROJECTOR, past, {"lamp_old": 4_000_000}, NOW)
    assert code == "lamp_worn_soon"
    assert NOW + 10 * DAY < at < NOW + 20 * DAY


def test_each_device_once_a_day(engine: Engine) -> None:
    make_region(engine, device("printer", "library", DeviceKind.PRINTER))
    with session(engine) as opened:
        opened.add(DeviceState(device_id="printer", taken_at=NOW, reachable=True, health=Health.OK))
        opened.add_all(
            Reading(device_id="printer", taken_at=at, reachable=True, facts={"supply_ratio": value})
            for at, value in line(0.5, -0.02, 20)[::6]
        )
    assert search(engine, NOW) == 1
    assert search(engine, NOW + 23 * HOUR) == 0
    with reading(engine) as opened:
        (found,) = opened.exec(select(Prediction)).all()
        assert (found.device_id, found.code) == ("printer", "supply_empty_soon")
    with session(engine) as opened:  # somebody put a full cartridge in
        opened.add(
            Reading(
                device_id="printer", taken_at=NOW + HOUR, reachable=True,
                facts={"supply_ratio": 1.0, "pages": "x"},
            )
        )  # fmt: skip
    assert search(engine, NOW + 25 * HOUR) == 1
    with session(engine) as opened:
        assert not opened.exec(select(Prediction)).all()
        opened.delete(opened.get_one(Device, "printer"))
