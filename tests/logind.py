"""A session manager on a bus of its own, for the real `loginctl` of a machine without systemd."""

import json
import subprocess
import time

from tests.machine import Machine
from tests.parts import need

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <policy context="default">
    <allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/>
  </policy>
</busconfig>
"""
MANAGER = """
import json, sys
import dbus, dbus.bus, dbus.mainloop.glib, dbus.service
from gi.repository import GLib
dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.bus.BusConnection("unix:path=/run/dbus/system_bus_socket")
held = dbus.service.BusName("org.freedesktop.login1", bus)
FOLDER, PROPERTIES = "/org/freedesktop/login1", "org.freedesktop.DBus.Properties"
known = json.loads(sys.argv[1])
class Manager(dbus.service.Object):
    @dbus.service.method("org.freedesktop.login1.Manager", out_signature="a(susso)")
    def ListSessions(self):
        path = FOLDER + "/session/"
        return [(n, 1000, one["Name"], "seat0", path + n) for n, one in known.items()]
    @dbus.service.method("org.freedesktop.login1.Manager", in_signature="s", out_signature="o")
    def GetSession(self, number):
        return f"{FOLDER}/session/{number}"
class Session(dbus.service.Object):
    def __init__(self, number, about):
        super().__init__(bus, f"{FOLDER}/session/{number}")
        self.about = about
    @dbus.service.method(PROPERTIES, in_signature="s", out_signature="a{sv}")
    def GetAll(self, interface):
        return self.about
    @dbus.service.method(PROPERTIES, in_signature="ss", out_signature="v")
    def Get(self, interface, name):
        return self.about.get(name, "")
kept = [Manager(bus, FOLDER)] + [Session(n, {"Id": n} | one) for n, one in known.items()]
GLib.MainLoop().run()
"""


def sign_in(machine: Machine, sessions: dict[str, dict[str, object]]) -> None:
    """From now on `loginctl` tells these sessions: number → properties of the session."""
    for part in ("dbus-daemon", "loginctl"):
        need(part)
    machine.sh("mkdir -p /run/systemd/system /run/dbus /opt/logind")
    for name, text in (("bus.conf", BUS), ("manager.py", MANAGER)):
        machine.sh(f"cat > /opt/logind/{name} <<'END'\n{text}\nEND")
    told = json.dumps(sessions)
    machine.sh(
        "dbus-daemon --config-file=/opt/logind/bus.conf --fork >/opt/logind/bus 2>&1;"
        f"setsid /usr/bin/python3 /opt/logind/manager.py '{told}' >/opt/logind/log 2>&1 &"
    )
    for _ in range(100):
        if machine.sh("timeout 2 loginctl list-sessions --no-legend || true").strip():
            return
        time.sleep(0.05)
    raise AssertionError(machine.sh("cat /opt/logind/log"))


def need_logind() -> None:
    """Skips the calling test where the parts of the session manager are missing."""
    speaks = subprocess.run(["/usr/bin/python3", "-c", "import dbus, gi"], check=False)
    if speaks.returncode:
        need("python3-dbus and python3-gi")
