"""`python -m fleet.ical START END`: iCalendar on stdin, `Contents` as JSON on stdout."""

from fleet.ical import main

main()
