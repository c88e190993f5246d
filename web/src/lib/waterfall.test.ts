import { describe, expect, it } from "vitest";
import { fall, type Span } from "./waterfall";

const S = 1e6;
const NOW = 100_000 * S;

function span(buildid: number, from: number, until: number | null, builderid = 1): Span {
  return {
    buildid,
    builderid,
    started_at_us: NOW - from * S,
    complete_at_us: until === null ? null : NOW - until * S,
  };
}

describe("a waterfall", () => {
  it("is empty without builds", () => {
    expect(fall([], NOW).height).toBe(0);
    expect(fall([], NOW).at(0)).toBe(NOW);
  });
  it("has the newest at the top, and what runs reaches to it", () => {
    const { blocks } = fall([span(1, 900, 600), span(2, 300, null)], NOW);
    expect(blocks.get(2)?.top).toBe(0);
    expect(blocks.get(1)!.top).toBeGreaterThan(blocks.get(2)!.height);
  });
  it("keeps the order of moments, whatever lasted how long", () => {
    const spans = [span(1, 80_000, 79_999), span(2, 5000, 4000), span(3, 4500, 4499), span(4, 10, null)];
    const { blocks, at, height } = fall(spans, NOW);
    for (const each of spans) {
      const block = blocks.get(each.buildid)!;
      expect(block.height).toBeGreaterThanOrEqual(22);
      expect(at(block.top)).toBeCloseTo(each.complete_at_us ?? NOW, -3);
      expect(at(block.top + block.height)).toBeCloseTo(each.started_at_us, -3);
    }
    const [outer, inner] = [blocks.get(2)!, blocks.get(3)!];
    expect(inner.top).toBeGreaterThan(outer.top);
    expect(inner.top + inner.height).toBeLessThan(outer.top + outer.height);
    expect(height).toBeLessThan(600);
  });
  it("puts builds of one builder that run at once beside each other", () => {
    const { blocks, lanes } = fall(
      [span(1, 100, 50), span(2, 80, 20), span(3, 50, 10), span(4, 80, 20, 2)],
      NOW,
    );
    expect([1, 2, 3, 4].map((id) => blocks.get(id)?.lane)).toEqual([0, 1, 0, 0]);
    expect(lanes).toEqual(
      new Map([
        [1, 2],
        [2, 1],
      ]),
    );
  });
  it("holds a build that ended when it began, or is ahead of this clock", () => {
    const { blocks, height } = fall([span(1, 50, 50), span(2, -5, null)], NOW);
    expect(blocks.get(1)?.height).toBeGreaterThanOrEqual(22);
    expect(height).toBeGreaterThanOrEqual(blocks.get(1)!.top + 22);
  });
});
