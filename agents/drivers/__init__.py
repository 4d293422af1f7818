"""The drivers, in one table you can grep."""

from agents.driver import Driver
from agents.drivers.freekiosk import FreeKiosk
from agents.drivers.headwind import Headwind
from agents.drivers.kiosk import Kiosk
from agents.drivers.ping import Ping
from agents.drivers.pjlink import Pjlink
from agents.drivers.snmp import Snmp
from agents.drivers.ssh import Ssh

DRIVERS: dict[str, type[Driver]] = {
    "ping": Ping,
    "snmp": Snmp,
    "ssh": Ssh,
    "pjlink": Pjlink,
    "kiosk": Kiosk,
    "freekiosk": FreeKiosk,
    "headwind": Headwind,
}
