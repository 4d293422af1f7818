"""Headers on every answer, no endless bodies, limits that forget, and closed metrics."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.testclient import TestClient

from fleet.security import MAX_BODY, Guard, RateLimit, may_scrape
from fleet.settings import Settings


def client(tmp_path: Path, *, address: str = "127.0.0.1", token: str = "") -> TestClient:
    app = FastAPI()
    app.state.settings = Settings(home=tmp_path, metrics_token=token)

    @app.get("/metrics", dependencies=[Depends(may_scrape)])
    def metrics() -> str:
        return "up 1"

    @app.post("/body")
    async def body(request: Request) -> int:
        return len(await request.body())

    app.add_middleware(Guard, https=True)
    return TestClient(app, client=(address, 4711))


def test_every_answer_carries_the_headers(tmp_path: Path) -> None:
    for path in ("/metrics", "/nowhere"):
        headers = client(tmp_path).get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["strict-transport-security"]
        assert headers["cache-control"] == "no-store"


def test_a_body_that_is_too_large_is_refused(tmp_path: Path) -> None:
    server = client(tmp_path)
    assert server.post("/body", content=b"x" * MAX_BODY).json() == MAX_BODY
    assert server.post("/body", content=b"x" * (MAX_BODY + 1)).status_code == 413


@pytest.mark.parametrize("address", ["10.1.2.3", "203.0.113.9", "::ffff:10.0.0.1", "testclient"])
def test_metrics_are_closed_from_elsewhere(tmp_path: Path, address: str) -> None:
    assert client(tmp_path, address=address).get("/metrics").status_code == 403


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1"])
def test_metrics_are_open_on_loopback(tmp_path: Path, address: str) -> None:
    assert client(tmp_path, address=address).get("/metrics").status_code == 200


def test_a_proxy_on_loopback_opens_nothing(tmp_path: Path) -> None:
    for name in ("X-Forwarded-For", "Forwarded"):
        answer = client(tmp_path).get("/metrics", headers={name: "203.0.113.9"})
        assert answer.status_code == 403


def test_the_token_opens_metrics_and_nothing_else_does(tmp_path: Path) -> None:
    server = client(tmp_path, address="10.1.2.3", token="let-prometheus-in")
    assert server.get("/metrics").status_code == 403
    for sent, status in (
        ("Bearer wrong", 403),
        ("Bearer let-prometheus-in", 200),
        ("Bearer ", 403),
    ):
        assert server.get("/metrics", headers={"Authorization": sent}).status_code == status


def test_a_rate_limit_counts_each_key_and_forgets(now: datetime) -> None:
    limit = RateLimit(3, timedelta(hours=1))
    assert [limit.allow("a", now) for _ in range(4)] == [True, True, True, False]
    assert limit.allow("b", now)
    assert not limit.allow("a", now + timedelta(minutes=59))
    assert limit.allow("a", now + timedelta(minutes=61))


def test_a_rate_limit_does_not_grow_without_end(now: datetime) -> None:
    limit = RateLimit(1, timedelta(seconds=10))
    for number in range(10_050):
        limit.allow(str(number), now)
    limit.allow("later", now + timedelta(minutes=1))
    assert len(limit._seen) < 10
