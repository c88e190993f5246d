"""What a path in a Subversion repository is of: functions for ``SVNPoller(split_file=)``.

They take a path relative to the poller's ``repourl``, which ends with a slash if it is a directory's, and
give (branch, path within the branch), or a dict of that and more; None for what isn't in any branch. Trunk is
the branch None.
"""

from __future__ import annotations


def split_file_alwaystrunk(path: str) -> tuple[str | None, str] | None:
    """All is trunk.

    Example::

        c["change_source"].append(
            changes.SVNPoller(
                "https://svn.example.org/tool/trunk/", split_file=util.svn.split_file_alwaystrunk
            )
        )
    """
    return None, path


def split_file_branches(path: str) -> tuple[str | None, str] | None:
    """``trunk/...`` and ``branches/NAME/...``; the branch is called ``branches/NAME``.

    Example::

        c["change_source"].append(
            changes.SVNPoller("https://svn.example.org/project/", split_file=util.svn.split_file_branches)
        )
    """
    top, slash, rest = path.partition("/")
    if top == "trunk":
        return (None, rest) if slash else None
    name, slash, rest = rest.partition("/")
    if top != "branches" or not name or not slash:
        return None  # also a file that lies among the branches
    return f"branches/{name}", rest


def split_file_projects_branches(path: str) -> dict[str, str | None] | None:
    """``PROJECT/trunk/...`` and ``PROJECT/branches/NAME/...``.

    Example::

        c["change_source"].append(
            changes.SVNPoller(
                "https://svn.example.org/all/", split_file=util.svn.split_file_projects_branches
            )
        )
    """
    project, slash, rest = path.partition("/")
    found = split_file_branches(rest) if slash and project else None
    if found is None:
        return None
    return {"project": project, "branch": found[0], "path": found[1]}
