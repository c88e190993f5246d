"""The tables, and the promises that they carry themselves.

- one open build per request (``one_open_build``), one build per (request, attempt);
- a log's chunks are numbered without gap: (log, seq) is unique and ``logs.next_chunk`` is compared and set;
- a scheduler acts once per cause: (scheduler, cause) is unique and outlives what it started;
- a change, an API call, a trigger that carries an identity is taken once.

Columns hold integers, text and bytes. Times are microseconds since the epoch, flags are 0 or 1, lists and
mappings are JSON text, journalled values are msgpack bytes. Ids of steps, logs and test result sets are
handed out by the masters from reserved blocks (:mod:`buildwright.store.ids`), all others by the database.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData()

Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Big = sa.BigInteger
Int = sa.Integer
Text = sa.Text
Bytes = sa.LargeBinary


def _id() -> sa.Column[int]:
    return sa.Column("id", Id, primary_key=True, autoincrement=True)


def _flag(name: str) -> sa.Column[int]:
    return sa.Column(name, Int, nullable=False, server_default="0")


def _text(name: str, default: str = "") -> sa.Column[str]:
    return sa.Column(name, Text, nullable=False, server_default=default)


def _version() -> sa.Column[int]:
    """Counts the row's writes: hints carry it and compare-and-set leans on it."""
    return sa.Column("version", Big, nullable=False, server_default="0")


def _partial(name: str, *columns: sa.ColumnElement[Any], where: str, unique: bool = False) -> None:
    """An index of the rows ``where``. SQLAlchemy's own words for it would load both databases' dialects."""
    sa.Index(name, *columns, unique=unique, info={"where": where})


# -- who there is ----------------------------------------------------------------------------------------

masters = sa.Table(
    "masters",
    metadata,
    _id(),
    sa.Column("name", Text, nullable=False, unique=True),
    sa.Column("term", Big, nullable=False, server_default="0"),  # one more with every taking of the lease
    sa.Column("beat", Big, nullable=False, server_default="0"),  # one more with every renewal; holds no time
    _flag("active"),
    sa.Column("last_active", Big, nullable=False, server_default="0"),  # for people only
)

id_blocks = sa.Table(
    "id_blocks",
    metadata,
    sa.Column("name", Text, primary_key=True),
    sa.Column("next", Big, nullable=False),
)

projects = sa.Table(
    "projects",
    metadata,
    _id(),
    sa.Column("name", Text, nullable=False, unique=True),
    _text("slug"),
    sa.Column("description", Text),
    sa.Column("description_format", Text),
)

codebases = sa.Table(
    "codebases",
    metadata,
    _id(),
    sa.Column("projectid", Id, nullable=False),
    sa.Column("name", Text, nullable=False),
    _text("slug"),
    sa.UniqueConstraint("projectid", "name"),
)

codebase_commits = sa.Table(
    "codebase_commits",
    metadata,
    _id(),  # greater than the parent's
    sa.Column("codebaseid", Id, nullable=False),
    sa.Column("revision", Text, nullable=False),
    sa.Column("author", Text, nullable=False),
    sa.Column("committer", Text),
    sa.Column("comments", Text, nullable=False),
    sa.Column("when_us", Big, nullable=False),
    sa.Column("parent_commitid", Id),
    sa.UniqueConstraint("codebaseid", "revision"),
)
sa.Index("commits_of_codebase", codebase_commits.c.codebaseid, codebase_commits.c.id)

codebase_branches = sa.Table(
    "codebase_branches",
    metadata,
    _id(),
    sa.Column("codebaseid", Id, nullable=False),
    sa.Column("name", Text, nullable=False),
    sa.Column("commitid", Id, nullable=False),
    sa.Column("last_us", Big, nullable=False),  # when it came to that commit, as far as we were told
    sa.UniqueConstraint("codebaseid", "name"),
)

builders = sa.Table(
    "builders",
    metadata,
    _id(),
    sa.Column("name", Text, nullable=False, unique=True),
    sa.Column("description", Text),
    sa.Column("description_format", Text),
    _text("tags", "[]"),
    sa.Column("projectid", Id),
    sa.Column("next_number", Big, nullable=False, server_default="1"),
    _text("waits_for"),  # why its requests don't start, for people; a request's own reason goes first
    _version(),
)

builder_masters = sa.Table(
    "builder_masters",
    metadata,
    sa.Column("builderid", Id, primary_key=True),
    sa.Column("masterid", Id, primary_key=True, index=True),
)

workers = sa.Table(
    "workers",
    metadata,
    _id(),
    sa.Column("name", Text, nullable=False, unique=True),
    _flag("paused"),
    sa.Column("pause_reason", Text),
    _flag("graceful"),
    _text("info", "{}"),
    # The fence: every write to a build of this worker compares these two (design: the attachment is the
    # fence).
    sa.Column("attachment", Big, nullable=False, server_default="0"),
    sa.Column("masterid", Id, index=True),  # the master it is or was last attached to; NULL: free
    _flag("connected"),
    sa.Column("boot_id", Text),
    sa.Column("ledger_id", Text),
    # The call that made the attachment, and who held the worker before it: what the call is answered when it
    # is run again. JSON: [key, master].
    sa.Column("attached_call", Text),
    _version(),
)

configured_workers = sa.Table(
    "configured_workers",
    metadata,
    sa.Column("builderid", Id, primary_key=True),
    sa.Column("masterid", Id, primary_key=True, index=True),
    sa.Column("workerid", Id, primary_key=True, index=True),
)

schedulers = sa.Table(
    "schedulers",
    metadata,
    _id(),
    sa.Column("name", Text, nullable=False, unique=True),
    sa.Column("enabled", Int, nullable=False, server_default="1"),
    sa.Column("masterid", Id),
    _flag("wants_changes"),  # whether new changes get an inbox row for it
    _text("state", "{}"),
    _version(),
)

scheduler_upstreams = sa.Table(
    "scheduler_upstreams",
    metadata,
    sa.Column("upstreamid", Id, primary_key=True),
    sa.Column("schedulerid", Id, primary_key=True),
)

changesources = sa.Table(
    "changesources",
    metadata,
    _id(),
    sa.Column("name", Text, nullable=False, unique=True),
    sa.Column("masterid", Id),
    _text("state", "{}"),
    _version(),
)

api_tokens = sa.Table(
    "api_tokens",
    metadata,
    _id(),
    sa.Column("name", Text, nullable=False, unique=True),
    sa.Column("hash", Text, nullable=False, unique=True),  # SHA-256 of the token, hex
    sa.Column("created_at", Big, nullable=False),
)

signing_keys = sa.Table(  # what the masters of this database sign people's sessions with
    "signing_keys",
    metadata,
    sa.Column("name", Text, primary_key=True),
    sa.Column("key", Bytes, nullable=False),
    sa.Column("created_at", Big, nullable=False),
)

ended_sessions = sa.Table(  # of those who logged out, until they would have expired
    "ended_sessions",
    metadata,
    sa.Column("id", Text, primary_key=True),
    sa.Column("expires_at", Big, nullable=False),
)

audit = sa.Table(  # who asked for what, and what became of it
    "audit",
    metadata,
    _id(),
    sa.Column("asked_at", Big, nullable=False, index=True),
    sa.Column("who", Text, nullable=False),  # a token's name, or who it was by other means
    sa.Column("peer", Text),  # the address it came from; NULL: it wasn't the network
    sa.Column("method", Text, nullable=False),
    sa.Column("target", Text, nullable=False),  # the path of what it was asked of
    _text("params", "{}"),  # JSON; long texts are cut
    sa.Column("outcome", Text, nullable=False),  # asked, done, refused, failed: see units.audit
    _text("answer"),  # the result as JSON, or why not
)

# -- what came in -----------------------------------------------------------------------------------------

patches = sa.Table(
    "patches",
    metadata,
    _id(),
    sa.Column("level", Int, nullable=False),
    sa.Column("body", Bytes, nullable=False),
    _text("author"),
    _text("comment"),
    sa.Column("subdir", Text),
)

sourcestamps = sa.Table(
    "sourcestamps",
    metadata,
    _id(),
    sa.Column("ss_hash", Text, nullable=False, unique=True),
    sa.Column("branch", Text),
    sa.Column("revision", Text),
    _text("repository"),
    _text("codebase"),
    _text("project"),
    sa.Column("patchid", Id),
    sa.Column("created_at", Big, nullable=False),
)

changes = sa.Table(
    "changes",
    metadata,
    _id(),
    sa.Column(
        "identity", Text, unique=True
    ),  # source, repository, branch, revision, or a delivery's id: taken once
    sa.Column("author", Text, nullable=False),
    sa.Column("committer", Text),
    _text("comments"),
    sa.Column("branch", Text),
    sa.Column("revision", Text),
    sa.Column("revlink", Text),
    sa.Column("when_us", Big, nullable=False),
    sa.Column("received_at", Big, nullable=False),
    sa.Column("category", Text),
    _text("repository"),
    _text("codebase"),
    _text("project"),
    _text("files", "[]"),
    _text("properties", "{}"),
    sa.Column("parent_changeid", Id),
    sa.Column("sourcestampid", Id, nullable=False, index=True),
)

scheduler_changes = sa.Table(  # inbox: changes that a scheduler has still to use
    "scheduler_changes",
    metadata,
    sa.Column("schedulerid", Id, primary_key=True),
    sa.Column("changeid", Id, primary_key=True, index=True),
    sa.Column("important", Int),  # NULL: not looked at yet
)

scheduler_completions = sa.Table(  # inbox: finished upstream buildsets that a scheduler has still to look at
    "scheduler_completions",
    metadata,
    sa.Column("schedulerid", Id, primary_key=True),
    sa.Column("buildsetid", Id, primary_key=True),
)

scheduler_causes = sa.Table(
    "scheduler_causes",
    metadata,
    sa.Column("schedulerid", Id, primary_key=True),
    sa.Column("cause", Text, primary_key=True),
    sa.Column("buildsetid", Id),  # NULL: settled without a buildset (skipped)
    _text("outcome", "fired"),
    sa.Column("settled_at", Big, nullable=False),
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("key", Text, primary_key=True),
    sa.Column("result", Text, nullable=False),  # what the first call was answered, JSON
    sa.Column("created_at", Big, nullable=False),
)

# -- what is to be done -----------------------------------------------------------------------------------

buildsets = sa.Table(
    "buildsets",
    metadata,
    _id(),
    sa.Column("external_idstring", Text),
    _text("reason"),
    sa.Column("schedulerid", Id),
    sa.Column("submitted_at", Big, nullable=False),
    _flag("complete"),
    sa.Column("complete_at", Big),
    sa.Column("results", Int, nullable=False, server_default="-1"),
    sa.Column("parent_buildid", Id, index=True),
    sa.Column("parent_relationship", Text),
    sa.Column("rebuilt_buildid", Id),
    _text("properties", "{}"),  # {name: [value, source]}
    _version(),
)

buildset_sourcestamps = sa.Table(
    "buildset_sourcestamps",
    metadata,
    sa.Column("buildsetid", Id, primary_key=True),
    sa.Column("sourcestampid", Id, primary_key=True, index=True),
)

buildset_changes = sa.Table(
    "buildset_changes",
    metadata,
    sa.Column("buildsetid", Id, primary_key=True),
    sa.Column("changeid", Id, primary_key=True, index=True),
)

buildrequests = sa.Table(
    "buildrequests",
    metadata,
    _id(),
    sa.Column("buildsetid", Id, nullable=False, index=True),
    sa.Column("builderid", Id, nullable=False, index=True),
    sa.Column("priority", Int, nullable=False, server_default="0"),
    sa.Column("submitted_at", Big, nullable=False),
    _flag("waited_for"),
    sa.Column("claimed_by", Id),  # masterid
    sa.Column("claimed_at", Big),
    _flag("complete"),
    sa.Column("complete_at", Big),
    sa.Column("results", Int, nullable=False, server_default="-1"),
    sa.Column("attempts", Int, nullable=False, server_default="0"),
    sa.Column("stop_results", Int),  # a stop that reaches any owner: the results it asks for
    sa.Column("stop_reason", Text),
    _text("waits_for"),  # why it has not started, for people
    _version(),
)
_partial(
    "waiting_requests",
    buildrequests.c.builderid,
    buildrequests.c.priority.desc(),
    buildrequests.c.id,
    where="complete = 0 AND claimed_by IS NULL",
)
_partial(
    "stopped_requests",
    buildrequests.c.id,
    where="complete = 0 AND stop_results IS NOT NULL",
)

builds = sa.Table(
    "builds",
    metadata,
    _id(),
    sa.Column("number", Big, nullable=False),
    sa.Column("builderid", Id, nullable=False),
    sa.Column("buildrequestid", Id, nullable=False),
    sa.Column("attempt", Int, nullable=False),
    sa.Column("workerid", Id, nullable=False, index=True),
    sa.Column("masterid", Id, nullable=False),
    sa.Column("started_at", Big, nullable=False, index=True),
    sa.Column("complete_at", Big),
    sa.Column("results", Int),
    _text("state_string"),
    sa.Column("locks_duration_us", Big, nullable=False, server_default="0"),
    _text("properties", "{}"),  # {name: [value, source]}
    _text("fingerprint"),  # of the steps as configured when it started
    sa.Column("pinned", Text),  # identity of the basedir whose files it has used
    # A lost attempt keeps slot, work directory and locks until its commands are known dead.
    _flag("lingering"),
    _version(),
    sa.UniqueConstraint("builderid", "number"),
    sa.UniqueConstraint("buildrequestid", "attempt"),
)
_partial(
    "one_open_build",
    builds.c.buildrequestid,
    unique=True,
    where="complete_at IS NULL",
)
_partial(
    "occupying_builds",
    builds.c.workerid,
    where="complete_at IS NULL OR lingering = 1",
)
sa.Index("builds_by_results", builds.c.results, builds.c.id)

steps = sa.Table(
    "steps",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=False),
    sa.Column("buildid", Id, nullable=False),
    sa.Column("number", Int, nullable=False),
    sa.Column("name", Text, nullable=False),
    sa.Column("try", Int, nullable=False, server_default="0"),
    sa.Column("started_at", Big),
    sa.Column("locks_acquired_at", Big),
    sa.Column("complete_at", Big),
    sa.Column("results", Int),
    _text("state_string"),
    _text("urls", "[]"),
    _flag("hidden"),
    sa.Column("fingerprint", Text),
    # msgpack: what its renderables rendered to, the doStepIf decision; and its statistics, when it has ended
    sa.Column("arguments", Bytes),
    # The build's properties as they were at the step's start, kept from its first property write on; NULL:
    # unchanged.
    sa.Column("properties_before", Text),
    _flag("foreign_wait"),  # it awaited something that no journal can replay
    _flag("added_steps"),  # it put steps into the build
    sa.UniqueConstraint("buildid", "number"),
)

journal = sa.Table(
    "journal",
    metadata,
    sa.Column("stepid", Id, primary_key=True),
    sa.Column("try", Int, primary_key=True),
    sa.Column("seq", Int, primary_key=True),
    sa.Column("kind", Text, nullable=False),  # command, trigger, once, stop
    sa.Column("fingerprint", Text, nullable=False),
    sa.Column("logid", Id),  # a command's main log
    sa.Column(
        "acked", Big, nullable=False, server_default="0"
    ),  # a command's records below this are committed
    _flag("done"),
    sa.Column("outcome", Bytes),  # msgpack; for open entries what was collected so far
)

logs = sa.Table(
    "logs",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=False),
    sa.Column("stepid", Id, nullable=False),
    sa.Column("name", Text, nullable=False),
    sa.Column("slug", Text, nullable=False),
    sa.Column("type", Text, nullable=False),
    _flag("complete"),
    sa.Column("num_lines", Big, nullable=False, server_default="0"),
    sa.Column("length", Big, nullable=False, server_default="0"),  # bytes of all streams
    sa.Column("next_chunk", Big, nullable=False, server_default="0"),
    sa.Column("tier", Text, nullable=False, server_default="live"),  # where its bytes are: see units.logs
    sa.Column("expired_at", Big),
    # Per stream the chunk in which its unfinished line begins: {"o": seq}; what the next append continues
    # from.
    _text("open_lines", "{}"),
    sa.UniqueConstraint("stepid", "slug"),
)
_partial(  # finished logs whose bytes are still to be moved or removed
    "logs_to_tend",
    logs.c.id,
    where="complete = 1 AND tier IN ('live', 'shedding', 'expiring')",
)

logchunks = sa.Table(
    "logchunks",
    metadata,
    sa.Column("logid", Id, primary_key=True),
    sa.Column("seq", Big, primary_key=True),
    sa.Column("offset", Big, nullable=False),  # of its first byte in the whole log
    sa.Column("first_line", Big, nullable=False),  # the number its first newline completes
    sa.Column(
        "num_lines", Big, nullable=False
    ),  # newlines in it; 1 in the empty chunk that ends a last half line
    sa.Column("line_from", Big, nullable=False),  # the chunk in which the line that it begins with begins
    sa.Column("stream", Text, nullable=False),  # o, e, h
    sa.Column("time_us", Big, nullable=False),
    sa.Column("origin", Text, nullable=False),  # the command's id, or "" for what the step itself wrote
    sa.Column("content", Bytes, nullable=False),
)
sa.Index("logchunk_lines", logchunks.c.logid, logchunks.c.first_line, logchunks.c.seq)

sealed_logs = sa.Table(
    "sealed_logs",
    metadata,
    sa.Column("logid", Id, primary_key=True, autoincrement=False),
    sa.Column("blob", Text, nullable=False),  # key in the blob store
    sa.Column("size", Big, nullable=False),
    sa.Column("frames", Bytes, nullable=False),  # the index (msgpack)
)

blobs = sa.Table(  # the database as blob store, for several masters without a shared one
    "blobs",
    metadata,
    sa.Column("key", Text, primary_key=True),
    sa.Column("piece", Int, primary_key=True),
    sa.Column("content", Bytes, nullable=False),
)

# -- what builds leave behind -----------------------------------------------------------------------------

build_data = sa.Table(
    "build_data",
    metadata,
    _id(),
    sa.Column("buildid", Id, nullable=False),
    sa.Column("name", Text, nullable=False),
    sa.Column("value", Bytes, nullable=False),
    sa.Column("length", Big, nullable=False),  # bytes of the value
    sa.Column("source", Text, nullable=False),
    sa.UniqueConstraint("buildid", "name"),
)

test_result_sets = sa.Table(
    "test_result_sets",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=False),
    sa.Column("builderid", Id, nullable=False),
    sa.Column("buildid", Id, nullable=False, index=True),
    sa.Column("stepid", Id, nullable=False),
    sa.Column("number", Int, nullable=False),  # among those of its step, in the order of their making
    sa.Column("description", Text),
    sa.Column("category", Text, nullable=False),
    sa.Column("value_unit", Text, nullable=False),
    sa.Column("tests_passed", Int),  # both NULL where the category knows neither
    sa.Column("tests_failed", Int),
    # Results stored. The step's code adds them again when it is run again: so many are skipped then.
    sa.Column("num_results", Big, nullable=False, server_default="0"),
    _flag("complete"),
    sa.UniqueConstraint("stepid", "number"),
)
sa.Index("result_sets_of_builder", test_result_sets.c.builderid, test_result_sets.c.id)

test_results = sa.Table(
    "test_results",
    metadata,
    _id(),
    sa.Column("builderid", Id, nullable=False),
    sa.Column("test_result_setid", Id, nullable=False),
    sa.Column("test_nameid", Id),
    sa.Column("test_code_pathid", Id),
    sa.Column("line", Int),
    sa.Column("duration_ns", Big),
    sa.Column("value", Text, nullable=False),
    sa.Column("message", Text),
    sa.Column("passed", Int),  # NULL where the set's category doesn't know
)
sa.Index("results_of_set", test_results.c.test_result_setid, test_results.c.id)
sa.Index("results_of_name", test_results.c.test_nameid, test_results.c.id)  # names are a builder's
_partial(
    "unsuccessful_results",
    test_results.c.test_result_setid,
    test_results.c.id,
    where="passed = 0",
)


def _repeated(name: str, column: str) -> sa.Table:
    """Texts that a builder's results say again and again, each once. Found by their digest: they may be
    longer than an index takes."""
    return sa.Table(
        name,
        metadata,
        _id(),
        sa.Column("builderid", Id, nullable=False),
        sa.Column("digest", Text, nullable=False),
        sa.Column(column, Text, nullable=False),
        sa.UniqueConstraint("builderid", "digest"),
    )


test_names = _repeated("test_names", "name")
test_code_paths = _repeated("test_code_paths", "path")

# -- locks ------------------------------------------------------------------------------------------------

locks = sa.Table(
    "locks",
    metadata,
    _id(),
    sa.Column("name", Text, nullable=False),
    sa.Column("workerid", Id, nullable=False, server_default="0"),  # 0: one for all masters
    sa.Column("max_count", Int, nullable=False),
    sa.Column("generation", Big, nullable=False, server_default="0"),
    sa.UniqueConstraint("name", "workerid"),
)

lock_claims = sa.Table(  # holders and waiters in one queue, in the order of their ids
    "lock_claims",
    metadata,
    _id(),
    sa.Column("lockid", Id, nullable=False),
    sa.Column("buildrequestid", Id, nullable=False, index=True),
    sa.Column("stepid", Id, nullable=False, server_default="0"),  # 0: for the whole build
    sa.Column("mode", Text, nullable=False),  # counting, exclusive
    sa.Column("masterid", Id, nullable=False),  # who looks after it while it waits
    sa.Column("count", Int, nullable=False, server_default="1"),
    _flag("granted"),
    sa.Column("queued_at", Big, nullable=False),
    sa.UniqueConstraint("lockid", "buildrequestid", "stepid"),
)
