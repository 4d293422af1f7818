"""Inventory remembers: every table, one file per thing."""

from inventory.agent import AgentContact
from inventory.course import Course, CourseKind, Feed, Readiness, Verdict
from inventory.device import Device, DeviceKind, DeviceState, Health, Service
from inventory.incident import Incident, Prediction
from inventory.override import Override, OverrideKind
from inventory.person import Account, OneTimeLink, Role, SignIn
from inventory.place import Room, Site
from inventory.reading import Flip, Reading, Subject
from inventory.report import Impact, Problem, Report, ReportState
from inventory.reset import OPEN_STATES, TRANSITIONS, Recipe, ResetRun, RunState, Tier
from inventory.tally import Tally

__all__ = [
    "OPEN_STATES",
    "TRANSITIONS",
    "Account",
    "AgentContact",
    "Course",
    "CourseKind",
    "Device",
    "DeviceKind",
    "DeviceState",
    "Feed",
    "Flip",
    "Health",
    "Impact",
    "Incident",
    "OneTimeLink",
    "Override",
    "OverrideKind",
    "Prediction",
    "Problem",
    "Readiness",
    "Reading",
    "Recipe",
    "Report",
    "ReportState",
    "ResetRun",
    "Role",
    "Room",
    "RunState",
    "Service",
    "SignIn",
    "Site",
    "Subject",
    "Tally",
    "Tier",
    "Verdict",
]
