"""Moments as people write them: "tomorrow 03:00", "monday 02:30", "in 3 hours", "2026-03-02 12:00"."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})\Z")
_IN = re.compile(r"in (\d+) (minute|hour|day|week)s?\Z")


def moment(text: str, now: datetime) -> datetime:
    """The local time that the text means; raises ValueError with what could have been written."""
    words = text.strip().lower()
    if words == "now":
        return now
    if found := _IN.match(words):
        return now + timedelta(**{f"{found[2]}s": int(found[1])})
    day, _, clock = words.rpartition(" ")
    if found := _CLOCK.match(clock):
        hour, minute = int(found[1]), int(found[2])
        if hour < 24 and minute < 60 and (date := _day(day, now, hour, minute)) is not None:
            return date.replace(hour=hour, minute=minute, second=0, microsecond=0)
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            f"{text!r} is no time: write for example '03:00', 'tomorrow 03:00', 'monday 02:30', 'in 3 hours' "
            "or '2026-03-02 12:00'"
        ) from None


def _day(word: str, now: datetime, hour: int, minute: int) -> datetime | None:
    """The day that a word means; none: the next day on which that time is still to come."""
    passed = (hour, minute) < (now.hour, now.minute)
    if word == "":
        return now + timedelta(days=1 if passed else 0)
    if word in ("today", "tomorrow"):
        return now + timedelta(days=word == "tomorrow")
    if word in DAYS:
        ahead = (DAYS.index(word) - now.weekday()) % 7
        return now + timedelta(days=7 if ahead == 0 and passed else ahead)
    try:
        return datetime.fromisoformat(word)
    except ValueError:
        return None
