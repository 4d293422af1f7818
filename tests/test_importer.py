"""Files as people really write them, and as attackers do: read right, or refused with the place."""

import json
import re
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from inventory.importer import ImportRefused, Region, read_region
from inventory.region.rows import SHEETS

DRIVERS = ("kiosk", "ping", "pjlink", "snmp", "ssh")

HEADER = "id;room;name;kind;driver;address\n"
BEAMER = "beamer;lernraum;Beamer;projector;pjlink;192.168.1.20\n"


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(path: Path) -> Region:
    return read_region(path, drivers=DRIVERS)


def rows(path: Path, sheet: str) -> list[dict[str, Any]]:
    return [entry.row.model_dump() for entry in read(path).entries[sheet]]


def faults(path: Path) -> list[str]:
    with pytest.raises(ImportRefused) as refused:
        read(path)
    assert refused.value.total == len(refused.value.faults)
    return [str(fault) for fault in refused.value.errors]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_csv_as_spreadsheets_write_it(tmp_path: Path, encoding: str, delimiter: str) -> None:
    cells = [
        ["ID", "Room", "Name", "Kind", "Driver", "Address", "Note", ""],
        ["beamer", "lernraum", '"Beamer; groß, rechts"', "Projector", "pjlink", "fe80::0:1"],
        [""] * 8,
        [""],
    ]
    cells[1] += ['"Zeile 1\nZeile ""2"""', ""]
    text = "".join(delimiter.join(row) + "\n" for row in cells)
    path = write(tmp_path, "devices.csv", text.replace("\n", "\r\n").encode(encoding))
    (device,) = rows(path, "devices")
    assert device["name"] == "Beamer; groß, rechts"
    assert device["note"] == 'Zeile 1\nZeile "2"'
    assert device["address"] == "fe80::1"
    assert device["recipe"] == "projector-ready"


def test_csv_with_excels_own_first_line(tmp_path: Path) -> None:
    path = write(tmp_path, "devices.csv", "sep=;\n" + HEADER + BEAMER + BEAMER)
    assert faults(path) == [
        "devices.csv, line 4, id: 'beamer' is already used in line 3; use another"
    ]


def test_spellings_become_one(tmp_path: Path) -> None:
    sheet = (
        "id,room,name,kind,driver,address,mac,spare,service,recipe,options,port\n"
        'a,r,A,Access Point,snmp,AP-1.Example.ORG.,00-1A-2B-3C-4D-5E,ja,,none,"{""a"": 1.0}",161\n'
        "b,r,B,laptop,ssh,10.0.0.1,001a.2b3c.4d5f,x,RETIRED,,,\n"
        "c,r,'=1+1,laptop,ssh,10.0.0.2,,FALSE,,,,\n"
    )
    one, two, three = rows(write(tmp_path, "Devices.CSV", sheet), "devices")
    assert (one["kind"], one["mac"], one["spare"]) == ("access_point", "00:1a:2b:3c:4d:5e", True)
    assert (one["address"], one["recipe"], one["port"]) == ("ap-1.example.org", "none", 161)
    assert (one["options"], type(one["options"]["a"])) == ({"a": 1}, int)
    assert (two["mac"], two["service"], two["recipe"]) == (
        "00:1a:2b:3c:4d:5f",
        "retired",
        "laptop-reset",
    )
    assert (three["spare"], three["name"]) == (False, "=1+1")


def test_needs_in_a_cell(tmp_path: Path) -> None:
    text = "id;site;name;required\nr;s;Raum;laptop=10/8, projector=1\ns;s;Raum;\n"
    one, two = rows(write(tmp_path, "rooms.csv", text), "rooms")
    assert one["required"] == {"laptop": {"wanted": 10, "least": 8}, "projector": 1}
    assert two["required"] == {}


WRONG_CELLS = [
    ("id", "Beamer 1", "cannot be used; write a-z, 0-9 and hyphens only, for example 'beamer-1'"),
    ("id", "x" * 64, "write a-z, 0-9"),
    ("id", "", "is missing; every device needs it"),
    ("room", "", "is missing; every device needs it"),
    ("name", "x" * 201, "is longer than 200 characters; shorten it"),
    ("name", '"a\nb"', "holds a line break or tabulator; write it in one line"),
    ("name", "a\u202eb", "holds the invisible sign U+202E; remove it"),
    ("name", "a\x85b", "holds the invisible sign U+0085; remove it"),
    ("kind", "latop", "there is no kind 'latop'; did you mean 'laptop'?"),
    ("kind", "toaster", "there is no kind 'toaster'; known: access_point, display, laptop"),
    ("driver", "shh", "there is no driver 'shh'; did you mean 'ssh'?"),
    ("address", "10.0.0.256", "is no address; write an IP address or a host name"),
    ("address", "10.0.0.1:22", "the port in its own column"),
    ("address", "a b", "is no address"),
    ("port", "70000", "'70000' is too large; the most is 65535"),
    ("port", "0", "'0' is too small; the least is 1"),
    ("port", "22a", "'22a' is no whole number; write digits only"),
    ("port", "9" * 5000, "is no whole number"),
    ("mac", "00:11:22", "is no MAC address; write it like 00:1a:2b:3c:4d:5e"),
    ("spare", "vielleicht", "'vielleicht' is neither yes nor no; write yes or no"),
    ("service", "broken", "there is no service 'broken'"),
    ("code", "a b", "is no label code; leave it empty"),
    ("options", "version=3", 'is no JSON at character 1; write an object such as {"version"'),
    ("options", "[1]", "must be an object such as"),
    ("options", '"{""a"": 1, ""a"": 2}"', "names the same key twice"),
    ("options", '"{""a"": 1e400}"', "holds a number too large to be kept"),
    ("options", '"{""a"": NaN}"', "holds a number too large to be kept"),
    ("options", '"{""a"": ' + "9" * 5000 + '}"', "holds a number too large to be kept"),
    ("options", '"{""a"": ""\\u0000""}"', "holds the invisible sign U+0000"),
    ("options", '"{""\\ud800"": 1}"', "holds the invisible sign U+D800"),
    ("options", '"{""a"":' + "[" * 50_000 + '}"', "is nested deeper than 6 levels"),
    ("options", '"{""a"": [[[[[[[1]]]]]]]}"', "is nested deeper than 6 levels"),
    ("options", '"{""a"": ""' + "x" * 10_001 + '""}"', "is longer than 10000 characters"),
]


@pytest.mark.parametrize(
    ("column", "cell", "said"), WRONG_CELLS, ids=[f"{cell[0]}: {cell[2]}" for cell in WRONG_CELLS]
)
def test_a_wrong_cell_is_named_with_its_place(
    tmp_path: Path, column: str, cell: str, said: str
) -> None:
    cells = dict(zip(HEADER.strip().split(";"), BEAMER.strip().split(";"), strict=True))
    cells[column] = cell
    text = ";".join(cells) + "\n" + ";".join(cells.values()) + "\n"
    (fault,) = faults(write(tmp_path, "devices.csv", text))
    assert fault.startswith(f"devices.csv, line 2, {column}: ")
    assert said in fault


WRONG_NEEDS = [
    ("toaster=1", "there is no kind 'toaster'"),
    ("laptop", "'laptop' is not understood; write for example"),
    ("laptop=1 laptop=2", "names 'laptop' twice"),
    ("laptop=6/8", "'laptop' wants fewer than it needs at least"),
]


@pytest.mark.parametrize(("cell", "said"), WRONG_NEEDS)
def test_wrong_needs(tmp_path: Path, cell: str, said: str) -> None:
    path = write(tmp_path, "rooms.csv", f"id;site;name;required\nr;s;Raum;{cell}\n")
    (fault,) = faults(path)
    assert fault.startswith("rooms.csv, line 2, required: ")
    assert said in fault


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://a/b", "it begins with https://"),
        ("https://", "it begins with https://"),
        ("file://", "it begins with https://"),
        ("https://[::1", "it begins with https://"),
        ("https://ida:geheim@a/b", "must not hold secrets"),
    ],
)
def test_wrong_feeds_are_refused_and_no_secret_is_repeated(
    tmp_path: Path, url: str, said: str
) -> None:
    path = write(tmp_path, "feeds.csv", f"id;site;url\nf;s;{url}\n")
    (fault,) = faults(path)
    assert said in fault
    assert "geheim" not in fault


WRONG_SHEETS: list[tuple[str | bytes, str]] = [
    ("", "devices.csv: is empty; the first line must name the columns"),
    ("\n\n;;\n", "devices.csv: is empty; the first line must name the columns"),
    ("id;room;name\n", "line 1, kind: this column is missing; every device needs it"),
    (
        HEADER.replace("kind", "kimd"),
        "line 1, kimd: there is no column 'kimd'; did you mean 'kind'?",
    ),
    (HEADER.replace("kind", "kind;kind"), "line 1, kind: this column is there twice; remove one"),
    (HEADER + BEAMER + "a;b;c;laptop;ssh;x;y\n", "line 3: has 7 cells but the first line has 6"),
    (HEADER + BEAMER + "a;b;c", "line 3: the file ends in the middle of this row"),
    (HEADER + '"a\n\n' + BEAMER, "line 2: a quote is opened or closed in the wrong place"),
    (HEADER + BEAMER + 'a;"b"c;\n', "line 3: a quote is opened or closed in the wrong place"),
    (HEADER + BEAMER + "a\0;", "line 3: holds the sign U+0000; this is no text file"),
    (HEADER + "x" * 200_000, "line 2: a quote is opened or closed in the wrong place here (field"),
    (b"PK\x03\x04\0\0", "is a workbook or archive; save the sheet as 'CSV UTF-8'"),
    (HEADER.encode() + b"\x81;\n", "line 2: holds signs that are not UTF-8"),
    (b"id;" + b"x" * (16 * 2**20), "is larger than 16 MB; split it into several files"),
    ("id\n" + "\n".join(["a;b"] * 10), "this column is missing"),
]


@pytest.mark.parametrize(("text", "said"), WRONG_SHEETS, ids=[said for _, said in WRONG_SHEETS])
def test_a_wrong_sheet_is_refused(tmp_path: Path, text: str | bytes, said: str) -> None:
    found = faults(write(tmp_path, "devices.csv", text))
    assert any(said in fault for fault in found), found


def test_all_faults_at_once_but_not_thousands(tmp_path: Path) -> None:
    text = HEADER + "".join(f"d{n};r;D;toaster;shh;10.0.0.{n}\n" for n in range(200))
    with pytest.raises(ImportRefused) as refused:
        read(write(tmp_path, "devices.csv", text))
    assert (len(refused.value.errors), refused.value.total) == (50, 400)
    assert str(refused.value).endswith("… and 350 more")


def test_two_of_everything_in_one_file(tmp_path: Path) -> None:
    text = (
        "id;room;name;kind;driver;address;port;serial;mac;code\n"
        "a;r;A;laptop;ssh;10.0.0.1;22;S1;001122334455;abcdef\n"
        "b;r;B;laptop;ssh;10.0.0.1;22;S1;00-11-22-33-44-55;abcdef\n"
        "c;r;C;laptop;ssh;10.0.0.1;2222;S2;;\n"
        "d;q;D;laptop;ssh;10.0.0.1;22;S3;;\n"
    )
    found = faults(write(tmp_path, "devices.csv", text))
    assert found == [
        "devices.csv, line 3, serial: 'S1' already belongs to device 'a' in line 2",
        "devices.csv, line 3, mac: '00:11:22:33:44:55' already belongs to device 'a' in line 2",
        "devices.csv, line 3, address: '10.0.0.1' already belongs to device 'a' in line 2",
        "devices.csv, line 3, code: 'abcdef' already belongs to device 'a' in line 2",
    ]


def test_a_retired_device_gives_its_address_away(tmp_path: Path) -> None:
    text = (
        "id;room;name;kind;driver;address;service\n"
        "old;r;A;laptop;ssh;10.0.0.1;retired\nnew;r;B;laptop;ssh;10.0.0.1;\n"
    )
    assert len(rows(write(tmp_path, "devices.csv", text), "devices")) == 2


def test_a_folder_is_read_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path, "rooms.csv", "id;site;name\nr;s;\n")
    write(tmp_path, "devices.csv", HEADER + "a;r;A;laptop;shh;10.0.0.1\n")
    write(tmp_path, "printers.csv", "id\n")
    write(tmp_path, "notes.txt", "not for us")
    assert faults(tmp_path) == [
        "devices.csv, line 2, driver: there is no driver 'shh'; did you mean 'ssh'?",
        "printers.csv: there is no sheet 'printers'; known: contacts, course_kinds, devices, feeds,"
        " networks, recipes, rooms, sites",
        "rooms.csv, line 2, name: is missing; every room needs it",
    ]


@pytest.mark.parametrize("name", ["missing.csv", "missing.yaml", "region.txt", ""])
def test_nothing_to_read(tmp_path: Path, name: str) -> None:
    assert len(faults(tmp_path / name)) == 1


def test_a_path_that_never_ends_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "devices.csv").symlink_to("/dev/zero")
    assert faults(tmp_path) == ["devices.csv: there is no such file"]


DEVICE = """\
devices:
  - id: beamer
    room: lernraum
    name: Beamer
    kind: projector
    driver: pjlink
    address: 192.168.1.20
"""


def test_yaml_texts_stay_as_they_are_written(tmp_path: Path) -> None:
    text = DEVICE + (
        "    serial: 0012\n    mac: 10:20:30:40:50:10\n    model: no\n    spare: yes\n    port: ~\n"
        '    options: {a: no, b: 31, c: "31", d: 0012, e: true, f: null, g: [1.5, 1e3, 12:30:45]}\n'
    )
    (device,) = rows(write(tmp_path, "region.yml", text), "devices")
    assert (device["serial"], device["mac"]) == ("0012", "10:20:30:40:50:10")
    assert (device["model"], device["spare"], device["port"]) == ("no", True, None)
    assert json.dumps(device["options"]) == (
        '{"a": "no", "b": 31, "c": "31", "d": "0012", "e": true, "f": null,'
        ' "g": [1.5, 1000, "12:30:45"]}'
    )


BOMB = "a: &a [x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

WRONG_YAML: list[tuple[str | bytes, str]] = [
    (BOMB, "line 1: references (& and *) are not allowed; write the value out"),
    (DEVICE + "    note: *x\n", "line 8: references (& and *) are not allowed"),
    (
        DEVICE + "    note: !!python/object/apply:os.system ['x']\n",
        "line 8: tags (!) are not allowed",
    ),
    (DEVICE + "    note: !!binary aGFsbG8=\n", "line 8: tags (!) are not allowed"),
    ("devices: " + "[" * 100_000, "line 1: is nested deeper than 12 levels"),
    (
        "devices:\n" + "".join("  " * n + "- \n" for n in range(1, 40)),
        "nested deeper than 12 levels",
    ),
    (DEVICE + "---\n" + DEVICE, "line 8: a second document begins"),
    (DEVICE + "    name: twice\n", "line 8: 'name' is there twice; name it once"),
    (DEVICE + DEVICE, "line 8: 'devices' is there twice; name it once"),
    (DEVICE + "    ? [a]\n    : b\n", "line 8: a name must be one word"),
    (DEVICE + "    note: 'open\n", "is no YAML: found unexpected end of stream"),
    (DEVICE + "\tnote: a\n", "line 8: is no YAML: found a tab character that violates indentation"),
    (DEVICE + "  note: a\n", "is no YAML: did not find expected"),
    (DEVICE + "    note: a\0b\n", "line 8: holds the sign U+0000; this is no text file"),
    (DEVICE + "    note: a\ufffeb\n", "holds a sign that YAML does not allow"),
    (DEVICE + '    note: "a\\0b"\n', "line 8, note: holds the invisible sign U+0000; remove it"),
    (DEVICE + "    colour: red\n", "line 8, colour: there is no field 'colour'; known: "),
    (DEVICE + "    naem: x\n", "line 8, naem: there is no field 'naem'; did you mean 'name'?"),
    (DEVICE + "    note: [a]\n", "line 8, note: must be a text"),
    (DEVICE + "    options: 31\n", "line 8, options: must be an object"),
    (DEVICE + "  - beamer\n", "line 8, devices: each entry must hold fields such as 'id: …'"),
    (DEVICE + "    port: 1.5\n", "line 8, port: '1.5' is no whole number"),
    (DEVICE.replace("pjlink", "pjlnk"), "line 6, driver: there is no driver 'pjlnk'"),
    (
        DEVICE.replace("    kind: projector\n", ""),
        "line 2, kind: is missing; every device needs it",
    ),
    ("device: []\n", "line 1, device: there is no list 'device'; did you mean 'devices'?"),
    ("devices: yes\n", "line 1, devices: must be a list, each entry begun by '-'"),
    ("- a\n", "line 1: must begin with one of: recipes, sites"),
    ("rooms:\n- {id: r, site: s, name: R, required: {laptop: {least: 1}}}", "both 'wanted' and"),
    ("rooms:\n- {id: r, site: s, name: R, required: {laptop: true}}", "a whole number from 0"),
    ("recipes:\n- {id: none, name: R}", "says that a device is never reset; use another"),
    (DEVICE.encode("utf-16"), "holds signs that are not UTF-8; save the file as UTF-8 text"),
    ("devices:\n" + "- a\n" * 601_000, "has more than 600000 values; split the file"),
    (b"a: " + b"x" * (16 * 2**20), "is larger than 16 MB; split it into several files"),
]


@pytest.mark.parametrize(("text", "said"), WRONG_YAML, ids=[said for _, said in WRONG_YAML])
def test_wrong_yaml_is_refused_quickly(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = write(tmp_path, "region.yaml", text)
    began = process_time()
    found = faults(path)
    assert len(found) == 1, found
    assert said in found[0]
    assert found[0].startswith("region.yaml")
    assert process_time() - began < 10


def test_an_empty_yaml_file_is_an_empty_region(tmp_path: Path) -> None:
    assert read(write(tmp_path, "region.yaml", "# nothing yet\n")).entries == {}
    assert read(write(tmp_path, "region.yaml", "devices:\n")).entries == {"devices": []}


def test_the_examples_in_the_readme_work(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "inventory" / "README.md").read_text()
    blocks = dict(re.findall(r"```(yaml|csv)\n(.*?)```", text, re.DOTALL))
    region = read(write(tmp_path, "region.yaml", blocks["yaml"]))
    assert {name: len(found) for name, found in region.entries.items()} == {
        "sites": 1,
        "rooms": 1,
        "networks": 1,
        "feeds": 2,
        "devices": 2,
    }
    one, two = rows(write(tmp_path, "devices.csv", blocks["csv"]), "devices")
    assert one["note"] == "Akku schwach,\nNetzteil im Schrank"
    assert (one["mac"], two["spare"]) == ("00:1a:2b:3c:4d:5e", True)


def test_the_readme_names_every_column() -> None:
    text = (Path(__file__).parents[1] / "inventory" / "README.md").read_text()
    for name, sheet in SHEETS.items():
        line = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
        missing = [
            field for field in sheet.row.model_fields if not re.search(rf"\b{field}\b", line)
        ]
        assert not missing, name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8.8.8.0/24", "is not private"),
        ("10.0.0.0/8", "too wide"),
        ("192.168.1.7/24", "192.168.1.0/24 does"),
        ("192.168.1", "is no IPv4 range"),
        ("fd00::/64", "is no IPv4 range"),
    ],
)
def test_only_a_sites_own_networks_are_ever_searched(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path, "sites.csv", "id;name;municipality\ns;S;M\n")
    write(tmp_path, "networks.csv", f"id;site;range\nn;s;{text}\n")
    (fault,) = faults(tmp_path)
    assert fault.startswith("networks.csv, line 2, range:")
    assert said in fault
