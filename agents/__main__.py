"""`python -m agents --site north --bus nats://hub:4222 --credentials DIR --state DIR`"""

import argparse
import asyncio
import logging
import signal
import sys
from ipaddress import IPv4Address
from pathlib import Path

from agents.agent import Agent, StateTaken, Table
from agents.bus import check_subject, open_bus
from agents.credentials import Credentials


def main(arguments: list[str] | None = None, drivers: Table | None = None) -> int:
    """0 after SIGTERM or SIGINT, 2 for a setting that makes no sense, 1 for what else is wrong.

    `drivers`: other ones than those of `agents.drivers`.
    """
    asked = _parser().parse_args(arguments)
    logging.basicConfig(level=asked.log.upper(), format="%(levelname)s %(name)s %(message)s")
    # One line for each request of each poll; ours tell of what changed.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        asyncio.run(_serve(asked, drivers))
    except ValueError as error:
        return _complain(str(error), 2)
    except (StateTaken, OSError) as error:
        return _complain(str(error), 1)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m agents", description="Raumwart's agent.")
    parser.add_argument(
        "--site", action="append", required=True, help="whose devices to serve; may be repeated"
    )
    parser.add_argument("--bus", required=True, help="nats://host:port, see agents/bus_nats.py")
    parser.add_argument(
        "--credentials", type=Path, required=True, help="folder with the devices' secrets"
    )
    parser.add_argument("--state", type=Path, required=True, help="folder that outlives the agent")
    parser.add_argument(
        "--wake",
        action="append",
        type=IPv4Address,
        default=[],
        metavar="ADDRESS",
        help="broadcast address for the packets that wake devices; default: each device's network",
    )
    parser.add_argument("--log", default="info", choices=["debug", "info", "warning", "error"])
    return parser


def _complain(text: str, code: int) -> int:
    sys.stderr.write(f"agent: {text}\n")
    return code


async def _serve(asked: argparse.Namespace, drivers: Table | None) -> None:
    for site in asked.site:
        check_subject(f"order.{site}")
    if not asked.credentials.is_dir():
        raise ValueError(f"there is no folder {asked.credentials}")
    if asked.bus == "local:":
        raise ValueError("'local:' ends with this process; an agent of its own needs nats://…")
    bus = await open_bus(asked.bus)
    try:
        agent = Agent(
            asked.site,
            bus,
            Credentials(asked.credentials),
            asked.state,
            drivers=drivers,
            networks=asked.wake,
        )
        work = asyncio.create_task(agent.run())
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, work.cancel)
        await asyncio.wait([work])
        if not work.cancelled():
            work.result()
    finally:
        await bus.close()


if __name__ == "__main__":
    sys.exit(main())
