"""Sources from a git repository.

The work directory's repository is made with ``git init``, which mends one that a killed build has left half
made and leaves a good one as it is; locks that a killed git has left are removed first (nothing else runs in
a builder's directory). Then what is wanted is fetched from the repository's URL, and checked out by its name
in ``FETCH_HEAD`` or by its revision, as a detached head first and then as a local branch of that name, if
there can be one.

Keys and passwords are in private files of each command (see :mod:`~buildwright.model.gitaccess`), which the
worker removes with the command's end, whoever drives the build by then.

A branch may have any name: it is handed to git in a refspec after ``--``, never where an option could stand.

What can fail for a passing reason (fetching) is tried again with ``retryFetch`` (once, at once),
``clobberOnFailure`` (with an empty directory) and ``retry`` (all of it, after a pause), in this order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from buildwright.builds.step import BuildStepFailed
from buildwright.model.errors import error, shown
from buildwright.model.gitaccess import SSH_PORT
from buildwright.model.renderable import IRenderable, is_renderable
from buildwright.model.results import SUCCESS
from buildwright.model.sources import Patch
from buildwright.steps.gittool import NO_REF, GitToolMixin
from buildwright.steps.source import Source

MODES = ("incremental", "full")
METHODS = ("clean", "fresh", "clobber", "copy")
COPY_FROM = "source"  # where method "copy" keeps its repository, beside the work directory
HEAD = "HEAD"

_HASH = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_LOCKS = ("index", "shallow", "HEAD", "config", "packed-refs")
_PATCH_FILE = ".git/buildwright.patch"

# Arguments of `git describe` by their names in getDescription.
_FLAGS = ("all", "always", "contains", "debug", "exact-match", "first-parent", "long", "tags")
_VALUES = ("abbrev", "candidates", "exclude", "match")


class Git(GitToolMixin, Source):
    """Gets the sources of one codebase with git, and sets the property ``got_revision``.

    ``mode`` is ``incremental`` (what the build has left stays, but for files of git's) or ``full`` with a
    ``method``: ``fresh`` (the default: all files that aren't git's are removed), ``clean`` (as fresh, but
    ignored ones stay), ``clobber`` (begin with nothing), ``copy`` (from a repository that is kept beside).

    Example::

        factory.addStep(
            steps.Git(
                repourl="https://git.example.org/project.git", mode="full", method="fresh", submodules=True
            )
        )
    """

    name = "git"
    reference: Any
    _elsewhere = ""  # the address to use instead of ``repourl``, if a build has another one
    renderables: ClassVar[tuple[str, ...]] = (
        "repourl",
        "branch",
        "mode",
        "method",
        "reference",
        "origin",
        "submodules",
        "shallow",
        "filters",
    )

    def __init__(
        self,
        repourl: str | IRenderable | None = None,
        port: int = SSH_PORT,
        branch: str | IRenderable | None = HEAD,
        mode: Any = "incremental",
        method: Any = None,
        reference: str | IRenderable | None = None,
        submodules: bool | IRenderable = False,
        remoteSubmodules: bool = False,
        tags: bool = False,
        shallow: Any = False,
        filters: Any = None,
        progress: bool = True,
        retryFetch: bool = False,
        clobberOnFailure: bool = False,
        getDescription: Any = False,
        config: Any = None,
        origin: str | IRenderable | None = None,
        sshPrivateKey: str | IRenderable | None = None,
        sshHostKey: str | IRenderable | None = None,
        sshKnownHosts: str | IRenderable | None = None,
        auth_credentials: Any = None,
        git_credentials: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(mode=mode, **kwargs)
        self.repourl = repourl
        self.port = port
        self.branch = branch
        self.method = method
        self.reference = reference
        self.submodules = submodules
        self.remoteSubmodules = remoteSubmodules
        self.tags = tags
        self.shallow = shallow
        self.filters = filters
        self.progress = progress
        self.retryFetch = retryFetch
        self.clobberOnFailure = clobberOnFailure
        self.getDescription = getDescription
        self.config = config
        self.origin = origin
        self.sshPrivateKey = sshPrivateKey
        self.sshHostKey = sshHostKey
        self.sshKnownHosts = sshKnownHosts
        self.auth_credentials = auth_credentials
        self.git_credentials = git_credentials
        self._check()

    def _check(self) -> None:
        kind = f"step {type(self).__name__}"
        self.check_remote()
        self.check_config()
        if not is_renderable(self.mode) and self.mode not in MODES:
            error(f"{kind}: mode must be 'incremental' or 'full', not {shown(self.mode)}")
        if self.method is not None and not is_renderable(self.method):
            if self.method not in METHODS:
                error(f"{kind}: method must be one of {', '.join(METHODS)}, not {shown(self.method)}")
            elif self.mode == "incremental":
                error(f"{kind}: method {self.method!r} needs mode='full'")
        depth = self.shallow
        if not is_renderable(depth) and not isinstance(depth, bool) and not (_is_number(depth) and depth > 0):
            error(f"{kind}: shallow must be True, False or a depth of 1 or more, not {shown(depth)}")
        if isinstance(self.getDescription, Mapping):
            for name in self.getDescription:
                if name not in (*_FLAGS, *_VALUES, "dirty"):
                    known = f"it knows {', '.join((*_FLAGS, *_VALUES, 'dirty'))}"
                    error(f"{kind}: getDescription has an unknown argument {name!r} of git describe", known)
        elif not isinstance(self.getDescription, bool):
            error(f"{kind}: getDescription must be True, False or a dict, not {shown(self.getDescription)}")
        filters = self.filters
        if filters is not None and not is_renderable(filters) and not isinstance(filters, list | tuple):
            error(f"{kind}: filters must be a list, not {shown(filters)}", "as in filters=['blob:none']")

    # -- running ------------------------------------------------------------------------------------------

    async def checkout(self, branch: str, revision: str | None, patch: Patch | None) -> int:
        branch = branch or HEAD
        self._check_rendered()
        self._target = self.workdir or self.build.workdir
        copies = self.mode == "full" and self._method == "copy"
        self._dir = COPY_FROM if copies else self._target
        if NO_REF.search(branch):
            self.refuse(f"{branch!r} can't be a branch")
        if revision is not None and revision.startswith("-"):
            self.refuse(f"{revision!r} can't be a revision")
        self.find_way(self._elsewhere)
        await self.with_retries(lambda: self._get(branch, revision))
        if copies:
            await self.runRmdir(self._target, timeout=self.timeout)
            paths = {"from_path": self.build.path(self._dir), "to_path": self.build.path(self._target)}
            await self.runRemoteCommand("cpdir", {**paths, "timeout": self.timeout})
            self._dir = self._target
        if patch is not None:
            await self._apply(patch)
        await self._tell()
        return SUCCESS

    def _check_rendered(self) -> None:
        """What only a build knows must make sense, too."""
        if self.mode not in MODES:
            self.refuse(f"mode must be 'incremental' or 'full', not {self.mode!r}")
        if self.mode == "full" and self._method not in METHODS:
            self.refuse(f"method must be one of {', '.join(METHODS)}, not {self.method!r}")
        if not str(self.shallow or 0).isdecimal() and self.shallow is not True:
            self.refuse(f"shallow must be True, False or a depth of 1 or more, not {self.shallow!r}")

    @property
    def _method(self) -> str:
        return self.method or "fresh"

    async def _get(self, branch: str, revision: str | None) -> None:
        """One try: the sources as they are to be."""
        clobbers = self.mode == "full" and self._method == "clobber"
        if clobbers:
            await self.runRmdir(self._dir, timeout=self.timeout)
        try:
            await self._update(branch, revision)
        except BuildStepFailed:
            if not self.clobberOnFailure or clobbers:
                raise
            self.why = ""
            self._run.log("stdio").addHeader("beginning again with an empty directory\n")
            await self.runRmdir(self._dir, timeout=self.timeout)
            await self._update(branch, revision)

    async def _update(self, branch: str, revision: str | None) -> None:
        locks = [f".git/{name}.lock" for name in (*_LOCKS, f"refs/heads/{branch}")]
        paths = [self.build.path(self._dir, lock) for lock in locks]
        await self.runRemoteCommand("rmdir", {"paths": paths}, stdioLogName=None)
        await self.git("init", "--quiet")
        origin = self.origin or "origin"
        await self.git("config", f"remote.{origin}.url", self._access.url)
        await self.git("config", f"remote.{origin}.fetch", f"+refs/heads/*:refs/remotes/{origin}/*")
        if self.reference:
            await self._borrow(self.reference)
        if not await self._has(revision) or self._wants_tags:
            await self._fetch(f"+{branch}")
        if revision is not None and not await self._has(revision):
            await self._dig(branch, revision)
            if not await self._has(revision):
                self.refuse(f"the revision {revision!r} can't be had, neither by itself nor with {branch!r}")
        await self._check_out(branch, revision or "FETCH_HEAD")
        if self.submodules:
            await self._update_submodules()
        if self.mode == "full" and self._method in ("fresh", "clean"):
            await self._clean()

    async def _check_out(self, branch: str, commit: str) -> None:
        await self.git("checkout", "--quiet", "--force", "--detach", commit)
        await self.git("reset", "--hard")
        if branch != HEAD and not branch.startswith(("refs/", "-")):
            # A branch "a" of an earlier build stands in the way of "a/b": then the head stays detached.
            await self.git("checkout", "--quiet", "--force", "-B", branch, check=False)

    async def _clean(self) -> None:
        words = ["clean", "-f", "-f", "-d", *(["-x"] if self._method == "fresh" else [])]
        await self.git(*words)
        if self.submodules:
            await self.git("submodule", "foreach", "--recursive", " ".join(["git", *words]))

    async def _update_submodules(self) -> None:
        await self.git("submodule", "sync", "--recursive")
        words = ["submodule", "update", "--init", "--recursive", "--force"]
        if self.remoteSubmodules:
            words.append("--remote")
        if self._depth:
            words += ["--depth", str(self._depth)]
        done, why = await self.git_afar(*words)
        if done.results() != SUCCESS:
            self.refuse(f"a submodule can't be had: {why or 'see the log'}")

    async def _borrow(self, reference: str) -> None:
        """Take objects from another repository at the worker instead of fetching them."""
        words = ["-C", reference, "rev-parse", "--path-format=absolute", "--git-path", "objects"]
        found = await self.git(*words, collect=True)
        await self.downloadFileContentToWorker(
            ".git/objects/info/alternates",
            found.stdout.strip() + "\n",
            abandonOnFailure=True,
            workdir=self._dir,
        )

    # -- fetching -----------------------------------------------------------------------------------------

    @property
    def _depth(self) -> int:
        return int(self.shallow or 0)

    @property
    def _wants_tags(self) -> bool:
        return bool(self.tags or self.getDescription or isinstance(self.getDescription, Mapping))

    async def _fetch(self, refspec: str, *options: str, check: bool = True) -> None:
        words = ["fetch", "--force", "--tags" if self._wants_tags else "--no-tags", *options]
        if self.progress:
            words.append("--progress")
        if self._depth and not options:
            words += ["--depth", str(self._depth)]
        words += [f"--filter={each}" for each in self.filters or ()]
        # Submodules are brought up to date by their own command.
        words += ["--no-recurse-submodules", "--", self._access.url, refspec]
        fetched, why = await self.git_afar(*words)
        if self.retryFetch and fetched.results() != SUCCESS:
            self._run.log("stdio").addHeader("fetching failed, trying it again\n")
            fetched, why = await self.git_afar(*words)
        if check and fetched.results() != SUCCESS:
            if why == f"couldn't find remote ref {HEAD}":
                why = f"{self._access.url} has no branch of its own, or is empty"
            elif why.startswith("couldn't find remote ref "):
                why = f"{self._access.url} has no branch {refspec.removeprefix('+')!r}"
            self.refuse(why or "fetching failed, see the log")

    async def _has(self, revision: str | None) -> bool:
        """Whether the repository has this very commit."""
        if revision is None:
            return False
        found = await self.git("cat-file", "-e", f"{revision}^{{commit}}", check=False, stdioLogName=None)
        return found.results() == SUCCESS

    async def _dig(self, branch: str, revision: str) -> None:
        """Get a revision that isn't among what was fetched: by its name, or with all its history."""
        if _HASH.match(revision):
            await self._fetch(f"+{revision}", check=False)
            if await self._has(revision):
                return
        else:
            await self._fetch(f"+{branch}", "--tags", check=False)  # it may be a tag's name
            if await self._has(revision):
                return
        if self._depth:
            await self._fetch(f"+{branch}", "--unshallow", check=False)

    # -- what comes after ---------------------------------------------------------------------------------

    async def _apply(self, patch: Patch) -> None:
        body = patch.body if patch.body.endswith(b"\n") else patch.body + b"\n"  # a form may have cut it off
        await self.downloadFileContentToWorker(_PATCH_FILE, body, abandonOnFailure=True, workdir=self._dir)
        words = ["apply", "--index", f"-p{patch.level}"]
        if patch.subdir and patch.subdir != ".":
            words.append(f"--directory={patch.subdir}")
        done, why = await self.git_afar(*words, "--", _PATCH_FILE)
        if done.results() != SUCCESS:
            self.refuse(f"the patch doesn't apply: {why or 'see the log'}")
        await self.runRmFile(f"{self._dir}/{_PATCH_FILE}", abandonOnFailure=False)

    async def _tell(self) -> None:
        """Say what it has become, in properties."""
        head = await self.git("rev-parse", HEAD, collect=True)
        revision = head.stdout.strip()
        if not _HASH.match(revision):
            self.refuse(f"git gave {revision!r} as the revision")
        self.set_source_property("got_revision", revision)
        wanted = self.getDescription
        if wanted or isinstance(wanted, Mapping):
            described = await self.git("describe", *_described(wanted), HEAD, check=False, collect=True)
            if described.results() == SUCCESS:
                self.set_source_property("commit-description", described.stdout.strip())


def _described(wanted: bool | Mapping[str, Any]) -> list[str]:
    """The options of `git describe`."""
    words = []
    for name, value in wanted.items() if isinstance(wanted, Mapping) else ():
        if value is None or value is False:
            continue
        words.append(f"--{name}" if value is True else f"--{name}={value}")
    return words


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
