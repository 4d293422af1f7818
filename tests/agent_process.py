"""An agent that knows the line driver, as a process that a test can kill."""

import sys

from agents.__main__ import main
from tests.line_device import LineDriver

sys.exit(main(drivers={"line": LineDriver}))
