"""`python -m fleet.calendars START END WANTED`: a timetable on stdin, `Contents` as JSON out."""

from fleet.calendars import main

main()
