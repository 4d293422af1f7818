"""The course profiles that come with the role: laid out by a real reset, and what programs make of
them, as far as those programs are here."""

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import sync_playwright

from tests.browser import QUIET
from tests.laptops import Prepared
from tests.parts import need
from tests.reset_machine import FILES
from tests.test_room_laptop import Agent, an_order

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]
PROFILES = FILES / "profiles"
PAGE = "https://scratch.mit.edu/projects/editor/?locale=de"


@pytest.fixture(scope="module")
def world() -> Iterator[Prepared]:
    with Prepared() as world:
        world.sh("chmod 755 /mnt; touch /mnt/opened; chmod 666 /mnt/opened")
        yield world


@pytest.fixture
def agent(world: Prepared, tmp_path: Path) -> Agent:
    return Agent(world, tmp_path)


def started(world: Prepared, name: str) -> None:
    """What the desktop does when the visitor signs in."""
    file = f"/home/kurs/.config/autostart/{name}.desktop"
    command = world.sh(f"sed -n s/^Exec=//p {file}").strip()
    world.sh(f"printf %s '{command}' > /mnt/exec; su -s /bin/sh kurs -c 'sh /mnt/exec'")


def test_each_profile_is_laid_out_over_the_standard_one_and_proved(
    world: Prepared, agent: Agent
) -> None:
    hashes = set()
    for profile in ("standard", "large-print", "scratch"):
        order = an_order(f"01J{profile}.1", profile=profile)
        agent.act(order)
        seen = agent.look(order)
        assert (seen["home_clean"], seen["residue"]) == (True, 0), seen
        hashes.add(seen["home_hash"])
        found = set(world.sh("cd /home/kurs; find . -type f").split())
        assert {"./.bashrc", "./Willkommen"} <= found
        own = PROFILES / profile
        assert {f"./{path.relative_to(own)}" for path in own.rglob("*") if path.is_file()} <= found
        assert world.sh("find /home/kurs ! -user kurs") == ""
    assert len(hashes) == 3, "the proof tells one profile from another"
    world.guest("rm ~/.config/autostart/raumwart-scratch.desktop")
    assert agent.look(order)["home_clean"] is False, "the profile is part of what is proved"


def test_large_print_on_a_real_desktops_settings(world: Prepared, agent: Agent) -> None:
    need("gsettings")
    agent.act(an_order("01Jlarge.1", profile="large-print"))
    # In place of a running desktop its settings lie in a file.
    gsettings = "export GSETTINGS_BACKEND=keyfile; cd;"
    world.guest(f"{gsettings} sh -c ~/.local/share/raumwart/large-print")

    def get(schema: str, key: str) -> str:
        return world.sh(f"su -s /bin/sh kurs -c '{gsettings} gsettings get {schema} {key}'").strip()

    assert get("org.gnome.desktop.interface", "text-scaling-factor") == "1.5"
    assert get("org.gnome.desktop.interface", "cursor-size") == "48"
    assert get("org.gnome.desktop.a11y", "always-show-universal-access-status") == "true"
    contrast = ("org.gnome.desktop.a11y.interface", "high-contrast")
    for chosen in ("true", "false"):
        world.guest(f"{gsettings} ~/.local/share/raumwart/contrast")
        assert get(*contrast) == chosen


def test_large_print_in_a_real_browser(tmp_path: Path) -> None:
    program = need("chromium")
    shutil.copytree(PROFILES / "large-print/.config/chromium", tmp_path / "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path / "chromium", executable_path=str(program), args=["--headless=new", *QUIET[1:]]
        )
        page = browser.pages[0]
        page.set_content("<p>Brief</p><small style='font-size: 8px'>Kleingedrucktes</small>")
        sizes = [
            page.evaluate(f"parseFloat(getComputedStyle(document.querySelector('{one}')).fontSize)")
            for one in ("p", "small")
        ]
        browser.close()
    assert sizes[0] == 22
    assert sizes[1] >= 18


def test_scratch_opens_the_program_or_else_the_page(world: Prepared, agent: Agent) -> None:
    agent.act(an_order("01Jscratch.2", profile="scratch"))
    for name in ("xdg-open", "scratux"):
        say = shlex.quote(f'#!/bin/sh\necho {name} "$@" >> /mnt/opened\n')
        world.sh(f"printf %s {say} > /usr/local/sbin/{name}; chmod 755 /usr/local/sbin/{name}")
        started(world, "raumwart-scratch")
    assert world.sh("cat /mnt/opened").splitlines() == [f"xdg-open {PAGE}", "scratux"]


def test_the_files_are_well_formed() -> None:
    for path in PROFILES.rglob("*"):
        if path.suffix in (".xml", ".xcu"):
            ElementTree.parse(path)
        if path.name == "Preferences":
            json.loads(path.read_text())
        if path.suffix == ".desktop":
            assert path.read_text().startswith("[Desktop Entry]\nType=Application\nName=")
    told = json.loads((PROFILES / "scratch/.config/chromium/Default/Preferences").read_text())
    assert told["session"]["startup_urls"] == [PAGE]
    firefox = (PROFILES / "scratch/.mozilla/firefox/raumwart/user.js").read_text()
    assert PAGE in firefox
