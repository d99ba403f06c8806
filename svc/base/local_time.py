"""Times as people write them, and days, in the time zone of this machine."""

import re
from datetime import datetime, timedelta

PERIOD = re.compile(r"(\d{1,6})([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
TODAY = "today"
MAX_TIME = datetime(9999, 1, 1).timestamp()


def parse_period(text: str) -> int | None:
    """Return the seconds of a period, such as `24h` or `7d`; None if the text is no period."""
    period = PERIOD.fullmatch(text)
    return int(period[1]) * SECONDS[period[2]] if period else None


def parse_time(text: str, now: float) -> float:
    """Return the time that a text describes, in Unix seconds; raise ValueError if it describes none.

    The text is one of these: a period before `now` (`24h`, `7d`), `today` (its beginning), a date with or without a
    time (`2026-12-01T13:00`), or Unix seconds. A time without a zone is in this machine's zone.
    """
    if (ago := parse_period(text)) is not None:
        return now - ago
    if text == TODAY:
        return _midnight(datetime.fromtimestamp(now)).timestamp()
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        pass
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time; write 2026-12-01, 2026-12-01T13:00, 24h, 7d or today") from None
    if not 0 <= seconds < MAX_TIME:
        raise ValueError(f"{text!r} is no time; Unix seconds are at least 0, and before the year 9999")
    return seconds


def day_around(time: float) -> tuple[int, int]:
    """Return when the day that contains `time` begins and ends in this machine's zone, in Unix seconds."""
    start = _midnight(datetime.fromtimestamp(time))
    return int(start.timestamp()), int((start + timedelta(days=1)).timestamp())


def _midnight(time: datetime) -> datetime:
    return time.replace(hour=0, minute=0, second=0, microsecond=0)
