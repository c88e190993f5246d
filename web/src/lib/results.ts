// How builds, steps and requests end, in Buildbot's numbers.

export const SUCCESS = 0;
export const WARNINGS = 1;
export const FAILURE = 2;
export const SKIPPED = 3;
export const EXCEPTION = 4;
export const RETRY = 5;
export const CANCELLED = 6;

const NAMES = ["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"] as const;
/** All words for what became of something. */
export const OUTCOMES = [...NAMES, "running", "waiting", "unknown"] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface Ends {
  complete?: boolean;
  results: number | null;
  started_at?: number | null;
}

/** The word for what became of something; also the class that colours it. */
export function outcome(thing: Ends | undefined | null): Outcome {
  if (!thing) return "unknown";
  if (thing.complete === false) return thing.started_at === null ? "waiting" : "running";
  return (thing.results === null ? undefined : NAMES[thing.results]) ?? "unknown";
}

/** Whether it went wrong in a way that somebody should look at. */
export function broke(thing: Ends | undefined | null): boolean {
  const word = outcome(thing);
  return word === "failure" || word === "exception";
}
