// The parts of the page that think without a browser.

import { describe, expect, it, vi } from "vitest";

vi.stubGlobal("sessionStorage", { getItem: () => null });
vi.stubGlobal("document", { baseURI: "http://ci.example.org/path/" });

const { matches } = await import("./events");
const { outcome, broke } = await import("./results");
const { link, parse } = await import("./router.svelte");
const { bytes, firstLine, safeUrl, shortRevision } = await import("./text");
const { duration } = await import("./time");

describe("addresses", () => {
  it("are Buildbot's", () => {
    expect(parse("#/").pattern).toBe("/");
    expect(parse("").pattern).toBe("/");
    const { pattern, params } = parse("#/builders/3/builds/7");
    expect([pattern, params]).toEqual(["/builders/:builder/builds/:number", { builder: "3", number: "7" }]);
  });
  it("carry names with any character, and a query", () => {
    const found = parse(link(["builders", "a/b %?#"], { q: "x&y", none: undefined }));
    expect(found.params).toEqual({ builder: "a/b %?#" });
    expect(found.query.get("q")).toBe("x&y");
  });
  it("that are unknown or broken match nothing and raise nothing", () => {
    expect(parse("#/no/such").pattern).toBe("");
    expect(parse("#/builders/%E0%A4%A").params).toEqual({ builder: "%E0%A4%A" });
  });
});

describe("events", () => {
  it("match their paths element by element", () => {
    expect(matches("builds/*/*", ["builds", "12", "new"])).toBe(true);
    expect(matches("builds/12/*", ["builds", "13", "new"])).toBe(false);
    expect(matches("builds/*", ["builds", "12", "new"])).toBe(false);
  });
});

describe("results", () => {
  it("have words", () => {
    expect(outcome({ complete: false, results: null })).toBe("running");
    expect(outcome({ complete: false, results: null, started_at: null })).toBe("waiting");
    expect(outcome({ complete: true, results: 4 })).toBe("exception");
    expect(outcome({ complete: true, results: 77 })).toBe("unknown");
    expect(broke({ complete: true, results: 2 })).toBe(true);
    expect(broke({ complete: false, results: 2 })).toBe(false);
  });
});

describe("texts", () => {
  it("lead nowhere harmful", () => {
    expect(safeUrl("javascript:alert(1)")).toBeUndefined();
    expect(safeUrl(" java\nscript:alert(1)")).toBeUndefined();
    expect(safeUrl("data:text/html,x")).toBeUndefined();
    expect(safeUrl("https://example.org/a")).toBe("https://example.org/a");
    expect(safeUrl("relative/path")).toBe("relative/path");
  });
  it("are shortened as people do", () => {
    expect(shortRevision("0123456789abcdef0123456789abcdef01234567")).toBe("0123456789");
    expect(shortRevision("r1234")).toBe("r1234");
    expect(firstLine("\n one\ntwo")).toBe("one");
    expect([bytes(0), bytes(999), bytes(1234), bytes(999_600)]).toEqual(["0 B", "999 B", "1.2 kB", "1.0 MB"]);
  });
  it("say durations", () => {
    expect([0.04, 59.4, 59.6, 185, 7620, 100_000].map(duration)).toEqual([
      "0.0 s",
      "59 s",
      "1 min 00 s",
      "3 min 05 s",
      "2 h 07 min",
      "1 d 4 h",
    ]);
  });
});
