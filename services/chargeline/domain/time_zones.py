"""Time zones of the pinned IANA data (package tzdata), never those of the machine: the same price everywhere.

Source: spec/rating.md, section 5.
"""

from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import tzdata

VERSION = tzdata.IANA_VERSION


@cache
def time_zone_names() -> frozenset[str]:
    """The names that the data know, old ones included."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def is_time_zone(name: str) -> bool:
    """Whether it is the name of a time zone such as Europe/Berlin."""
    return name in time_zone_names()


@cache
def time_zone(name: str) -> ZoneInfo:
    """A time zone that `is_time_zone` knows."""
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as data:
        return ZoneInfo.from_file(data, key=name)
