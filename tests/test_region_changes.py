"""What an import changes, that it is all or nothing, and that an export brings everything back."""

from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import func, select

from inventory import Device, Feed, Recipe, ResetRun, Room, RunState, Site
from inventory.db import reading, session
from inventory.importer import Diff, ImportRefused, apply, diff, read_region
from inventory.recipes import BUILT_IN
from inventory.region.consistency import known

DRIVERS = ("kiosk", "ping", "pjlink", "snmp", "ssh")

REGION = """\
sites:
  - {id: mitte, name: Mitte, municipality: Heroldsberg}
rooms:
  - {id: lernraum, site: mitte, name: Lernraum, required: {laptop: 2}}
  - {id: werkstatt, site: mitte, name: Werkstatt}
feeds:
  - {id: kurse, site: mitte, room: lernraum, url: "https://example.org/kurse.ics"}
devices:
  - {id: a, room: lernraum, name: A, kind: laptop, driver: ssh, address: 10.0.0.1, serial: S1}
  - {id: b, room: lernraum, name: B, kind: laptop, driver: ssh, address: 10.0.0.2, serial: S2}
"""

DEVICES = "id;room;name;kind;driver;address;serial\n"


def take(
    engine: Engine, folder: Path, text: str, name: str = "region.yaml", prune: bool = False
) -> Diff:
    path = folder / name
    path.write_text(text)
    with session(engine) as opened:
        region = read_region(path, drivers=DRIVERS, session=opened, prune=prune)
        shown = diff(opened, region, prune)
        done = apply(opened, region, prune)
        assert shown == done
        return done


def refused(engine: Engine, folder: Path, text: str, name: str, prune: bool = False) -> list[str]:
    """The faults, which must be the same when they are found late; and nothing was changed."""
    with reading(engine) as opened:
        before = known(opened)
    with pytest.raises(ImportRefused) as early:
        take(engine, folder, text, name, prune)
    region = read_region(folder / name, drivers=DRIVERS)
    with pytest.raises(ImportRefused) as late, session(engine) as opened:
        apply(opened, region, prune)
    assert early.value.faults == late.value.faults
    with reading(engine) as opened:
        assert known(opened) == before
    return [str(fault) for fault in early.value.errors]


def test_a_region_is_taken_over_once(engine: Engine, tmp_path: Path) -> None:
    first = take(engine, tmp_path, REGION)
    assert [change.id for change in first.added] == [
        "mitte",
        "lernraum",
        "werkstatt",
        "kurse",
        *"ab",
    ]
    with reading(engine) as opened:
        device = opened.get_one(Device, "a")
        assert (device.recipe_id, len(device.code)) == ("laptop-reset", 10)
        assert opened.get_one(Room, "lernraum").required == {"laptop": 2}
        assert set(opened.exec(select(Recipe.id))) == set(BUILT_IN)
    again = take(engine, tmp_path, REGION)
    assert again.empty
    assert again.unchanged == 6


def test_a_sheet_of_devices_alone(engine: Engine, tmp_path: Path) -> None:
    take(engine, tmp_path, REGION)
    with reading(engine) as opened:
        code = opened.get_one(Device, "a").code
    done = take(
        engine,
        tmp_path,
        DEVICES + "a;werkstatt;A;laptop;ssh;10.0.0.9;S1\nc;lernraum;C;tablet;kiosk;10.0.0.3;S3\n",
        "devices.csv",
    )
    assert list(done.lines()) == [
        "+ device c (C)",
        '> device a: room "lernraum" → "werkstatt", address "10.0.0.1" → "10.0.0.9"',
    ]
    assert done.changed[0].moved == ("lernraum", "werkstatt")
    with reading(engine) as opened:
        moved = opened.get_one(Device, "a")
        assert (moved.room_id, moved.address, moved.code) == ("werkstatt", "10.0.0.9", code)
        assert opened.get_one(Device, "c").recipe_id == "tablet-reset"
        assert opened.get(Device, "b") is not None


def test_a_missing_column_keeps_and_an_empty_cell_empties(engine: Engine, tmp_path: Path) -> None:
    take(engine, tmp_path, REGION)
    header = "id;room;name;kind;driver;address"
    row = "a;lernraum;A;laptop;ssh;10.0.0.1"
    take(engine, tmp_path, f"{header};note;recipe\n{row};alt;none\n", "devices.csv")
    assert take(engine, tmp_path, f"{header}\n{row}\n", "devices.csv").empty
    done = take(engine, tmp_path, f"{header};note;recipe;code\n{row};;;\n", "devices.csv")
    assert dict(done.changed[0].fields) == {
        "note": ("alt", ""),
        "recipe": ("none", "laptop-reset"),
    }


def test_what_points_nowhere_is_refused(engine: Engine, tmp_path: Path) -> None:
    take(engine, tmp_path, REGION)
    text = REGION.replace("site: mitte, name: Werkstatt", "site: mite, name: Werkstatt")
    text = text.replace("room: lernraum, name: A", "room: lernraun, name: A, recipe: laptopreset")
    text = text.replace("room: lernraum, url", "room: hobbyraum, url")
    assert refused(engine, tmp_path, text, "region.yaml") == [
        "region.yaml, line 5, site: there is no site 'mite'; did you mean 'mitte'?",
        "region.yaml, line 7, room: there is no room 'hobbyraum'; known: lernraum, werkstatt",
        "region.yaml, line 9, room: there is no room 'lernraun'; did you mean 'lernraum'?",
        "region.yaml, line 9, recipe: there is no recipe 'laptopreset';"
        " did you mean 'laptop-reset'?",
    ]


def test_a_feed_of_another_sites_room_is_refused(engine: Engine, tmp_path: Path) -> None:
    take(engine, tmp_path, REGION)
    text = (
        "sites:\n- {id: nord, name: Nord, municipality: Eckental}\n"
        "feeds:\n- {id: kurse, site: nord, room: lernraum, url: 'https://example.org/kurse.ics'}\n"
    )
    assert refused(engine, tmp_path, text, "region.yaml") == [
        "region.yaml, line 4, room: room 'lernraum' belongs to site 'mitte', not this one"
    ]


def test_what_points_to_a_faulty_row_is_no_second_fault(engine: Engine, tmp_path: Path) -> None:
    text = REGION.replace("name: Lernraum", "nam: Lernraum")
    with pytest.raises(ImportRefused) as error:
        take(engine, tmp_path, text)
    assert [fault.column for fault in error.value.errors] == ["name", "nam"]


def test_what_another_device_has_already_is_refused(engine: Engine, tmp_path: Path) -> None:
    take(engine, tmp_path, REGION)
    text = DEVICES + "c;werkstatt;C;laptop;ssh;10.0.0.1;S2\n"
    assert refused(engine, tmp_path, text, "devices.csv") == [
        "devices.csv, line 2, serial: 'S2' already belongs to device 'b'",
        "devices.csv, line 2, address: '10.0.0.1' already belongs to device 'a'",
    ]
    other_site = (
        "sites: [{id: nord, name: Nord, municipality: Eckental}]\n"
        "rooms: [{id: saal, site: nord, name: Saal}]\n"
        "devices: [{id: c, room: saal, name: C, kind: laptop, driver: ssh, address: 10.0.0.1}]\n"
    )
    assert len(take(engine, tmp_path, other_site).added) == 3, "another site's own private network"


def test_codes_can_be_swapped_and_taken_over(engine: Engine, tmp_path: Path) -> None:
    take(engine, tmp_path, REGION)
    header = "id;room;name;kind;driver;address;code\n"
    rows = [f"{name};lernraum;X;laptop;ssh;10.0.0.{n}" for n, name in enumerate("abc")]
    codes = ["eins-eins", "zwei-zwei"]
    text = f"{header}{rows[0]};{codes[0]}\n{rows[1]};{codes[1]}\n"
    take(engine, tmp_path, text, "devices.csv")
    text = f"{header}{rows[0]};{codes[1]}\n{rows[1]};{codes[0]}\n"
    done = take(engine, tmp_path, text, "devices.csv")
    assert list(done.lines()) == ["~ device a: code … → …", "~ device b: code … → …"]
    take(engine, tmp_path, f"{header}{rows[1]};\n{rows[2]};{codes[1]}\n", "devices.csv", prune=True)
    with reading(engine) as opened:
        found = opened.exec(select(Device.id, Device.code).order_by(Device.id)).all()
    assert [tuple(row) for row in found] == [("b", codes[0]), ("c", codes[1])]


def test_prune_removes_what_the_files_do_not_name(engine: Engine, tmp_path: Path) -> None:
    take(engine, tmp_path, REGION)
    only_b = DEVICES + "b;lernraum;B;laptop;ssh;10.0.0.2;S2\n"
    assert take(engine, tmp_path, only_b, "devices.csv").empty, "without prune nothing goes"
    done = take(engine, tmp_path, only_b, "devices.csv", prune=True)
    assert list(done.lines()) == ["- device a"]
    with reading(engine) as opened:
        assert opened.exec(select(func.count()).select_from(Room)).one() == 2, "not in the file"


def test_a_moved_device_outlives_its_old_room(engine: Engine, tmp_path: Path) -> None:
    take(engine, tmp_path, REGION)
    text = REGION.replace("room: lernraum", "room: werkstatt")
    text = "".join(line for line in text.splitlines(True) if "id: lernraum" not in line)
    done = take(engine, tmp_path, text, prune=True)
    assert [change.id for change in done.removed] == ["lernraum"]
    with reading(engine) as opened:
        assert opened.get_one(Device, "a").room_id == "werkstatt"


def test_prune_does_not_take_things_along_in_silence(engine: Engine, tmp_path: Path) -> None:
    take(engine, tmp_path, REGION)
    text = "id;site;name\nwerkstatt;mitte;Werkstatt\n"
    assert refused(engine, tmp_path, text, "rooms.csv", prune=True) == [
        "rooms: room 'lernraum' cannot be removed: 1 feeds still belong to it, such as 'kurse';"
        " list them too, or keep it",
        "rooms: room 'lernraum' cannot be removed: 2 devices still belong to it, such as 'a';"
        " list them too, or keep it",
    ]


def test_recipes_with_a_past_are_kept(engine: Engine, tmp_path: Path, now: datetime) -> None:
    take(engine, tmp_path, REGION)
    recipes = "recipes:\n- {id: ours, name: Ours}\n- {id: used, name: Used}\n"
    assert len(take(engine, tmp_path, recipes).added) == 2
    with session(engine) as opened:
        run = ResetRun(
            id="r",
            device_id="a",
            recipe_id="used",
            state=RunState.VERIFIED,
            planned_at=now,
            not_before=now,
            not_after=now,
            deadline=now,
            next_try_at=now,
        )
        opened.add(run)
    done = take(engine, tmp_path, "recipes: []\n", prune=True)
    assert [change.id for change in done.removed] == ["ours"]
    with pytest.raises(IntegrityError), session(engine) as opened:
        opened.delete(opened.get_one(Recipe, "used"))


def test_an_edited_built_in_recipe_is_taken_over(engine: Engine, tmp_path: Path) -> None:
    text = "recipes:\n- {id: projector-ready, name: Beamer, steps: {input: '32'}}\n"
    assert len(take(engine, tmp_path, text).added) == 1
    with reading(engine) as opened:
        assert opened.get_one(Recipe, "projector-ready").steps == {"input": "32"}
        assert opened.exec(select(func.count()).select_from(Recipe)).one() == len(BUILT_IN)


def test_one_and_true_are_not_the_same(engine: Engine, tmp_path: Path) -> None:
    take(engine, tmp_path, "recipes:\n- {id: r, name: R, steps: {a: 1}}\n")
    done = take(engine, tmp_path, "recipes:\n- {id: r, name: R, steps: {a: true}}\n")
    assert len(done.changed) == 1


def test_a_feed_that_points_elsewhere_is_unread(
    engine: Engine, tmp_path: Path, now: datetime
) -> None:
    take(engine, tmp_path, REGION)
    with session(engine) as opened:
        opened.get_one(Feed, "kurse").sqlmodel_update({"etag": "x", "good_at": now, "detail": "d"})
    assert take(engine, tmp_path, REGION).empty
    with reading(engine) as opened:
        assert opened.get_one(Feed, "kurse").etag == "x"
    take(engine, tmp_path, REGION.replace("kurse.ics", "neu.ics"))
    with reading(engine) as opened:
        feed = opened.get_one(Feed, "kurse")
        assert (feed.url[-7:], feed.etag, feed.good_at, feed.detail) == ("neu.ics", "", None, "")


def test_an_error_while_writing_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "region.yaml"
    path.write_text(REGION)
    region = read_region(path, drivers=DRIVERS)

    def half() -> None:
        with session(engine) as opened:
            apply(opened, region)
            opened.add(Room(id="x", site_id="nowhere", name="X"))

    with pytest.raises(IntegrityError):
        half()
    with reading(engine) as opened:
        assert opened.exec(select(func.count()).select_from(Site)).one() == 0


@pytest.mark.parametrize(
    ("channel", "address", "quiet", "said"),
    [
        ("mail", "", "", "is no e-mail address"),
        ("mail", "a b@example.org", "", "is no e-mail address"),
        ("webhook", "ftp://example.org", "", "is no web address"),
        ("webhook", "https://u:p@example.org/", "", "name a credential instead"),
        ("log", "", "20-7", "are no quiet hours"),
        ("log", "", "20:00-20:00", "are no quiet hours"),
        ("pigeon", "", "", "channel"),
    ],
)
def test_a_contact_that_reaches_nobody_is_refused(
    tmp_path: Path, channel: str, address: str, quiet: str, said: str
) -> None:
    path = tmp_path / "contacts.csv"
    path.write_text(
        "id,site,name,audience,channel,address,quiet\n"
        f"c1,s1,Haus,caretaker,{channel},{address},{quiet}\n"
    )
    with pytest.raises(ImportRefused, match=said):
        read_region(path, drivers=())
