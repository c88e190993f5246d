// What a view shows of the data API, kept up to date.
//
//   const builds = live<Build>(() => ({ path: "builds", params: { limit: 20 }, id: "buildid", on: ["builds/*/*"] }));
//   {#each builds.items as build (build.buildid)} ...
//
// The function is followed like any other reactive expression: when what it gives changes, the things are read
// anew; `null` reads nothing. An event with a thing that is shown replaces it in place; one with a thing that
// isn't has the list read again (it may belong there, and where is the master's to say), at most once per
// PAUSE. A new connection reads everything again. Must be called while a component is set up.

import { untrack } from "svelte";
import { ApiError, read, type Params } from "./api";
import { connection, events } from "./connection.svelte";

const PAUSE = 400;
const READY = 300;

export interface Query<T> {
  /** Below `api/v2/`. */
  path: string;
  params?: Params;
  /** The field that tells the things apart; without it every event has them read again. */
  id?: keyof T & string;
  /** Paths of events that concern the things. */
  on?: readonly string[];
  /** Whatever this is: when it changes, the things are read again. */
  since?: unknown;
  /** Whether a thing that isn't shown yet can belong to the list; else its events are left out. */
  wants?: (thing: T) => boolean;
  /** Whether a thing that is shown still belongs to the list; one that doesn't has the list read again. */
  keeps?: (thing: T) => boolean;
}

export class Live<T extends object> {
  items = $state.raw<readonly T[]>([]);
  total = $state.raw<number | undefined>(undefined);
  state = $state.raw<"loading" | "ready" | "failed">("loading");
  error = $state.raw<ApiError | undefined>(undefined);
  #query: Query<T> | null = null;
  #path = "";
  #abort: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #readAt = 0;
  #stale = false;

  constructor(query: () => Query<T> | null) {
    // The same question asked again by a new object is no new question.
    const text = $derived.by(() => {
      const asked = query();
      return asked && JSON.stringify([asked.path, asked.params, asked.on, asked.since]);
    });
    $effect(() => {
      if (text === null) return;
      const asked = untrack(query);
      if (asked) return untrack(() => this.#follow(asked));
    });
  }

  get first(): T | undefined {
    return this.items[0];
  }

  /** Read everything again now. */
  refresh(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    void this.#read();
  }

  #follow(query: Query<T>): () => void {
    // Other filters on the same things: the old ones stay until the new ones are there.
    if (this.#path !== query.path) {
      this.items = [];
      this.state = "loading";
    }
    this.#path = query.path;
    this.#query = query;
    const stops = (query.on ?? []).map((path) => events.listen(path, (_, thing) => this.#take(thing as T)));
    stops.push(events.onConnected(() => this.#catchUp()));
    void events.ready(connection.state === "lost" ? 0 : READY).then(() => {
      if (this.#query === query) void this.#read();
    });
    return () => {
      this.#query = null;
      this.#abort?.abort();
      clearTimeout(this.#timer);
      this.#timer = undefined;
      for (const stop of stops) stop();
    };
  }

  /** A new connection: what was read before it was complete may have missed an event. */
  #catchUp(): void {
    if (this.#readAt) this.#soon(0);
  }

  #take(thing: T): void {
    const query = this.#query;
    if (!query) return;
    const id = query.id;
    if (id === undefined) return this.#soon(PAUSE);
    const at = this.items.findIndex((item) => item[id] === thing[id]);
    if (at < 0) {
      if (query.wants?.(thing) ?? true) this.#soon(PAUSE);
      return;
    }
    // An event's thing has no properties (`{}`) and what else only a question for it brings: those stay.
    const old = this.items[at] as T & { properties?: object };
    const merged = { ...old, ...thing, ...(old.properties && { properties: old.properties }) };
    this.items = this.items.with(at, merged);
    if (query.keeps && !query.keeps(merged)) this.#soon(PAUSE);
    // While an answer is under way, it may be older than this event.
    if (this.#abort) this.#stale = true;
  }

  #soon(pause: number): void {
    if (this.#abort) {
      this.#stale = true;
      return;
    }
    const due = Math.max(pause, this.#readAt + PAUSE - Date.now());
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#read();
    }, due);
  }

  async #read(): Promise<void> {
    const query = this.#query;
    if (!query) return;
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.#stale = false;
    this.#readAt = Date.now();
    try {
      const page = await read<T>(query.path, query.params, abort.signal);
      if (abort.signal.aborted) return;
      this.items = page.items;
      this.total = page.total;
      this.error = undefined;
      this.state = "ready";
    } catch (error) {
      if (abort.signal.aborted) return;
      this.error = error instanceof ApiError ? error : new ApiError(0, String(error));
      // What was read before stays: the connection's state is told at the top.
      if (this.state === "loading" || this.error.status) this.state = "failed";
    }
    this.#abort = undefined;
    if (this.#stale) this.#soon(PAUSE);
  }
}

export function live<T extends object>(query: () => Query<T> | null): Live<T> {
  return new Live(query);
}
