import { expect, it, vi } from "vitest";

vi.stubGlobal("document", { baseURI: "http://ci.example.org/" });
const { testOutcome, testsOf, took } = await import("./tests");

it("says how long tests take", () => {
  expect([null, 400_000, 12_300_000, 990_000_000, 3_210_000_000, 75_000_000_000].map(took)).toEqual([
    "",
    "0.4 ms",
    "12 ms",
    "1.0 s",
    "3.2 s",
    "1 min 15 s",
  ]);
});

it("says what became of them", () => {
  expect(testOutcome({ passed: true })).toBe("success");
  expect(testOutcome({ passed: false })).toBe("failure");
  expect(testOutcome({ passed: null, category: "skip_only" })).toBe("skipped");
  expect(testOutcome({ passed: null, category: "performance" })).toBe("unknown");
});

it("leads to a test with any name", () => {
  expect(testsOf(3, "a/b?c=d&e #f")).toBe("#/builders/3/tests?name=a%2Fb%3Fc%3Dd%26e+%23f");
});
