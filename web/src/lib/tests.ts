// Results of tests, as they are said and shown.

import type { Outcome } from "./results";
import { link } from "./router.svelte";
import { duration } from "./time";

export function testOutcome(result: { passed: boolean | null; category?: string }): Outcome {
  if (result.passed !== null) return result.passed ? "success" : "failure";
  return result.category === "skip_only" ? "skipped" : "unknown";
}

/** A duration in nanoseconds: tests take milliseconds. */
export function took(duration_ns: number | null): string {
  if (duration_ns === null) return "";
  const seconds = duration_ns / 1e9;
  if (seconds >= 9.95) return duration(seconds);
  if (seconds >= 0.95) return `${seconds.toFixed(1)} s`;
  const ms = duration_ns / 1e6;
  return ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
}

export function testsOf(builderid: number, name?: string): string {
  return link(["builders", builderid, "tests"], { name });
}
