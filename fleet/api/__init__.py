"""The same as the pages show and do, as JSON for scripts, under /api/v1."""

from fastapi import APIRouter

from fleet.api import (
    ansible,
    calendar,
    courses,
    devices,
    feeds,
    incidents,
    overrides,
    readiness,
    reports,
    resets,
    rooms,
)

router = APIRouter()
for one in (
    rooms,
    readiness,
    devices,
    courses,
    calendar,
    feeds,
    resets,
    reports,
    incidents,
    ansible,
    overrides,
):
    router.include_router(one.router)

__all__ = ["router"]
