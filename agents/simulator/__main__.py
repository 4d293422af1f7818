"""`python -m agents.simulator PLAN FOLDER`: prints the ports as one line of JSON, then lives until
its standard input closes, so that it never outlives the demo that started it."""

import asyncio
import json
import sys
from pathlib import Path

from agents.simulator.region import Plan, Region


async def main(plan: Path, folder: Path) -> None:
    region = Region(Plan.model_validate_json(plan.read_bytes()), folder)
    print(json.dumps(await region.start()), flush=True)
    life = asyncio.create_task(region.live())
    await asyncio.to_thread(sys.stdin.buffer.read)
    life.cancel()
    await region.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
