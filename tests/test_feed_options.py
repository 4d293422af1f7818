"""What a region's files may say about how a timetable is read."""

from pathlib import Path

import pytest

from inventory.db import migrate, open_engine, reading
from inventory.importer import ImportRefused, read_region
from tests.test_importer import DRIVERS, read, write


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("ical;https://x.org/a;{}", "feeds.csv, line 2, kind: there is no kind 'ical'"),
        ('csv;https://x.org/a;{"zone": "MEZ-1"}', "option 'zone': Value error, there is no time"),
        ('csv;https://x.org/a;{"spalten": {}}', "option 'spalten': Extra inputs"),
        ('csv;https://x.org/a;{"columns": {"wann": "x"}}', "option 'columns.wann.[key]'"),
        ('csv;https://x.org/a;{"default_minutes": 0}', "option 'default_minutes'"),
        ('csv;https://x.org/a;{"all_day": "vielleicht"}', "option 'all_day'"),
        ('ics;https://x.org/a;{"columns": {"uid": "Nr"}}', "'columns' means nothing for ics"),
        ('xml;https://x.org/a;{"separator": ";"}', "'separator' means nothing for xml"),
        ("caldav;file:///a;{}", "a CalDAV timetable begins with https://"),
        ('ics;https://x.org/a;{"locations": {"EDV": "keller"}}', "location 'EDV'"),
    ],
)
def test_wrong_options_of_a_feed_are_refused(tmp_path: Path, row: str, said: str) -> None:
    kind, url, options = row.split(";", 2)
    quoted = '"' + options.replace('"', '""') + '"'
    write(tmp_path, "sites.csv", "id;name;municipality\ns;S;M\n")
    write(tmp_path, "rooms.csv", "id;site;name\nr;s;R\n")
    write(tmp_path, "feeds.csv", f"id;site;kind;url;options\nf;s;{kind};{url};{quoted}\n")
    engine = open_engine(f"sqlite:///{tmp_path / 'fleet.db'}")
    migrate(engine)
    with reading(engine) as opened, pytest.raises(ImportRefused) as refused:
        read_region(tmp_path, drivers=DRIVERS, session=opened)
    assert said in str(refused.value)
    engine.dispose()


def test_a_file_needs_no_credential(tmp_path: Path) -> None:
    path = write(tmp_path, "feeds.csv", "id;site;url;credential\nf;s;file:///a;geheim\n")
    with pytest.raises(ImportRefused, match="a file needs no credential"):
        read(path)
