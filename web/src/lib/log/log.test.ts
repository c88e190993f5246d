// What a log reader thinks without a browser: colours, the scroller of endless lists, lines that are read as they
// are needed, searches that go on.

import { describe, expect, it, vi } from "vitest";

vi.stubGlobal("sessionStorage", { getItem: () => null });
vi.stubGlobal("document", { baseURI: "http://ci.example.org/path/" });

const { parse, plain } = await import("./ansi");
const { Lines } = await import("./lines");
const { pieces } = await import("./pieces");
const { formatRange, parseRange } = await import("./range");
const { places, Search } = await import("./search");
const { LONGEST_TRACK, Viewport } = await import("./viewport");

import type { Answer, Line } from "./lines";

describe("colours", () => {
  const one = (text: string) => parse(`\x1b[${text}mx`)[0]?.style;
  it("are SGR's", () => {
    expect(parse("plain")).toEqual([{ text: "plain", style: undefined }]);
    expect(parse("\x1b[01;31mred\x1b[0m not")).toEqual([
      { text: "red", style: { bold: true, color: 1 } },
      { text: " not", style: undefined },
    ]);
    expect([one("97"), one("100"), one("3;4;9;7")]).toEqual([
      { color: 15 },
      { ground: 8 },
      { italic: true, underlined: true, struck: true, inverse: true },
    ]);
    expect(one("1;31;22;39")).toBeUndefined();
    expect(one("1;;31")).toEqual({ color: 1 });
  });
  it("are of 256, or any", () => {
    expect([one("38;5;9"), one("38;5;196"), one("48;5;244"), one("38;5;300")]).toEqual([
      { color: 9 },
      { color: "rgb(255 0 0)" },
      { ground: "rgb(128 128 128)" },
      undefined,
    ]);
    expect([one("38;2;1;2;3;1"), one("38:2::1:2:3"), one("38:2:1:2:3"), one("58;5;1;3")]).toEqual([
      { color: "rgb(1 2 3)", bold: true },
      { color: "rgb(1 2 3)" },
      { color: "rgb(1 2 3)" },
      { italic: true },
    ]);
    expect(one("38;2;999;0;0")).toBeUndefined();
  });
  it("leave nothing else of a terminal", () => {
    expect(plain("\x1b]8;;http://x\x07link\x1b]8;;\x1b\\ \x1b[2K\x1b(Bend\x1b[?25l")).toBe("link end");
    expect(plain("10%\r20%\r100%\r")).toBe("100%");
    expect(plain("50%\r\x1b[K")).toBe("50%");
    expect(plain("\x1b")).toBe("");
    expect(plain("a\tb\x00\x07\x7f")).toBe("a\tb␀␇␡");
  });
  it("stay texts", () => {
    expect(parse("<b>\x1b[31m<script>")).toEqual([
      { text: "<b>", style: undefined },
      { text: "<script>", style: { color: 1 } },
    ]);
  });
  it("are cut where a match begins and ends", () => {
    const spans = parse("ab\x1b[31mcd\x1b[0mef");
    expect(
      pieces(spans, [
        [1, 3],
        [5, 6],
      ]).map(({ text, mark }) => [text, mark]),
    ).toEqual([
      ["a", false],
      ["b", true],
      ["c", true],
      ["d", false],
      ["e", false],
      ["f", true],
    ]);
  });
});

describe("a viewport", () => {
  function viewport(rows: number, height = 400): InstanceType<typeof Viewport> {
    const made = new Viewport(20);
    made.height = height;
    made.resize(rows);
    return made;
  }
  it("moves by pixels", () => {
    const view = viewport(1000);
    view.show(0, "top");
    view.by(50);
    expect([view.first, view.above, view.last()]).toEqual([2, 10, 23]);
    view.by(-30);
    expect([view.first, view.above, view.last()]).toEqual([1, 0, 21]);
    view.by(-1000);
    expect([view.first, view.above]).toEqual([0, 0]);
  });
  it("stays at the end while rows come, until it is moved", () => {
    const view = viewport(1000);
    view.show(0, "top");
    view.by(1e6);
    expect(view.atEnd).toBe(true);
    view.resize(1100);
    expect([view.atEnd, view.last()]).toEqual([true, 1100]);
    view.by(-20);
    expect([view.atEnd, view.first, view.above, view.last()]).toEqual([false, 1079, 0, 1099]);
    view.resize(1200);
    expect([view.atEnd, view.first]).toEqual([false, 1079]);
    view.by(40);
    expect(view.atEnd).toBe(false);
  });
  it("shows less than a view from its begin", () => {
    const view = viewport(5);
    expect([view.first, view.above, view.last(), view.track]).toEqual([0, 0, 5, 400]);
    expect(viewport(0).last()).toBe(0);
  });
  it("has a bar as exact as the log is short", () => {
    const view = viewport(1000);
    view.show(500, "top");
    expect(view.settled()).toBe(10_000);
    view.scrolled(12_345, true);
    expect([view.first, view.above]).toEqual([617, 5]);
    view.scrolled(19_600, true);
    expect(view.atEnd).toBe(true);
  });
  it("moves pixel by pixel in millions of rows, wherever the bar is", () => {
    const view = viewport(5_000_000);
    expect(view.track).toBe(LONGEST_TRACK);
    view.scrolled(6_000_000, true);
    expect(Math.abs(view.first - 2_500_000)).toBeLessThan(100_000);
    const { first, above } = view;
    view.scrolled(6_000_100, false);
    expect(view.first * 20 + view.above).toBeCloseTo(first * 20 + above + 100);
    const real = view.settled();
    expect(Math.abs(real - 6_000_000)).toBeLessThan(1000);
    view.scrolled(real, false);
    expect(view.first * 20 + view.above).toBeCloseTo(first * 20 + above + 100);
  });
  it("has a bar that is exact near both ends, so that none is met early", () => {
    const view = viewport(5_000_000);
    view.show(100, "top");
    expect(view.settled()).toBe(2000);
    view.show(4_999_900, "top");
    expect(view.settled()).toBe(LONGEST_TRACK - 2000);
  });
  it("says when the bar is at its end too early", () => {
    const view = viewport(5_000_000);
    view.scrolled(100_000, true);
    view.scrolled(100_700, false);
    expect(view.blocked).toBe(false);
    for (let real = 100_000; real >= 0; real -= 700) view.scrolled(real, false);
    view.scrolled(0, false);
    expect(view.first).toBeGreaterThan(0);
    expect(view.blocked).toBe(true);
    view.settled();
    expect(view.blocked).toBe(false);
    view.show(0, "top");
    view.settled();
    expect(view.blocked).toBe(false);
  });
  it("reaches every row by its bar, and both ends", () => {
    const view = viewport(5_000_000);
    for (const row of [0, 1, 77, 2999, 3001, 123_456, 2_500_000, 4_999_000, 4_999_979]) {
      view.show(row, "top");
      const real = view.settled();
      view.scrolled(real === 0 ? 5e6 : 0, true);
      view.scrolled(real, true);
      expect(Math.abs(view.first - row)).toBeLessThan(2);
    }
    view.scrolled(LONGEST_TRACK - 400, true);
    expect(view.atEnd).toBe(true);
    view.scrolled(0, true);
    expect([view.first, view.above]).toEqual([0, 0]);
  });
  it("brings a row into view only if it isn't", () => {
    const view = viewport(1000);
    view.show(0, "top");
    view.show(10);
    expect(view.first).toBe(0);
    view.show(500);
    expect(view.first).toBeLessThan(500);
    expect(view.last()).toBeGreaterThan(500);
    view.show(999);
    expect(view.atEnd).toBe(true);
  });
  it("measures rows of other heights", () => {
    const view = new Viewport(20, (row) => (row % 2 ? 60 : undefined));
    view.height = 200;
    view.resize(100);
    view.show(0, "top");
    view.by(85);
    expect([view.first, view.above]).toEqual([2, 5]);
    view.by(-10);
    expect([view.first, view.above]).toEqual([1, 55]);
    view.toEnd();
    view.by(-10);
    expect([view.first, view.above, view.atEnd]).toEqual([95, 10, false]);
  });
});

/** A log on a master of one's own: lines are `line N`. */
class Log {
  reads: Record<string, number>[] = [];
  held: (() => void)[] = [];
  hold = false;
  constructor(
    public total: number,
    public complete = true,
    public most = 1000,
  ) {}
  read = async (params: Record<string, number>, signal: AbortSignal): Promise<Answer> => {
    this.reads.push(params);
    if (this.hold) await new Promise<void>((resolve) => this.held.push(resolve));
    if (signal.aborted) throw new DOMException("", "AbortError");
    const offset = params["offset"] ?? 0;
    const first = offset < 0 ? Math.max(0, this.total + offset) : offset;
    const end = Math.min(this.total, first + Math.min(params["limit"] ?? 0, this.most));
    const lines: Line[] = [];
    for (let number = first; number < end; number++)
      lines.push({ number, stream: "o", text: `line ${number}`, time: 1 });
    const meta = { logid: 7, total: this.total, complete: this.complete, type: "s", length: 1 };
    const half = { stream: "o" as const, text: "half", time: 1, length: 4 };
    return { lines, half_lines: this.complete || end < this.total ? [] : [half], meta };
  };
}

describe("lines", () => {
  function open(log: Log): InstanceType<typeof Lines> {
    return new Lines(log.read, () => {});
  }
  it("are read where they are wanted, and once", async () => {
    const log = new Log(100_000);
    const lines = open(log);
    await lines.open(0);
    expect([lines.total, lines.at(0)?.text, lines.at(299)?.text, lines.at(300)]).toEqual([
      100_000,
      "line 0",
      "line 299",
      undefined,
    ]);
    lines.want(100, 150);
    expect(log.reads.length).toBe(1);
    lines.want(50_000, 50_040);
    await vi.waitFor(() => expect(lines.at(50_039)?.text).toBe("line 50039"));
    lines.want(50_010, 50_050);
    expect(log.reads.length).toBe(2);
  });
  it("give up what has left the view while it is read", async () => {
    const log = new Log(100_000);
    const lines = open(log);
    await lines.open(0);
    log.hold = true;
    lines.want(10_000, 10_040);
    lines.want(60_000, 60_040);
    for (const go of log.held) go();
    await vi.waitFor(() => expect(lines.at(60_000)).toBeDefined());
    expect(lines.at(10_000)).toBeUndefined();
    expect(lines.error).toBeUndefined();
  });
  it("come in short answers where they are long", async () => {
    const lines = open(new Log(100_000, true, 7));
    await lines.open(0);
    lines.want(5000, 5040);
    await vi.waitFor(() => {
      for (let number = 5000; number < 5040; number++) expect(lines.at(number)).toBeDefined();
    });
  });
  it("follow a log that grows, to its end", async () => {
    const log = new Log(10, false);
    const lines = open(log);
    await lines.open(0);
    expect(lines.halves.length).toBe(1);
    lines.want(0, 10);
    log.total = 12;
    lines.grew(12, false);
    expect(lines.total).toBe(12);
    await vi.waitFor(() => expect(lines.at(11)).toBeDefined());
    log.complete = true;
    lines.grew(12, true);
    await vi.waitFor(() => expect(lines.meta?.complete).toBe(true));
    expect(lines.halves).toEqual([]);
    const reads = log.reads.length;
    lines.grew(13, false);
    expect([lines.total, log.reads.length]).toEqual([12, reads]);
  });
  it("of a fast log are read at its end only", async () => {
    const log = new Log(10, false);
    const lines = open(log);
    await lines.open(0);
    lines.want(0, 10);
    log.total = 1_000_000;
    lines.grew(1_000_000, false);
    await vi.waitFor(() => expect(lines.at(999_999)).toBeDefined());
    expect(lines.at(500_000)).toBeUndefined();
  });
  it("are not read while the end of what grows is out of view", async () => {
    const log = new Log(1000, false);
    const lines = open(log);
    await lines.open(0);
    lines.want(0, 40);
    log.total = 2000;
    lines.grew(2000, false);
    expect([lines.total, log.reads.length]).toEqual([2000, 1]);
  });
  it("say what failed, and go on", async () => {
    const log = new Log(10);
    const { read } = log;
    log.read = () => Promise.reject(new Error("away"));
    const lines = new Lines(
      (...each) => log.read(...each),
      () => {},
    );
    await lines.open(0);
    expect(lines.error?.message).toContain("away");
    log.read = read;
    await lines.open(0);
    expect([lines.error, lines.total]).toEqual([undefined, 10]);
  });
});

describe("a search", () => {
  const asked = { text: "x", regex: false, case: true };
  /** Every tenth of 1000 lines matches; an answer searches 100 lines. */
  function look(params: Record<string, string | number | undefined>) {
    const backward = params["direction"] === "backward";
    const from = Number(params["offset"] ?? (backward ? 1000 : 0));
    const matches: { number: number }[] = [];
    let at = from;
    for (let n = 0; n < 100 && matches.length < Number(params["limit"]); n++) {
      if (backward ? at <= 0 : at >= 1000) break;
      if (backward) at--;
      if (at % 10 === 0) matches.push({ number: at });
      if (!backward) at++;
    }
    const next = (backward ? at <= 0 : at >= 1000) ? null : at;
    return Promise.resolve({ matches, meta: { next, total: 1000, complete: true } });
  }
  it("goes on to the end", async () => {
    const progress: number[] = [];
    const search = new Search(look, asked, () => progress.push(search.searched));
    await search.run();
    expect([search.matches.length, search.done, search.has(990), search.place(20)]).toEqual([
      100,
      true,
      true,
      3,
    ]);
    expect(progress).toEqual([100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]);
  });
  it("goes to the next match before it has reached it, and around the end", async () => {
    const search = new Search(look, asked, () => {});
    expect(await search.next(505, false)).toBe(510);
    expect(await search.next(505, true)).toBe(500);
    expect(await search.next(995, false)).toBe(0);
    expect(await search.next(0, true)).toBe(990);
    await search.run();
    expect(await search.next(505, false)).toBe(510);
    expect(await search.next(510, true)).toBe(500);
    expect(await search.next(990, false)).toBe(0);
    expect(await search.next(0, true)).toBe(990);
  });
  it("marks what it can", () => {
    expect(places("aXbx", asked)).toEqual([[3, 4]]);
    expect(places("aXbx", { ...asked, case: false })).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(places("a12b3", { text: "\\d+", regex: true, case: true })).toEqual([
      [1, 3],
      [4, 5],
    ]);
    expect(places("abc", { text: "(?P<x>", regex: true, case: true })).toEqual([]);
    expect(places("abc", { text: "z*", regex: true, case: true })).toEqual([]);
  });
});

describe("an address", () => {
  it("names lines as they are counted by people", () => {
    expect(parseRange("120")).toEqual({ first: 119, last: 119 });
    expect(parseRange("L140-L120")).toEqual({ first: 119, last: 139 });
    expect([parseRange("0"), parseRange("x"), parseRange(null), parseRange("1-")]).toEqual(
      Array(4).fill(undefined),
    );
    expect(formatRange({ first: 119, last: 139 })).toBe("120-140");
    expect(formatRange({ first: 0, last: 0 })).toBe("1");
  });
});
