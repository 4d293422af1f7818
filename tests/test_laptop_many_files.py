"""A folder with more files than should ever be held in memory at once."""

import subprocess
from pathlib import Path

import pytest

from tests.reset_machine import FILES, PYTHON, open_folder

MANY = 30_000
SCRIPT = """
import os, sys, tracemalloc
sys.path.insert(0, sys.argv[1])
import room_residue, room_tree
top = os.open(sys.argv[2], os.O_RDONLY)
def remove():
    assert room_tree.remove("heap", top) > int(sys.argv[3])
def count():
    heap = room_tree.open_folder("heap", top)
    assert sum(1 for _ in room_residue._owned(heap, [range(os.getuid(), os.getuid() + 1)], 0)) > 2
tracemalloc.start()
{"remove": remove, "count": count}[sys.argv[4]]()
print(tracemalloc.get_traced_memory()[1] < 1_500_000)
"""


@pytest.mark.parametrize("what", ["remove", "count"])
def test_memory_does_not_grow_with_a_guests_files(what: str) -> None:
    with open_folder() as folder:
        heap = folder / "heap"
        (heap / "deeper").mkdir(parents=True)
        make = f"cd {heap}/deeper; seq {MANY} | xargs touch; cd ..; seq 3 | xargs touch"
        if what == "count":
            make = f"cd {heap}; seq {MANY} | xargs touch"
        subprocess.run(["sh", "-c", make], check=True)
        words = [PYTHON, "-Bc", SCRIPT, str(FILES), str(folder), str(MANY), what]
        done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)
        assert done.stdout == "True\n", done.stderr
        assert what == "count" or list(Path(folder).iterdir()) == []
