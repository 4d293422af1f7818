"""An export brings everything back, in both formats, and is safe to open in a spreadsheet."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from inventory import Device, Recipe, Site
from inventory.db import session
from inventory.exporter import export_csv, export_yaml
from inventory.importer import Region, apply, diff, read_region
from inventory.recipes import BUILT_IN, ensure_recipes
from inventory.region.consistency import known
from inventory.region.faults import Place
from inventory.region.rows import SHEETS, Entry

DRIVERS = ("kiosk", "ping", "pjlink", "snmp", "ssh")

SIGNS = st.characters(
    exclude_categories=("Cc", "Cs"),
    exclude_characters="\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
)
HARD = [
    "=1+1",
    "'=1",
    "''@x",
    "+49 9131",
    "-",
    "0012",
    "1e3",
    "no",
    "null",
    "~",
    "# x",
    "a: b",
    "x;y",
    '"',
    "'",
    "12:30:45",
    "true",
    "{}",
    "- a",
    "\u2028",
    "🙂",
    "=cmd|' /C calc'!A0",
]
TEXT = (st.text(SIGNS, max_size=12) | st.sampled_from(HARD)).map(str.strip)
NAME = TEXT.filter(bool)
NOTE = st.lists(TEXT, max_size=3).map("\n".join).map(str.strip)
JSON = st.dictionaries(
    TEXT,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXT
        | st.floats(-1e6, 1e6, allow_subnormal=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)  # fmt: skip
NEED = st.integers(0, 9999) | st.tuples(st.integers(0, 99), st.integers(0, 99)).map(
    lambda pair: {"wanted": max(pair), "least": min(pair)}
)
LIMITS = st.dictionaries(TEXT, st.integers(-99, 99) | st.just(0.4), max_size=2)
PLACE = NAME.filter(lambda name: len(name) <= 200)
FEW = st.lists(PLACE, min_size=1, max_size=3)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "locations": st.dictionaries(PLACE, st.none(), max_size=3),
        "zone": st.sampled_from(["Europe/Berlin", "UTC"]),
        "default_minutes": st.integers(5, 1440),
        "all_day": st.sampled_from(["course", "block", "ignore"]),
        "cancelled": FEW,
        "columns": st.fixed_dictionaries(
            {}, optional={"title": st.lists(PLACE, min_size=1, max_size=3)}
        ),
    },
)
KINDS = ["laptop", "tablet", "projector", "access_point", "switch", "printer", "display", "ups"]


@st.composite
def regions(draw: st.DrawFn) -> Region:
    def some(most: int) -> range:
        return range(draw(st.integers(1, most)))

    sites = [{"id": f"s{n}", "name": draw(NAME), "municipality": draw(NAME)} for n in some(2)]
    rooms: list[dict[str, Any]] = [
        {
            "id": f"r{n}",
            "site": draw(st.sampled_from(sites))["id"],
            "name": draw(NAME),
            "required": draw(st.dictionaries(st.sampled_from(KINDS), NEED, max_size=3)),
        }
        for n in some(3)
    ]
    recipes = [
        {"id": f"recipe{n}", "name": draw(NAME), "steps": draw(JSON), "expects": draw(JSON)}
        for n in some(2)
    ]
    feeds = []
    for n in some(2):
        room = draw(st.sampled_from(rooms))
        whole = draw(st.booleans())
        feeds.append(
            {
                "id": f"f{n}",
                "site": room["site"],
                "room": None if whole else room["id"],
                "url": f"https://example.org/{n}?a=b&c=%20#x",
                "max_age_s": draw(st.integers(60, 86400)),
                "kind": draw(st.sampled_from(["csv", "xml"])),
                "credential": draw(st.sampled_from(["", "vhs"])),
                "options": draw(OPTIONS),
            }
        )
    devices = [
        {
            "id": f"d{n}",
            "room": draw(st.sampled_from(rooms))["id"],
            "name": draw(NAME),
            "kind": draw(st.sampled_from(KINDS)),
            "driver": draw(st.sampled_from(DRIVERS)),
            "address": f"10.0.0.{n}",
            "port": draw(st.none() | st.integers(1, 65535)),
            "serial": draw(st.sampled_from(["", f"00{n}", f"={n}"])),
            "mac": draw(st.sampled_from(["", f"10:20:30:40:50:1{n}"])),
            "options": draw(JSON),
            "thresholds": draw(LIMITS),
            "recipe": draw(st.sampled_from(["", "none", "recipe0", "look-only"])),
            "spare": draw(st.booleans()),
            "service": draw(st.sampled_from(["active", "repair", "lent", "retired"])),
            "code": draw(st.sampled_from(["", f"code-{n}"])),
            "note": draw(NOTE),
        }
        for n in some(4)
    ]
    for above, below in pairwise(devices):
        same = {r["site"] for r in rooms if r["id"] in (above["room"], below["room"])}
        if len(same) == 1 and draw(st.booleans()):
            above["uplink"], below["power"] = below["id"], above["id"]
    course_kinds = [
        {
            "id": f"k{n}",
            "site": draw(st.sampled_from([None, "s0"])),
            "title": draw(NAME),
            "thresholds": draw(st.dictionaries(st.sampled_from(KINDS), LIMITS, max_size=2)),
        }
        for n in some(2)
    ]
    ways = [("mail", "a@example.org"), ("webhook", "https://example.org/x?y=1"), ("log", "")]
    contacts = [
        {
            "id": f"c{n}",
            "site": draw(st.sampled_from(sites))["id"],
            "name": draw(NAME),
            "audience": draw(st.sampled_from(["caretaker", "duty", "office", "it"])),
            "channel": way,
            "address": address,
            "quiet": draw(st.sampled_from(["", "18:00-07:00"])),
        }
        for n, (way, address) in enumerate(draw(st.lists(st.sampled_from(ways), max_size=2)), 1)
    ]
    networks = [
        {
            "id": f"n{n}",
            "site": draw(st.sampled_from(sites))["id"],
            "range": f"10.{n}.0.0/24",
            "credential": draw(st.sampled_from(["", "read"])),
            "snmp": draw(st.sampled_from(["1", "2c", "3"])),
        }
        for n in some(2)
        if sites
    ]
    sheets = {
        "contacts": contacts,
        "networks": networks,
        "course_kinds": course_kinds,
        "sites": sites,
        "rooms": rooms,
        "recipes": recipes,
        "feeds": feeds,
        "devices": devices,
    }
    return Region(
        {
            name: [
                Entry(row, frozenset(SHEETS[name].row.model_fields), Place(name, 0))
                for row in (
                    SHEETS[name].row.model_validate(values, context={"drivers": DRIVERS})
                    for values in rows
                )
            ]
            for name, rows in sheets.items()
        }
    )


def content(region: Region) -> dict[str, list[dict[str, Any]]]:
    return {
        name: sorted((entry.row.model_dump() for entry in entries), key=lambda row: row["id"])
        for name, entries in sorted(region.entries.items())
    }


@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.generate],  # making a counterexample small would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(first=regions(), second=regions())
def test_an_export_brings_everything_back(
    engine: Engine, tmp_path: Path, first: Region, second: Region
) -> None:
    with session(engine) as opened:
        apply(opened, first, prune=True)
        apply(opened, second, prune=True)
        assert diff(opened, second, prune=True).empty
        (tmp_path / "region.yaml").write_text(export_yaml(opened), newline="")
        export_csv(opened, tmp_path / "sheets")
        there = {name: sorted(rows) for name, rows in known(opened).rows.items()}
        for path in (tmp_path / "region.yaml", tmp_path / "sheets"):
            back = read_region(path, drivers=DRIVERS, session=opened, prune=True)
            assert {
                name: [row["id"] for row in rows] for name, rows in content(back).items()
            } == there
            assert diff(opened, back, prune=True).empty, path
            wanted = content(second)
            for device in wanted["devices"]:
                device["code"] = device["code"] or opened.get_one(Device, device["id"]).code
            found = content(back)
            found["recipes"] = [r for r in found["recipes"] if r["id"] not in BUILT_IN]
            assert found == wanted, path


def test_no_exported_cell_is_a_formula(engine: Engine, tmp_path: Path) -> None:
    names = ["=cmd|' /C calc'!A0", "@SUM(A1)", "+1", "-1", "＝1", "'=1"]
    with session(engine) as opened:
        for number, name in enumerate(names):
            opened.add(Site(id=f"s{number}", name=name, municipality="M"))
        opened.flush()
        files = export_csv(opened, tmp_path)
        assert sorted(file.name for file in files) == sorted(f"{name}.csv" for name in SHEETS)
        text = (tmp_path / "sites.csv").read_text("utf-8-sig")
        assert [line.split(";")[1] for line in text.splitlines()[1:]] == ["'" + n for n in names]
        back = read_region(tmp_path / "sites.csv", drivers=DRIVERS)
        assert [row["name"] for row in content(back)["sites"]] == names


def test_the_built_in_recipes_survive_a_round(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "region.yaml"
    with session(engine) as opened:
        ensure_recipes(opened)
        path.write_text(export_yaml(opened))
        assert diff(opened, read_region(path, drivers=DRIVERS), prune=True).empty


def test_an_export_is_the_same_each_time(engine: Engine) -> None:
    with session(engine) as opened:
        opened.add(Site(id="b", name="B", municipality="M"))
        opened.add(Site(id="a", name="A", municipality="M"))
        opened.flush()
        assert export_yaml(opened) == export_yaml(opened)
        assert export_yaml(opened).index("id: a") < export_yaml(opened).index("id: b")


def test_texts_that_look_like_something_else_stay_texts(engine: Engine, tmp_path: Path) -> None:
    words = [
        "1e3",
        "31",
        "0012",
        "-0",
        "1.5",
        "true",
        "no",
        "null",
        "~",
        "",
        "12:30",
        "=1",
        "\u2028",
    ]
    steps = {"texts": words, "values": [1000, 1.5, True, None], **dict.fromkeys(words, "x")}
    with session(engine) as opened:
        opened.add(Recipe(id="r", name="0012", steps=steps))
        opened.flush()
        (tmp_path / "region.yaml").write_text(export_yaml(opened))
        export_csv(opened, tmp_path)
        for path in (tmp_path / "region.yaml", tmp_path / "recipes.csv"):
            (row,) = content(read_region(path, drivers=DRIVERS))["recipes"]
            assert (row["name"], row["steps"]) == ("0012", steps)
