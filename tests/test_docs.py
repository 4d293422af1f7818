"""What is there is written down: every setting, command, driver, profile, metric and folder."""

import re
from pathlib import Path

import pytest

from agents.drivers import DRIVERS
from agents.facts import FACTS
from fleet.cli import main
from fleet.health.rules import THRESHOLDS
from fleet.metrics.devices import FAMILIES, metric_name
from fleet.settings import Settings

ROOT = Path(__file__).parents[1]


def read(path: str) -> str:
    return (ROOT / path).read_text()


VERBS = {
    "inventory": "remember",
    "agents": "touch",
    "fleet": "decide",
    "dashboards": "show",
    "ansible": "install",
    "tests": "prove",
}


@pytest.mark.parametrize("folder", VERBS)
def test_every_folder_says_its_part_of_the_map(folder: str) -> None:
    opening = " ".join(read(f"{folder}/README.md").split()[:40]).lower()
    assert VERBS[folder] in opening


@pytest.mark.parametrize("setting", Settings.model_fields)
def test_every_setting_is_in_the_readme(setting: str) -> None:
    assert f"`FLEET_{setting.upper()}`" in read("README.md")


def test_every_command_is_in_the_readme() -> None:
    names = [
        command.name or command.callback.__name__
        for command in main.registered_commands
        if command.callback
    ]
    readme = read("README.md")
    missing = [name for name in names if f"`fleet {name}" not in readme]
    assert not missing


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_driver_is_in_the_maturity_table(driver: str) -> None:
    assert f"| `{driver}` |" in read("agents/README.md")


def test_every_profile_is_named_in_the_readme() -> None:
    readme = read("agents/README.md")
    profiles = [path.stem for path in (ROOT / "agents/profiles").glob("*.toml")]
    assert profiles
    assert not [profile for profile in profiles if f"`{profile}`" not in readme]


def test_every_metric_is_in_the_readme() -> None:
    code = "".join(path.read_text() for path in (ROOT / "fleet").rglob("*.py"))
    names = set(re.findall(r'(?:Family|Gauge|Counter|Histogram)\(\s*"(raumwart_\w+)"', code))
    names |= set(FAMILIES) - {metric_name(fact) for fact in FACTS.values()}
    assert len(names) > 20
    readme = read("fleet/README.md")
    assert not [name for name in sorted(names) if not re.search(f"`{name}(_total)?`", readme)]


def test_every_threshold_is_in_the_readme() -> None:
    readme = read("fleet/README.md")
    for thresholds in THRESHOLDS.values():
        for name, usual in thresholds.items():
            limit = re.escape(f"{usual:g}")
            assert re.search(rf"\| `{name}` \|.*\| {limit} \|", readme), name


def test_every_decision_is_a_page_with_alternatives() -> None:
    pages = sorted((ROOT / "fleet/decisions").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{n:04}" for n in range(1, len(pages) + 1)]
    for page in pages:
        assert "**Alternatives" in page.read_text() or "## Alternatives" in page.read_text(), page
        assert len(page.read_text().split()) < 700, page


def test_no_page_speaks_of_a_machine() -> None:
    private = ["/" + place + "/" for place in ("work", "root")]
    for page in ROOT.rglob("*.md"):
        if {".venv", "node_modules"} & set(page.parts):
            continue
        assert not [place for place in private if place in page.read_text()], page


def test_links_in_readmes_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("*/README.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
