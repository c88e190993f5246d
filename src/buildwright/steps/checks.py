"""Steps that only look at what the build knows: a condition, a value."""

from __future__ import annotations

import pprint
from collections.abc import Sequence
from typing import Any, ClassVar

from buildwright.builds.step import BuildStep
from buildwright.model.results import FAILURE, SUCCESS

ASKED_MOST = 80


class Assert(BuildStep):
    """Fails unless ``check``, rendered, is true.

    Example::

        factory.addStep(steps.Assert(util.Property("branch").in_(["main", "release"])))
    """

    name = "Assert"
    restartable = True
    renderables: ClassVar[Sequence[str]] = ("check",)

    def __init__(self, check: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check = check
        asked = repr(check)
        self._asked = asked if len(asked) <= ASKED_MOST and " at 0x" not in asked else "the condition"

    async def run(self) -> int:
        return SUCCESS if self.check else FAILURE

    def getCurrentSummary(self) -> dict[str, str]:
        return super().getCurrentSummary() if self.description else {"step": f"checking {self._asked}"}

    def getResultSummary(self) -> dict[str, str]:
        if self.description or self.descriptionDone:
            return super().getResultSummary()
        return self._with_result(f"{self._asked} holds" if self.results == SUCCESS else self._asked)


class LogRenderable(BuildStep):
    """Writes what ``content`` is rendered to into the log ``Output``, for whoever wonders.

    Example::

        factory.addStep(
            steps.LogRenderable(util.Interpolate("on %(prop:branch)s, for %(prop:owner:-nobody)s"))
        )
    """

    name = "LogRenderable"
    restartable = True
    description = ("Logging",)
    descriptionDone = ("Logged",)
    renderables: ClassVar[Sequence[str]] = ("content",)

    def __init__(self, content: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.content = content

    async def run(self) -> int:
        self.addCompleteLog("Output", pprint.pformat(self.content) + "\n")
        return SUCCESS
