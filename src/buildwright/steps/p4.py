"""Sources from a Perforce server.

What the server believes a client to have is what counts for Perforce: if the directory is gone, a plain sync
brings nothing. So a file in the directory says which client it is of. Where there is none, the server is told
that the client has nothing, and then the file is written; from there on an interrupted sync just goes on.

The client is written anew in each build, with the arguments' view, since what it was made with may have
changed. It must be this directory's alone.

A password is in the environment of p4, or with ``use_tickets`` on the standard input of ``p4 login``: no list
of processes shows it. Revisions are changes, labels or dates, as p4 takes them after an ``@``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from buildwright.builds.commands import RemoteShellCommand
from buildwright.model.errors import error, shown
from buildwright.model.renderable import IRenderable, is_renderable
from buildwright.model.results import SUCCESS
from buildwright.steps.arguments import expect_flags, expect_lists, expect_texts
from buildwright.steps.workingcopy import WorkingCopy

LINE_ENDS = ("local", "share", "unix", "mac", "win")
CLIENT_TYPES = ("writeable", "readonly", "partitioned", "partitioned-jnl", "graph")

_CHANGE = re.compile(r"^Change (\d+) on ", re.MULTILINE)
_REVISION = re.compile(r"[^\s@#,%*]+\Z")
_NOT_IN_NAMES = re.compile(r"[^\w.-]+")
_MODIFIED = re.compile(r"can't (?:clobber|overwrite)", re.IGNORECASE)


class P4(WorkingCopy):
    """Gets the sources of one codebase with p4, and sets the property ``got_revision`` to the newest change
    that the working directory has.

    What is got is ``p4base`` with ``p4branch`` below it, and the pairs of ``p4extra_views``; or, in full, the
    pairs (depot path, client path) of ``p4viewspec``, each followed by ``p4viewspec_suffix``; or with
    ``stream`` the stream of that name. A source stamp's branch isn't added: render it where it belongs.

    ``p4client`` is the client's name, by default one of the worker and the builder. ``p4passwd`` is a
    password, or a ticket; with ``use_tickets`` the step logs in with it. ``p4extra_args`` are options of p4
    itself. ``debug`` shows the client's specification in the log.

    ``mode`` is ``incremental`` (what builds have made stays) or ``full`` with a ``method``: ``clobber`` (the
    default: begin with nothing), ``fresh`` (all files that aren't Perforce's are removed), ``clean`` (as
    fresh, but those that P4IGNORE names stay).

    Example::

        factory.addStep(
            steps.P4(
                p4port="ssl:perforce.example.org:1666",
                p4user="ci",
                p4passwd=util.Secret("perforce"),
                p4base="//depot/project",
                p4branch="main",
                p4extra_views=[("//depot/tools", "tools")],
            )
        )
    """

    name = "p4"
    renderables: ClassVar[tuple[str, ...]] = (
        "p4base",
        "p4branch",
        "p4port",
        "p4user",
        "p4passwd",
        "p4viewspec",
        "p4client",
    )

    tool = "p4"
    admin = ".buildwright"
    methods = ("clobber", "fresh", "clean")
    complaints = ("Perforce password", "Your session has expired", "Error in client specification")

    def __init__(
        self,
        mode: str | IRenderable = "incremental",
        method: str | IRenderable | None = None,
        p4base: str | IRenderable | None = None,
        p4branch: str | IRenderable | None = None,
        p4port: str | IRenderable | None = None,
        p4user: str | IRenderable | None = None,
        p4passwd: str | IRenderable | None = None,
        p4extra_views: Sequence[tuple[str, str]] = (),
        p4line_end: str = "local",
        p4viewspec: Sequence[tuple[str, str]] | IRenderable | None = None,
        p4viewspec_suffix: str | None = "...",
        p4client: str | IRenderable | None = None,
        p4client_spec_options: str = "allwrite rmdir",
        p4client_type: str | None = None,
        p4extra_args: Sequence[str] | None = None,
        p4bin: str = "p4",
        use_tickets: bool = False,
        stream: bool = False,
        debug: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(mode=mode, **kwargs)
        self.method = method
        self.p4base = self.repourl = p4base
        self.p4branch = p4branch
        self.p4port = p4port
        self.p4user = p4user
        self.p4passwd = p4passwd
        self.p4extra_views = p4extra_views
        self.p4line_end = p4line_end
        self.p4viewspec: Any = p4viewspec
        self.p4viewspec_suffix = p4viewspec_suffix
        self.p4client = p4client
        self.p4client_spec_options = p4client_spec_options
        self.p4client_type = p4client_type
        self.p4extra_args = p4extra_args
        self.p4bin = p4bin
        self.use_tickets = use_tickets
        self.stream = stream
        self.debug = debug
        self.check_copy()
        self._check()

    def _check(self) -> None:
        expect_texts(
            "step P4",
            **{name: getattr(self, name) for name in ("p4base", "p4branch", "p4port", "p4user", "p4passwd")},
            p4viewspec_suffix=self.p4viewspec_suffix,
            p4client=self.p4client,
            p4client_spec_options=self.p4client_spec_options,
            p4bin=self.p4bin,
        )
        expect_flags("step P4", use_tickets=self.use_tickets, stream=self.stream, debug=self.debug)
        expect_lists("step P4", p4extra_args=self.p4extra_args)
        for name in ("p4extra_views", "p4viewspec"):
            value = getattr(self, name)
            if value is not None and not is_renderable(value) and not _are_pairs(value):
                error(
                    f"step P4: {name} must be a list of pairs (depot path, client path), not {shown(value)}",
                    f"as in {name}=[('//depot/tools', 'tools')]",
                )
        for name in ("p4base", "p4branch"):
            if isinstance(value := getattr(self, name), str) and value.endswith("/"):
                error(f"step P4: {name} must not end with a slash, as {value!r} does")
        if self.p4viewspec is None and self.p4base is None:
            error("step P4 has no p4base", "give it p4base='//depot/project', or a p4viewspec")
        if self.p4viewspec is not None and (self.p4base or self.p4branch or self.p4extra_views):
            error("step P4: p4viewspec is the whole view: it takes no p4base, p4branch and p4extra_views")
        if self.stream and (self.p4branch is None or self.p4viewspec is not None or self.p4extra_views):
            error("step P4: stream takes p4base and p4branch, which together name it, and no view")
        if self.use_tickets and self.p4passwd is None:
            error("step P4: use_tickets needs a p4passwd to log in with", "give it p4passwd")
        if self.p4line_end not in LINE_ENDS:
            error(f"step P4: p4line_end must be one of {', '.join(LINE_ENDS)}, not {shown(self.p4line_end)}")
        if self.p4client_type is not None and self.p4client_type not in CLIENT_TYPES:
            kinds = ", ".join(CLIENT_TYPES)
            error(f"step P4: p4client_type must be one of {kinds}, not {shown(self.p4client_type)}")

    # -- the working copy ---------------------------------------------------------------------------------

    async def checkout(self, branch: str, revision: str | None, patch: Any) -> int:
        if revision is not None and not _REVISION.match(revision):
            self.refuse(f"{revision!r} can't be a revision")
        if self.p4passwd and not self.use_tickets:
            self.logEnviron = False
        if self.use_tickets:
            await self.vc_afar("login", dir=".", initialStdin=f"{self.p4passwd}\n")
        spec = self._client_spec()
        if self.debug:
            self._run.log("stdio").addHeader(spec)
        await self.vc_afar("client", "-i", dir=".", initialStdin=spec)
        return await super().checkout(branch, revision, patch)

    async def is_ours(self) -> bool:
        if not await self.hasFile(self._mark):
            return False
        found = await self.run_tool(["cat", self._mark], ".", collect=True, stdioLogName=None)
        return bool(found.stdout == self._identity)

    async def make(self, branch: str, revision: str | None) -> None:
        await self.runMkdir(self._dir)
        await self.vc_afar("sync", "-k", f"{self._all}#none")
        await self._write_mark()
        await self.update(branch, revision)

    async def update(self, branch: str, revision: str | None) -> None:  # noqa: ARG002
        words = ["sync", f"{self._all}@{revision}" if revision else f"{self._all}#head"]
        done, why = await self.vc_tried(*words)
        if done.results() == SUCCESS:
            return
        if not _MODIFIED.search(self._tail.text if self._tail is not None else ""):
            self.refuse(why or "p4 failed, see the log")
        await self.vc_afar("clean", "-e", "-d", "-m", self._all)
        await self.vc_afar(*words)

    async def clean(self, ignored: bool) -> None:
        await self.vc_afar("clean", *(["-I"] if ignored else []), self._all)
        await self._write_mark()

    async def got_revision(self) -> str:
        said = await self.vc_afar("changes", "-m1", f"{self._all}#have", collect=True)
        found = _CHANGE.search(said.stdout)
        if found is None:
            self.refuse("the view has no files")
        return found[1]

    # -- the client ---------------------------------------------------------------------------------------

    @property
    def _client(self) -> str:
        if self.p4client:
            return str(self.p4client)
        parts = ["buildwright", self.build.getWorkerName(), self.build.builder.name, self.codebase]
        return _NOT_IN_NAMES.sub("-", "_".join(part for part in parts if part))

    @property
    def _all(self) -> str:
        return f"//{self._client}/..."

    @property
    def _root(self) -> str:
        return posixpath.join(self.build.worker.worker_basedir, self.build.path(self.place()))

    @property
    def _mark(self) -> str:
        return f"{self._dir}/{self.admin}/client"

    @property
    def _identity(self) -> str:
        """Whose the directory is."""
        return f"{self.p4port or ''}\n{self._client}\n{self._root}\n"

    async def _write_mark(self) -> None:
        await self.runMkdir(f"{self._dir}/{self.admin}")
        await self.downloadFileContentToWorker(self._mark, self._identity, abandonOnFailure=True, workdir=".")

    def _client_spec(self) -> str:
        """What ``p4 client -i`` is given."""
        fields = {"Client": self._client, "Owner": self.p4user, "Root": self._root}
        fields |= {"Options": self.p4client_spec_options, "LineEnd": self.p4line_end}
        fields["Type"] = self.p4client_type
        if self.stream:
            fields["Stream"] = f"{self.p4base}/{self.p4branch}"
        lines = [f"{name}:\t{value}" for name, value in fields.items() if value]
        lines += ["Description:", "\tMade by Buildwright for its builds."]
        if not self.stream:
            lines += ["View:", *(f"\t{_quoted(there)} {_quoted(here)}" for there, here in self._view())]
        if any("\n" in line for line in lines):
            self.refuse("the client's name, its view and its options must be of one line each")
        return "\n".join([*lines, ""])

    def _view(self) -> list[tuple[str, str]]:
        here, suffix = f"//{self._client}/", self.p4viewspec_suffix or ""
        if self.p4viewspec is not None:
            if not _are_pairs(self.p4viewspec):
                self.refuse(f"p4viewspec must be a list of pairs, not {shown(self.p4viewspec)}")
            return [(f"{depot}{suffix}", f"{here}{path}{suffix}") for depot, path in self.p4viewspec]
        base = "/".join(str(part) for part in (self.p4base, self.p4branch) if part)
        more = [(f"{depot}/...", f"{here}{path}/...") for depot, path in self.p4extra_views]
        return [(f"{base}/...", f"{here}..."), *more]

    # -- p4 -----------------------------------------------------------------------------------------------

    async def vc(self, *words: str, dir: str | None = None, **options: Any) -> RemoteShellCommand:
        command = [self.p4bin]
        for option, value in {"-p": self.p4port, "-u": self.p4user, "-c": self._client}.items():
            command += [option, str(value)] if value else []
        password = {"P4PASSWD": self.p4passwd} if self.p4passwd and not self.use_tickets else {}
        command += [*(self.p4extra_args or ()), *words]
        where = self._dir if dir is None else dir
        return await self.run_tool(command, where, environment=password, **options)


def _are_pairs(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(each, list | tuple) and len(each) == 2 and all(isinstance(part, str) for part in each)
        for each in value
    )


def _quoted(path: str) -> str:
    """A path in a view; one with a space needs quotes, before the minus of one that is left out too."""
    return f'"{path}"' if " " in path else path
