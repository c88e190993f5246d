// The lines of a log, as far as they are needed: read from the master around what is in view, kept for a while,
// and followed while the log grows. Not reactive: `changed` is called whenever something can be seen anew.

import { ApiError, readJson } from "../api";

export type Stream = "o" | "e" | "h";

export interface Line {
  number: number;
  stream: Stream;
  text: string;
  /** Seconds since 1970. */
  time: number;
  /** All bytes of a line that is cut, or of a half one. */
  length?: number;
}

export type HalfLine = Omit<Line, "number">;

export interface Meta {
  logid: number;
  total: number;
  complete: boolean;
  type: string;
  length: number;
}

export interface Answer {
  lines: Line[];
  half_lines: HalfLine[];
  meta: Meta;
}

export type Read = (params: Record<string, number>, signal: AbortSignal) => Promise<Answer>;

const AROUND = 150; // lines before and after what is wanted
const MOST = 1000; // lines that are read at once
const LONGEST = 1024 * 1024; // bytes of one line
const KEPT = 30_000;
const AGAIN = 40; // ms between two reads of the end of a log that grows, at least
const SLOW = 60; // ms: a master that takes longer for a read is busy,
const SHARE = 4; // and is asked again after so many times what it took

/** Reads the lines of the log at a path below `api/v2/`. */
export function reading(path: string): Read {
  return (params, signal) => readJson<Answer>(`api/v2/${path}/lines`, params, signal);
}

export class Lines {
  meta: Meta | undefined;
  halves: readonly HalfLine[] = [];
  error: ApiError | undefined;
  readonly #read: Read;
  readonly #changed: () => void;
  readonly #lines = new Map<number, Line>();
  #wanted: [number, number] = [0, 0];
  #request: { from: number; to: number; abort: AbortController } | undefined;
  #tail: AbortController | undefined;
  #tailStale = false;
  #tailDue = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(read: Read, changed: () => void) {
    this.#read = read;
    this.#changed = changed;
  }

  get total(): number {
    return this.meta?.total ?? 0;
  }

  /** A line, if it is here. */
  at(number: number): Line | undefined {
    return this.#lines.get(number);
  }

  /** Begin with the lines from `offset` on; negative: from the end. */
  async open(offset: number): Promise<void> {
    const abort = new AbortController();
    this.#tail = abort;
    try {
      this.#take(await this.#read({ offset, limit: 2 * AROUND }, abort.signal));
    } catch (error) {
      this.#fail(error, abort);
    }
    this.#tail = undefined;
    if (!this.#closed) this.#changed();
  }

  /** The lines first..end-1 are in view: have them read. */
  want(first: number, end: number): void {
    this.#wanted = [first, Math.min(end, this.total)];
    this.#look();
  }

  /** Read as much of a long line as the master gives. */
  async more(number: number): Promise<void> {
    const abort = new AbortController();
    try {
      this.#take(await this.#read({ offset: number, limit: 1, line_bytes: LONGEST }, abort.signal));
    } catch (error) {
      this.#fail(error, abort);
    }
    this.#changed();
  }

  /** The log grew, as far as is known to so many lines; `complete`: and has ended. */
  grew(total: number, complete: boolean): void {
    if (!this.meta || this.meta.complete) return;
    const inView = this.#wanted[1] >= this.meta.total;
    if (total > this.meta.total) this.meta = { ...this.meta, total };
    if (complete) this.#tailStale = true;
    if (inView || complete) this.refresh();
    else this.#changed();
  }

  /** Read the log's end again: lines, half lines, whether it is complete. */
  refresh(): void {
    if (this.#closed || !this.meta) return;
    if (this.#tail) {
      this.#tailStale = true;
      return;
    }
    const pause = this.#tailDue - Date.now();
    if (pause <= 0) void this.#readTail();
    else
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        void this.#readTail();
      }, pause);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#request?.abort.abort();
    this.#tail?.abort();
  }

  async #readTail(): Promise<void> {
    if (this.#closed || this.#tail) return;
    const abort = new AbortController();
    this.#tail = abort;
    this.#tailStale = false;
    const began = Date.now();
    // From the first line of the end that isn't here; of a long way there only the last part.
    let from = this.total;
    while (from > 0 && from > this.total - 2 * AROUND && !this.#lines.has(from - 1)) from--;
    try {
      this.#take(await this.#read({ offset: from, limit: MOST }, abort.signal));
    } catch (error) {
      this.#fail(error, abort);
    }
    this.#tail = undefined;
    if (this.#closed) return;
    const took = Date.now() - began;
    this.#tailDue = took > SLOW ? Date.now() + SHARE * took : began + AGAIN;
    this.#changed();
    this.#look();
    if (this.#tailStale) this.refresh();
  }

  #look(): void {
    if (this.#closed) return;
    const [first, end] = this.#wanted;
    let from = first;
    while (from < end && this.#lines.has(from)) from++;
    if (from >= end) return;
    if (this.#request) {
      const { from: low, to: high, abort } = this.#request;
      if (from >= low && from < high) return; // it is on its way
      abort.abort();
    }
    let to = end;
    while (to > from && this.#lines.has(to - 1)) to--;
    // Some more in the direction that is being gone, none of what is here already.
    let low = from;
    while (low > 0 && low > from - AROUND && !this.#lines.has(low - 1)) low--;
    const high = Math.min(to + AROUND, low + MOST);
    void this.#fetch(low, high, from);
  }

  async #fetch(low: number, high: number, from: number): Promise<void> {
    const request = { from: low, to: high, abort: new AbortController() };
    this.#request = request;
    try {
      const answer = await this.#read({ offset: low, limit: high - low }, request.abort.signal);
      this.#take(answer);
      // Long lines fill an answer before what is in view: begin with that.
      const reached = answer.lines.at(-1)?.number ?? low;
      if (this.#request === request && reached < from && answer.lines.length) {
        return await this.#fetch(from, high, from);
      }
    } catch (error) {
      this.#fail(error, request.abort);
    }
    if (this.#request !== request) return;
    this.#request = undefined;
    if (this.#closed) return;
    this.#changed();
    if (!this.error) this.#look();
  }

  #take(answer: Answer): void {
    this.error = undefined;
    for (const line of answer.lines) this.#lines.set(line.number, line);
    const { meta } = answer;
    // Two answers may come in the wrong order: a log never becomes shorter, nor open again.
    if (!this.meta || meta.total > this.meta.total || meta.complete) this.meta = meta;
    const reached = answer.lines.at(-1)?.number ?? meta.total - 1;
    if (meta.complete) this.halves = [];
    else if (reached + 1 >= this.meta.total) this.halves = answer.half_lines;
    if (this.#lines.size > KEPT) this.#forget();
  }

  #forget(): void {
    const [first, end] = this.#wanted;
    const far = KEPT / 4;
    for (const number of this.#lines.keys())
      if (number < first - far || number > end + far) this.#lines.delete(number);
  }

  #fail(error: unknown, abort: AbortController): void {
    if (abort.signal.aborted) return;
    this.error = error instanceof ApiError ? error : new ApiError(0, String(error));
  }
}
