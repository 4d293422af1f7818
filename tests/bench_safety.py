"""The reset safety counter over many simulated course days: it must stay 0.

`RAUMWART_BENCH_COURSE_DAYS` changes how many; each run begins where the tests end.
"""

import os
import time
from collections import Counter
from multiprocessing import get_context

from inventory import RunState
from tests.days import Days

COURSE_DAYS = int(os.environ.get("RAUMWART_BENCH_COURSE_DAYS", "20000"))
FIRST_SEED = 1000
AT_ONCE = 25


def bench() -> list[tuple[str, float, str]]:
    began, seed = time.perf_counter(), FIRST_SEED
    total: Counter[str] = Counter()
    with get_context("fork").Pool() as pool:
        while total["course days"] < COURSE_DAYS:
            for found in pool.imap_unordered(_days, range(seed, seed + AT_ONCE)):
                total.update(found)
            seed += AT_ONCE
    took = time.perf_counter() - began
    names = ("course days", "orders sent", "resets on a device", "resets proved",
             "orders refused by agent or laptop", "violations")  # fmt: skip
    rows = [(name, float(total[name]), "") for name in names]
    rows.append(("simulated in", took, "s"))
    return rows + [(f"violation: {key}", float(n), "") for key, n in total.items() if "seed" in key]


def _days(seed: int) -> dict[str, int]:
    days = Days(seed).run()
    found = {
        "course days": days.course_days(),
        "orders sent": len(days.oracle.sent),
        "resets on a device": len(days.oracle.acts),
        "resets proved": sum(r.state is RunState.VERIFIED for r in days.centre.runs.values()),
        "orders refused by agent or laptop": sum(days.site.refused.values()),
        "violations": len(days.oracle.violations),
    }
    for rule, what in days.oracle.violations[:3]:
        found[f"{rule}, seed {seed}: {what}"] = 1
    return found
