"""A step that looks whether what was uploaded can be had."""

import email.utils
import time
import urllib.error
import urllib.request

from buildwright.plugins import steps, util

DAY = 86_400


def head(url):
    """The status of a HEAD request, and when the thing was changed last: seconds since the epoch, or None."""
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the configuration's own address
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            changed = answer.headers.get("Last-Modified")
            return answer.status, changed and email.utils.parsedate_to_datetime(changed).timestamp()
    except urllib.error.HTTPError as refused:
        return refused.code, None
    except OSError:
        return 0, None


class CheckAvailability(steps.BuildStep):
    """Succeeds if ``url`` answers and isn't older than a day; looks again, as mirrors take a while.

    Each look is work on the master's, done once: a master that goes on with the build doesn't repeat it.
    """

    name = "availability"
    renderables = ("url",)
    look = staticmethod(head)

    def __init__(self, url, tries=5, pause=60, **kwargs):
        super().__init__(**kwargs)
        self.url = url
        self.tries = tries
        self.pause = pause
        self.found = ""

    async def run(self):
        log = await self.addLog("looks", "t")
        for number in range(self.tries):
            if number:
                await self.sleep(self.pause)
            status, changed, now = await self.once(f"look {number}", self.looked)
            fresh = changed is not None and now - changed < DAY
            self.found = f"status {status}" if status != 200 else "up to date" if fresh else "too old"
            log.addContent(f"{self.url}: {self.found}\n")
            if status == 200 and fresh:
                return util.SUCCESS
        return util.FAILURE

    def looked(self):
        return [*self.look(self.url), time.time()]

    def getResultSummary(self):
        return {"step": f"{self.url}: {self.found}" if self.found else "not looked"}
