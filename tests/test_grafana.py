"""Prometheus and Grafana files: rules that promtool takes and that fire when they should, and every
panel's query against a real Prometheus that scrapes the running demo."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fleet.demo import free_port
from tests.parts import need

ROOT = Path(__file__).parents[1]
RULES = ROOT / "dashboards/prometheus"
BOARDS = sorted((ROOT / "dashboards/grafana/boards").glob("*.json"))
VARIABLES = {"$site": ".*", "$room": "wiesbrunn-digitalwerkstatt", "$device": "DEVICE"}
MAY_BE_EMPTY = {
    "Verspätete Abfragen je Minute": "nothing is late",
    "Geräte, die ein Kurs braucht und die fehlen": "nothing may be missing yet",
    "Bewiesen, letzte 24 Stunden": "no reset may have ended yet",
    "Dauer eines Resets (95 von 100 sind schneller)": "no reset may have ended yet",
    "Ohne Beweis je Stunde, nach Grund": "nothing may have failed",
    "Ergebnis nach Gründlichkeit, letzte 7 Tage": "no reset may have ended yet",
    "Meldungen, letzte 30 Tage": "nobody may have reported anything",
    "Nachweise zuletzt versiegelt": "the first seal comes within an hour",
    "Reset zuletzt bewiesen": "no reset may have ended yet",
    "Seit dem letzten bewiesenen Reset": "no reset may have ended yet",
}


def panels(board: Path) -> Iterator[dict[str, Any]]:
    yield from (p for p in json.loads(board.read_text())["panels"] if p["type"] != "row")


def test_promtool_takes_the_rules_and_they_fire_when_they_should() -> None:
    promtool = need("promtool")
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(
            [promtool, *command], cwd=RULES, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_proved_to_fire_and_to_stay_silent() -> None:
    """At least one case in which it fires; who is held back by another exists."""
    rules = yaml.safe_load((RULES / "alerts.yml").read_text())
    alerts = {rule["alert"]: rule for group in rules["groups"] for rule in group["rules"]}
    cases = yaml.safe_load((RULES / "alerts_test.yml").read_text())["tests"]
    fires = {
        one["alertname"] for case in cases for one in case["alert_rule_test"] if one["exp_alerts"]
    }
    assert set(alerts) == fires
    assert {rule["labels"]["severity"] for rule in alerts.values()} == {"page", "ticket", "none"}
    manager = yaml.safe_load((RULES / "alertmanager.yml").read_text())
    said = " ".join(
        matcher
        for rule in manager["inhibit_rules"]
        for matcher in (*rule["source_matchers"], *rule["target_matchers"])
    )
    named = set(re.findall(r"[A-Z][A-Za-z]+", said))
    assert named
    assert named <= set(alerts)
    receivers = {one["name"] for one in manager["receivers"]}
    routes = [manager["route"], *manager["route"]["routes"]]
    assert {route["receiver"] for route in routes} <= receivers


def test_promtool_takes_the_configuration(tmp_path: Path) -> None:
    promtool = need("promtool")
    shutil.copy(RULES / "alerts.yml", tmp_path)
    config = yaml.safe_load((RULES / "prometheus.yml").read_text())
    secret = tmp_path / "metrics_token"
    secret.write_text("token")
    config["scrape_configs"][0]["authorization"]["credentials_file"] = str(secret)
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    subprocess.run(
        [promtool, "check", "config", tmp_path / "prometheus.yml"], check=True, capture_output=True
    )


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_every_panel_has_a_place_of_its_own_and_a_title(board: Path) -> None:
    taken: set[tuple[int, int]] = set()
    content = json.loads(board.read_text())
    assert content["timezone"] == "Europe/Berlin"
    assert len({panel["id"] for panel in content["panels"]}) == len(content["panels"])
    for panel in content["panels"]:
        grid = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert panel["title"]
        assert grid["x"] + grid["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_compose_names_what_is_there() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    default = [name for name, one in compose["services"].items() if "profiles" not in one]
    assert default == ["raumwart"], "by default the service alone"
    assert {"postgres", "prometheus", "grafana"} < set(compose["services"])
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
            elif not source.startswith("$"):
                assert source in compose["volumes"], source
    text = (ROOT / "docker-compose.yml").read_text()
    assert not re.search(r"PASSWORD: [^$\s]", text), "no password is written down"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, str]]:
    """A Prometheus that has scraped the demo for a while, and the demo's address."""
    program = need("prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    port, own = free_port(28080), free_port(29090)
    config = {
        "scrape_configs": [
            {
                "job_name": "raumwart",
                "scrape_interval": "3s",  # also the time limit of one scrape
                "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
            }
        ],
        "rule_files": [str(RULES / "alerts.yml")],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    demo = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from fleet.cli import main; main()",
            "demo",
            "--devices",
            "60",
            "--port",
            str(port),
            "--folder",
            str(folder / "demo"),
        ],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "100"},
    )
    scraper = subprocess.Popen(
        [
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{own}",
            "--log.level=error",
        ],
    )
    try:
        client = httpx.Client(base_url=f"http://127.0.0.1:{own}", timeout=10)
        wait_until_known(client, "raumwart_device_up == 1", 50)
        wait_until_known(client, "rate(raumwart_device_in_bytes_total[1m])", 2)
        yield client, f"http://127.0.0.1:{port}"
        client.close()
    finally:
        for process in (scraper, demo):
            process.terminate()
            process.wait(15)


def query(client: httpx.Client, expression: str) -> list[dict[str, Any]]:
    said = client.get("/api/v1/query", params={"query": expression})
    if said.status_code == httpx.codes.SERVICE_UNAVAILABLE:  # it is still starting
        return []
    answer = said.json()
    assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def wait_until_known(client: httpx.Client, expression: str, count: int) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            if len(query(client, expression)) >= count:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, f"Prometheus never knew {count} of {expression}"
        time.sleep(0.5)


def test_every_panels_query_finds_something(prometheus: tuple[httpx.Client, str]) -> None:
    client, _ = prometheus
    devices = [row["metric"]["device"] for row in query(client, "raumwart_device_up")]
    empty = []
    for board in BOARDS:
        for panel in panels(board):
            found = 0
            for target in panel["targets"]:
                for device in devices if "$device" in target["expr"] else [""]:
                    expression = target["expr"]
                    for name, value in {**VARIABLES, "$device": device}.items():
                        expression = expression.replace(name, value)
                    found += len(query(client, expression))
            if not found and panel["title"] not in MAY_BE_EMPTY:
                empty.append(f"{board.stem}: {panel['title']}")
    assert not empty


def test_every_variable_finds_its_values(prometheus: tuple[httpx.Client, str]) -> None:
    client, _ = prometheus
    for board in BOARDS:
        for variable in json.loads(board.read_text())["templating"]["list"]:
            if variable["type"] != "query":
                continue
            match = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"])
            assert match
            metric, label = match.groups()
            assert {row["metric"][label] for row in query(client, metric)}


def test_the_page_is_in_the_right_form(prometheus: tuple[httpx.Client, str]) -> None:
    _, demo = prometheus
    page = httpx.get(f"{demo}/metrics").text
    done = subprocess.run(
        [need("promtool"), "check", "metrics"],
        input=page,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
