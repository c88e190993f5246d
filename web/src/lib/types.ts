// Things of the data API, with the fields that the page uses. Times in fields ending in `_us` are microseconds
// since 1970, others seconds.

export interface Builder {
  builderid: number;
  name: string;
  masterids: number[];
  description: string | null;
  description_html: string | null;
  projectid: number | null;
  tags: string[];
  /** Of finished ones; there when it is asked for. */
  latest_build?: Glance | null;
}

/** A build as builders, workers and lists have it at a glance. */
export type Glance = Pick<
  Build,
  | "buildid"
  | "number"
  | "builderid"
  | "workerid"
  | "started_at"
  | "started_at_us"
  | "complete"
  | "complete_at"
  | "complete_at_us"
  | "results"
  | "state_string"
>;

/** What a builder has done lately. */
export interface BuilderLately {
  builderid: number;
  recent_builds: Pick<Glance, "buildid" | "number" | "results" | "started_at_us" | "complete_at_us">[];
  running_builds: Glance[];
  pending_requests: number;
  /** What a build is expected to take. */
  expected_us: number | null;
}

export type Sourced = Record<string, [unknown, string]>;

export interface Build {
  buildid: number;
  number: number;
  builderid: number;
  buildrequestid: number;
  attempt: number;
  workerid: number;
  masterid: number;
  started_at: number;
  started_at_us: number;
  complete: boolean;
  complete_at: number | null;
  complete_at_us: number | null;
  locks_duration_us: number;
  results: number | null;
  state_string: string;
  properties?: Sourced;
  /** Why it was asked for, and what of; there when they are asked for. */
  reason?: string;
  sourcestamps?: SourceStamp[];
  /** What it is expected to take; there when it is asked for. */
  expected_us?: number | null;
}

export interface Step {
  stepid: number;
  number: number;
  name: string;
  buildid: number;
  started_at: number | null;
  started_at_us: number | null;
  locks_acquired_at_us: number | null;
  complete: boolean;
  complete_at_us: number | null;
  results: number | null;
  state_string: string;
  urls: { name: string; url: string }[];
  hidden: boolean;
}

export interface Log {
  logid: number;
  name: string;
  slug: string;
  stepid: number;
  complete: boolean;
  num_lines: number;
  length: number;
  /** s: output with streams, t: text, h: HTML, d: deleted. */
  type: string;
}

export interface BuildRequest {
  buildrequestid: number;
  buildsetid: number;
  builderid: number;
  priority: number;
  claimed: boolean;
  claimed_at: number | null;
  complete: boolean;
  complete_at: number | null;
  results: number | null;
  submitted_at: number;
  submitted_at_us: number;
  waited_for: boolean;
  attempts: number;
  waits_for: string;
  stop_reason: string | null;
  properties?: Sourced;
  /** Why it was asked for, and what of; there when they are asked for. */
  reason?: string;
  sourcestamps?: SourceStamp[];
}

export interface SourceStamp {
  ssid: number;
  revision: string | null;
  branch: string | null;
  repository: string;
  project: string;
  codebase: string;
  patch: { patchid: number; author: string; comment: string; level: number; subdir: string } | null;
}

export interface Buildset {
  bsid: number;
  external_idstring: string | null;
  reason: string;
  rebuilt_buildid: number | null;
  submitted_at: number;
  complete: boolean;
  complete_at: number | null;
  results: number | null;
  sourcestamps: SourceStamp[];
  parent_buildid: number | null;
  parent_relationship: string | null;
}

export interface Worker {
  workerid: number;
  name: string;
  connected_to: { masterid: number }[];
  configured_on: { masterid: number; builderid: number }[];
  workerinfo: { admin?: string; host?: string; access_uri?: string; version?: string };
  paused: boolean;
  pause_reason: string | null;
  graceful: boolean;
}

export interface Master {
  masterid: number;
  name: string;
  active: boolean;
  last_active: number;
}

export interface Change {
  changeid: number;
  author: string;
  committer: string | null;
  files: string[];
  comments: string;
  revision: string | null;
  when_timestamp: number;
  branch: string | null;
  category: string | null;
  revlink: string | null;
  repository: string;
  project: string;
  codebase: string;
  properties: Sourced;
  sourcestamp: SourceStamp;
}

export interface Scheduler {
  schedulerid: number;
  name: string;
  enabled: boolean;
  master: Master | null;
}

export interface TestResultSet {
  test_result_setid: number;
  builderid: number;
  buildid: number;
  stepid: number;
  description: string | null;
  category: string;
  value_unit: string;
  tests_passed: number | null;
  tests_failed: number | null;
  num_results: number;
  complete: boolean;
}

/** What a scheduler is, what it starts and when; what another master has is known in part. */
export interface Schedule {
  schedulerid: number;
  name: string;
  kind: string | null;
  enabled: boolean;
  masterid: number | null;
  builder_names: string[] | null;
  /** The scheduler whose success it waits for. */
  follows: string | null;
  waits_for: string;
  next_due_us: number[];
  settled_us: number | null;
  settled_outcome: string | null;
  settled_buildsetid: number | null;
  /** Changes that wait for its timer, by branch. */
  waiting: {
    branch: string | null;
    codebase: string;
    project: string;
    repository: string;
    changes: number;
    important: number;
    fires_at_us: number | null;
  }[];
}

export interface ChangeSource {
  changesourceid: number;
  name: string;
  master: Master | null;
}

export interface TestResult {
  test_resultid: number;
  test_result_setid: number;
  builderid: number;
  test_name: string | null;
  test_code_path: string | null;
  line: number | null;
  duration_ns: number | null;
  value: string;
  message: string | null;
  /** null: what kind of results these are doesn't say. */
  passed: boolean | null;
}

/** How a test went in a builder's newest builds. */
export interface TestSummary {
  test_name: string;
  passed: number;
  failed: number;
  failing: boolean;
  flaky: boolean;
  flaky_because: "same source" | "alternates" | null;
  slow: boolean;
  duration_ns: number | null;
  /** The oldest first. */
  recent: { buildid: number; number: number; passed: boolean }[];
}

/** A test's result in a build. */
export interface TestRun {
  test_resultid: number;
  test_result_setid: number;
  buildid: number;
  builderid: number;
  number: number;
  started_at_us: number;
  complete_at_us: number | null;
  revision: string | null;
  category: string;
  value: string;
  passed: boolean | null;
  message: string | null;
  duration_ns: number | null;
  flaky_because: TestSummary["flaky_because"];
}
