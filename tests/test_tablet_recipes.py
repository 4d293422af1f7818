"""A tablet that names no recipe gets one that its driver can do, or a sentence what to write."""

from pathlib import Path

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from agents.drivers import DRIVERS, freekiosk, headwind, kiosk
from fleet.cli import main
from inventory import Device, DeviceKind, Proposal, Room, Site, Sort
from inventory.db import migrate, open_engine, reading, session
from inventory.importer import ImportRefused, apply, read_region
from inventory.recipes import BUILT_IN, ensure_recipes, usual_recipe
from tests.sample import House
from tests.tablets import order
from tests.test_page_discovery import PATH, form, put

pytest_plugins = ("tests.house",)
HEADER = "id;room;name;kind;driver;address;serial;options;recipe\n"
PAGE = '"{""start_page"": ""https://kurs.example.org""}"'


def written(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "devices.csv"
    path.write_text(header + "".join(f"{line}\n" for line in lines))
    return path


def faults(path: Path) -> list[str]:
    with pytest.raises(ImportRefused) as refused:
        read_region(path, drivers=DRIVERS)
    return [str(fault) for fault in refused.value.errors]


def test_each_driver_can_do_what_its_tablets_get() -> None:
    steps = {"kiosk": kiosk.Steps, "freekiosk": freekiosk.Steps, "headwind": headwind.Steps}
    for driver, known in steps.items():
        recipe = BUILT_IN[usual_recipe(DeviceKind.TABLET, driver)]
        asked = order(**recipe.steps)
        assert known.of(asked), driver  # type: ignore[attr-defined]


def test_the_fitting_recipe_is_chosen(tmp_path: Path) -> None:
    region = read_region(
        written(
            tmp_path,
            "a;r;A;tablet;kiosk;10.0.0.1;;;",
            f"b;r;B;tablet;freekiosk;10.0.0.2;;{PAGE};",
            "c;r;C;tablet;headwind;mdm.example.org;S1;;",
            "d;r;D;tablet;headwind;mdm.example.org;S2;;tablet-reset",
            "e;r;E;tablet;freekiosk;10.0.0.3;;;none",
        ),
        drivers=DRIVERS,
    )
    got = [entry.row.model_dump()["recipe"] for entry in region.entries["devices"]]
    assert got == [
        "tablet-reset", "tablet-start-page", "tablet-configuration", "tablet-reset", "none",
    ]  # fmt: skip


def test_without_its_start_page_the_line_is_named_and_what_to_write(tmp_path: Path) -> None:
    path = written(tmp_path, "a;r;A;tablet;kiosk;10.0.0.1;;;", "b;r;B;tablet;freekiosk;10.0.0.2;;;")
    (said,) = faults(path)
    assert said.startswith("devices.csv, line 3, recipe: ")
    assert '{"start_page": "https://…"}' in said
    assert "none" in said


def test_a_servers_address_is_that_of_all_its_tablets(tmp_path: Path) -> None:
    number = '"{""number"": ""H1""}"'
    path = written(
        tmp_path,
        f"a;r;A;tablet;headwind;mdm.example.org;;{number};",
        "b;r;B;tablet;headwind;mdm.example.org;S2;;",
        f"c;r;C;tablet;headwind;mdm.example.org;;{number.lower()};",
    )
    assert faults(path) == [
        "devices.csv, line 4, address: 'mdm.example.org' already belongs to device 'a' in line 2"
    ]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_who_changes_the_driver_writes_the_recipe(engine: Engine, tmp_path: Path) -> None:
    with session(engine) as opened:
        ensure_recipes(opened)
        opened.add(Site(id="s", name="S", municipality="M"))
        opened.flush()
        opened.add(Room(id="r", site_id="s", name="R"))
        opened.flush()
        first = written(tmp_path, "a;r;A;tablet;kiosk;10.0.0.1;S1;;")
        apply(opened, read_region(first, drivers=DRIVERS))
    changed = written(
        tmp_path, "a;r;A;tablet;headwind;mdm.example.org;S1",
        header="id;room;name;kind;driver;address;serial\n",
    )  # fmt: skip
    with session(engine) as opened:
        with pytest.raises(ImportRefused) as refused:
            apply(opened, read_region(changed, drivers=DRIVERS))
        (said,) = map(str, refused.value.errors)
        assert said.startswith("devices.csv, line 2, driver: ")
        assert "tablet-configuration" in said
        apply(opened, read_region(written(
            tmp_path, "a;r;A;tablet;headwind;mdm.example.org;S1;;"
        ), drivers=DRIVERS))  # fmt: skip
        assert opened.get_one(Device, "a").recipe_id == "tablet-configuration"


def test_a_find_under_freekiosk_asks_for_its_start_page(anywhere: House) -> None:
    number = put(anywhere, kind="tablet", driver="freekiosk", serial="FK-1", ways=["http"])
    ida = anywhere.browser("ida")
    assert 'name="start_page"' in ida.get(PATH).text
    about = form(anywhere, number, id="tab", kind="tablet", driver="freekiosk")
    refused = ida.post(f"{PATH}/{number}", data=about)
    assert refused.status_code == 409
    assert "start_page" in refused.text
    page = {"start_page": "https://kurs.example.org"}
    assert ida.post(f"{PATH}/{number}", data=about | page).status_code == 303
    with reading(anywhere.engine) as opened:
        made = opened.get_one(Device, "tab")
        assert (made.recipe_id, made.options) == ("tablet-start-page", page)


def test_the_same_in_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: object
) -> None:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    engine = open_engine(f"sqlite:///{tmp_path}/fleet.db")
    migrate(engine)
    with session(engine) as opened:
        ensure_recipes(opened)
        opened.add(Site(id="s", name="S", municipality="M"))
        opened.flush()
        opened.add(Room(id="r", site_id="s", name="R"))
        opened.add(
            Proposal(
                id=1, site_id="s", sort=Sort.NEW, address="10.0.0.9", first_seen=now,
                last_seen=now, driver="freekiosk", kind="tablet",
            )
        )  # fmt: skip
    fields = ["id=t", "room=r", "name=T", "kind=tablet", "driver=freekiosk"]
    asked = ["discover", "--accept", "1", *(part for one in fields for part in ("--set", one))]
    refused = CliRunner().invoke(main, asked)
    assert refused.exit_code == 1
    assert "start_page" in refused.output
    options = 'options={"start_page": "https://kurs.example.org"}'
    done = CliRunner().invoke(main, [*asked, "--set", options])
    assert done.exit_code == 0, done.output
    with reading(engine) as opened:
        assert opened.get_one(Device, "t").recipe_id == "tablet-start-page"
    engine.dispose()
