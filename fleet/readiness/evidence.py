"""What a verdict rests on, as JSON that is kept with it: how each device was, and how old that
knowledge was. Devices are named, people never."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fleet.readiness.judging import Judged
from fleet.readiness.verdict import Candidate, Lesson, fitness, in_order, proved
from inventory import Feed


def evidence(judged: Judged, feeds: Sequence[Feed], now: datetime) -> dict[str, Any]:
    """`counts`: kind → usable, wanted, present; `swaps`: name out, name in; `devices`: by name."""
    judgement = judged.judgement
    devices = sorted(judged.devices, key=lambda each: (each.kind, in_order(each.name)))
    return {
        "counts": {str(kind): list(count) for kind, count in judgement.counts.items()},
        "proved": judgement.proved,
        "to_prove": judgement.to_prove,
        "swaps": [[swap.out, swap.into] for swap in judgement.swaps],
        "devices": [_device(each, judged.lesson, now) for each in devices],
        "heard_at": _said(judged.heard_at),
        "feeds": [
            {"id": feed.id, "good_at": _said(feed.good_at), "problem": feed.problem}
            for feed in feeds
        ],
    }


def _device(device: Candidate, lesson: Lesson | None, now: datetime) -> dict[str, Any]:
    how, why = fitness(device, lesson, now)
    run = device.run
    return {
        "id": device.id,
        "name": device.name,
        "kind": device.kind.value,
        "spare": device.spare,
        "fit": how.value,
        "reason": why.code if why else "",
        "detail": why.detail if why else "",
        "seen_at": _said(device.seen_at),
        "proved": proved(device, lesson, now),
        "looked_at": _said(run.looked_at if run else None),
    }


def _said(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
