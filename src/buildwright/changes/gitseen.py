"""What GitPoller tells of a codebase: the commits that came, and what its branches point to.

Of what was there before the poller began it knows the branches' newest commits only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from buildwright.changes.git import HEADS, TAGS, Commit, Repository

if TYPE_CHECKING:
    from buildwright.store.units.commits import Seen

US = 1_000_000


async def seen_of(
    repository: Repository, heads: Mapping[str, str], commits: Iterable[Commit], codebase: str, project: str
) -> Seen:
    """What was seen: ``heads`` are commits by the full names of references, and ``commits`` came, parents
    before their children.
    """
    from buildwright.store.units.commits import Seen, SeenCommit

    came = {commit.revision: commit for commit in commits}
    more = sorted({revision for revision in heads.values() if revision not in came})
    known = await repository.log(more, (), walk=False) if more else []
    return Seen(
        codebase,
        project,
        [
            SeenCommit(each.revision, each.author, each.committer, each.comments, each.time * US, each.parent)
            for each in [*known, *came.values()]
        ],
        [(name.removeprefix(HEADS), to) for name, to in sorted(heads.items()) if not name.startswith(TAGS)],
    )
