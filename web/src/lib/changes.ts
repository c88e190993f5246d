// Changes as the views of them show them, with what became of them.

import type { Build, Change } from "./types";

/** A build of a change, as the field `builds` of changes has it. */
export type ChangeBuild = Pick<
  Build,
  | "buildid"
  | "number"
  | "builderid"
  | "started_at_us"
  | "complete"
  | "complete_at_us"
  | "results"
  | "state_string"
>;

export type Listed = Pick<
  Change,
  | "changeid"
  | "author"
  | "branch"
  | "revision"
  | "revlink"
  | "comments"
  | "repository"
  | "project"
  | "codebase"
  | "category"
  | "when_timestamp"
> & { builds?: ChangeBuild[] };

export const LISTED = [
  "changeid",
  "author",
  "branch",
  "revision",
  "revlink",
  "comments",
  "repository",
  "project",
  "codebase",
  "category",
  "when_timestamp",
] as const;

/** `Ann` of `Ann <ann@example.org>`. */
export function authorName(author: string): string {
  return author.replace(/\s*<[^<>]*>\s*$/, "") || author;
}

/** What a repository is called in a narrow place: the end of its address. */
export function repositoryName(repository: string): string {
  return (
    repository
      .replace(/\/+$/, "")
      .replace(/\.git$/, "")
      .split(/[/:]/)
      .pop() || repository
  );
}
