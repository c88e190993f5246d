// A search in a log: the master looks, a share of a second at a time, and this asks on until all is searched. What
// is found is there as it comes, with how far the search is; nobody waits for the end to go to the next match.

import { ApiError, readJson } from "../api";

export interface Asked {
  text: string;
  regex: boolean;
  case: boolean;
}

interface Answer {
  matches: { number: number; sign?: string }[];
  meta: { next: number | null; total: number; complete: boolean };
}

export type Look = (
  params: Record<string, string | number | undefined>,
  signal: AbortSignal,
) => Promise<Answer>;

const AT_ONCE = 2000;
/** More are not counted: nobody goes through them one by one. */
export const MOST = 100_000;

/** Searches the log at a path below `api/v2/`. */
export function looking(path: string): Look {
  return (params, signal) => readJson<Answer>(`api/v2/${path}/search`, params, signal);
}

function query(asked: Asked): Record<string, string | number> {
  return { q: asked.text, regex: asked.regex ? 1 : 0, case: asked.case ? 1 : 0 };
}

export class Search {
  readonly asked: Asked;
  /** Numbers of lines, rising. */
  matches: number[] = [];
  /** Lines up to here are searched. */
  searched = 0;
  done = false;
  error: ApiError | undefined;
  readonly #look: Look;
  readonly #changed: () => void;
  readonly #abort = new AbortController();
  #set = new Set<number>();

  constructor(look: Look, asked: Asked, changed: () => void) {
    this.asked = asked;
    this.#look = look;
    this.#changed = changed;
  }

  has(number: number): boolean {
    return this.#set.has(number);
  }

  get full(): boolean {
    return this.matches.length >= MOST;
  }

  stop(): void {
    this.#abort.abort();
  }

  /** Search on to the log's end, as it is by then. */
  async run(): Promise<void> {
    this.done = false;
    const { signal } = this.#abort;
    try {
      while (!this.full) {
        const { matches, meta } = await this.#look(
          { ...query(this.asked), offset: this.searched, limit: AT_ONCE },
          signal,
        );
        for (const { number } of matches) {
          this.matches.push(number);
          this.#set.add(number);
        }
        this.searched = meta.next ?? meta.total;
        if (meta.next === null) break;
        this.#changed();
      }
      this.done = true;
    } catch (error) {
      if (signal.aborted) return;
      this.error = error instanceof ApiError ? error : new ApiError(0, String(error));
    }
    if (!signal.aborted) this.#changed();
  }

  /** The next match after a line, or before it, around the log's end. */
  async next(after: number, backward: boolean): Promise<number | undefined> {
    const known = this.#known(after, backward);
    if (known !== undefined) return known;
    if (this.done && !this.full) return backward ? this.matches.at(-1) : this.matches[0];
    const direction = backward ? "backward" : "forward";
    const found = await this.#first(backward ? after : after + 1, direction);
    return found ?? (await this.#first(undefined, direction));
  }

  /** Which of the matches a line is, from 1; 0: none. */
  place(number: number): number {
    return this.#set.has(number) ? lower(this.matches, number) + 1 : 0;
  }

  #known(after: number, backward: boolean): number | undefined {
    const at = lower(this.matches, backward ? after : after + 1);
    if (backward) return after <= this.searched ? this.matches[at - 1] : undefined;
    return this.matches[at];
  }

  async #first(offset: number | undefined, direction: string): Promise<number | undefined> {
    return await firstMatch(this.#look, { ...query(this.asked), direction }, offset, this.#abort.signal);
  }
}

/** The next line that looks like an error. */
export async function nextError(
  look: Look,
  after: number,
  backward: boolean,
  signal: AbortSignal,
): Promise<number | undefined> {
  const direction = backward ? "backward" : "forward";
  return await firstMatch(look, { errors: 1, direction }, backward ? after : after + 1, signal);
}

async function firstMatch(
  look: Look,
  params: Record<string, string | number>,
  offset: number | undefined,
  signal: AbortSignal,
): Promise<number | undefined> {
  let from: number | null | undefined = offset === undefined ? undefined : Math.max(0, offset);
  do {
    const { matches, meta }: Answer = await look({ ...params, offset: from, limit: 1 }, signal);
    if (matches[0]) return matches[0].number;
    from = meta.next;
  } while (from !== null);
  return undefined;
}

/** Where a number is, or would be, in a rising list. */
function lower(list: readonly number[], number: number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((list[middle] ?? 0) < number) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Where in a text the matches are; of an expression that the browser doesn't know nowhere. */
export function places(text: string, asked: Asked | undefined): [number, number][] {
  if (!asked?.text || text.length > 20_000) return [];
  const found: [number, number][] = [];
  if (asked.regex) {
    if (text.length > 2000) return []; // a browser's matcher has no bound on its time
    let expression: RegExp;
    try {
      expression = new RegExp(asked.text, asked.case ? "gu" : "giu");
    } catch {
      return [];
    }
    for (const match of text.matchAll(expression))
      if (match[0]) found.push([match.index, match.index + match[0].length]);
    return found;
  }
  const [where, what] = asked.case ? [text, asked.text] : [text.toLowerCase(), asked.text.toLowerCase()];
  if (where.length !== text.length) return []; // some letters have lower ones of another length
  for (let at = where.indexOf(what); at >= 0; at = where.indexOf(what, at + what.length))
    found.push([at, at + what.length]);
  return found;
}
