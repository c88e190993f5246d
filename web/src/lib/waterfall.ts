// Where builds lie in a waterfall: the newest moment at the top, time going down.
//
// The axis has a stretch between any two moments at which a build began or ended. A stretch is higher the longer it
// lasted, but far less than in proportion, so that a night in which nothing happened takes as much room as a few lines
// and a build of some seconds can still be read. Within a stretch time goes evenly. Every build is at least LEAST
// high: what it lacks is added to its last stretch, for all builds that run then.

const LEAST = 22;

export interface Span {
  buildid: number;
  builderid: number;
  started_at_us: number;
  complete_at_us: number | null;
}

export interface Block {
  top: number;
  height: number;
  /** Beside how many others of its builder it runs. */
  lane: number;
}

export interface Fall {
  height: number;
  blocks: Map<number, Block>;
  /** How many builds of a builder run beside each other at most. */
  lanes: Map<number, number>;
  /** The moment at a height. */
  at: (y: number) => number;
}

/** How high a stretch of so many seconds is. */
export function stretch(seconds: number): number {
  return seconds <= 0 ? 0 : 4 + 10 * Math.log2(1 + seconds / 30);
}

export function fall(spans: readonly Span[], now_us: number): Fall {
  const ends = (span: Span) => Math.max(span.complete_at_us ?? now_us, span.started_at_us);
  const latest = Math.max(now_us, ...spans.map(ends));
  const moments = [...new Set([latest, ...spans.flatMap((span) => [span.started_at_us, ends(span)])])].sort(
    (a, b) => b - a,
  );
  const place = new Map(moments.map((moment, i) => [moment, i]));
  // The stretch i is between the moments i and i + 1.
  const heights = moments.slice(1).map((moment, i) => stretch((moments[i]! - moment) / 1e6));
  const oldestFirst = [...spans].sort((a, b) => a.started_at_us - b.started_at_us || a.buildid - b.buildid);
  for (const span of oldestFirst) {
    const from = place.get(ends(span))!;
    const to = place.get(span.started_at_us)!;
    let height = 0;
    for (let i = from; i < to; i += 1) height += heights[i]!;
    if (height < LEAST && from < to) heights[from]! += LEAST - height;
  }
  const tops = [0];
  for (const height of heights) tops.push(tops.at(-1)! + height);

  const blocks = new Map<number, Block>();
  const free = new Map<number, number[]>(); // per builder and lane: from when on it is free
  for (const span of oldestFirst) {
    const lanes = free.get(span.builderid) ?? [];
    free.set(span.builderid, lanes);
    let lane = lanes.findIndex((until) => until <= span.started_at_us);
    if (lane < 0) lane = lanes.length;
    lanes[lane] = ends(span);
    const top = tops[place.get(ends(span))!]!;
    const height = Math.max(tops[place.get(span.started_at_us)!]! - top, LEAST);
    blocks.set(span.buildid, { top, height, lane });
  }

  function at(y: number): number {
    let i = tops.findIndex((_, index) => (tops[index + 1] ?? Infinity) > y);
    if (i < 0) i = tops.length - 1;
    const next = moments[i + 1];
    if (next === undefined) return moments[i]!;
    return moments[i]! - ((y - tops[i]!) / heights[i]!) * (moments[i]! - next);
  }

  return {
    height: Math.max(tops.at(-1)!, ...[...blocks.values()].map((block) => block.top + block.height)),
    blocks,
    lanes: new Map([...free].map(([builderid, lanes]) => [builderid, lanes.length])),
    at,
  };
}
