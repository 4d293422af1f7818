"""Inventory remembers: every table, one file per thing."""

from inventory.agent import AgentContact
from inventory.contact import Audience, Channel, Contact
from inventory.course import (
    Checkpoint,
    Course,
    CourseKind,
    Feed,
    FeedSnapshot,
    Point,
    Readiness,
    Verdict,
)
from inventory.device import Device, DeviceKind, DeviceState, Health, Service
from inventory.evidence import Evidence, EvidenceSeal
from inventory.feed_options import FeedKind, FeedOptions
from inventory.incident import Incident, Prediction
from inventory.network import Network, SnmpVersion
from inventory.notice import OPEN_NOTICES, Alarm, Level, Notice, NoticeState
from inventory.override import Override, OverrideKind
from inventory.person import Account, CalendarLink, OneTimeLink, Role, SignIn
from inventory.place import Room, Site
from inventory.proposal import (
    OPEN_SEARCHES,
    Proposal,
    ProposalState,
    Search,
    SearchState,
    Sort,
)
from inventory.reading import Flip, Reading, Subject
from inventory.report import Impact, Problem, Report, ReportState
from inventory.reset import OPEN_STATES, TRANSITIONS, Recipe, ResetRun, RunState, Tier
from inventory.tally import Tally

__all__ = [
    "OPEN_NOTICES",
    "OPEN_SEARCHES",
    "OPEN_STATES",
    "TRANSITIONS",
    "Account",
    "AgentContact",
    "Alarm",
    "Audience",
    "CalendarLink",
    "Channel",
    "Checkpoint",
    "Contact",
    "Course",
    "CourseKind",
    "Device",
    "DeviceKind",
    "DeviceState",
    "Evidence",
    "EvidenceSeal",
    "Feed",
    "FeedKind",
    "FeedOptions",
    "FeedSnapshot",
    "Flip",
    "Health",
    "Impact",
    "Incident",
    "Level",
    "Network",
    "Notice",
    "NoticeState",
    "OneTimeLink",
    "Override",
    "OverrideKind",
    "Point",
    "Prediction",
    "Problem",
    "Proposal",
    "ProposalState",
    "Readiness",
    "Reading",
    "Recipe",
    "Report",
    "ReportState",
    "ResetRun",
    "Role",
    "Room",
    "RunState",
    "Search",
    "SearchState",
    "Service",
    "SignIn",
    "Site",
    "SnmpVersion",
    "Sort",
    "Subject",
    "Tally",
    "Tier",
    "Verdict",
]
