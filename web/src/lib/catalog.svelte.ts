// Builders, workers and masters by their ids: read once, kept up to date, for every view that names one.

import { SvelteMap } from "svelte/reactivity";
import { events } from "./connection.svelte";
import { byName } from "./lists";
import { type Live, live } from "./live.svelte";
import type { Build, Builder, Glance, Master, Worker } from "./types";

const FIELDS = [
  "builderid",
  "name",
  "masterids",
  "description",
  "description_html",
  "projectid",
  "tags",
  "latest_build",
] as const;

class Catalog {
  readonly #builders: Live<Builder>;
  readonly #workers: Live<Worker>;
  readonly #masters: Live<Master>;
  // Builds that finished since the builders were read; whichever is newer counts.
  readonly #finished = new SvelteMap<number, Glance>();
  readonly #configured: readonly Builder[];
  readonly #builderById: Map<number, Builder>;
  readonly #workerById: Map<number, Worker>;

  constructor() {
    this.#builders = live<Builder>(() => ({
      path: "builders",
      params: { field: FIELDS },
      id: "builderid",
      on: ["builders/*/*"],
    }));
    this.#workers = live<Worker>(() => ({ path: "workers", id: "workerid", on: ["workers/*/*"] }));
    this.#masters = live<Master>(() => ({ path: "masters", id: "masterid", on: ["masters/*/*"] }));
    this.#configured = $derived(
      this.#builders.items.filter((each) => each.masterids.length > 0).sort(byName),
    );
    this.#builderById = $derived(new Map(this.#builders.items.map((each) => [each.builderid, each])));
    this.#workerById = $derived(new Map(this.#workers.items.map((each) => [each.workerid, each])));
    $effect(() =>
      events.listen("builds/*/finished", (_, thing) => {
        const build = thing as unknown as Build;
        if (build.number > (this.#finished.get(build.builderid)?.number ?? 0))
          this.#finished.set(build.builderid, build);
      }),
    );
  }

  /** Those of the present configuration, by name. */
  get builders(): readonly Builder[] {
    return this.#configured;
  }

  /** All that there ever were, also those that no configuration has any more. */
  get known(): readonly Builder[] {
    return this.#builders.items;
  }

  get workers(): readonly Worker[] {
    return this.#workers.items;
  }

  get masters(): readonly Master[] {
    return this.#masters.items;
  }

  /** Whether the builders are known by now. */
  get ready(): boolean {
    return this.#builders.state === "ready";
  }

  /** Whether the workers are known by now. */
  get workersReady(): boolean {
    return this.#workers.state === "ready";
  }

  builder(id: number): Builder | undefined {
    return this.#builderById.get(id);
  }

  /** A builder as an address names it: by id or by name. */
  builderNamed(text: string): Builder | undefined {
    return /^\d+$/.test(text)
      ? (this.#builderById.get(Number(text)) ?? this.#builders.items.find((each) => each.name === text))
      : this.#builders.items.find((each) => each.name === text);
  }

  /** The id of a builder that an address names; undefined until the builders are known, or if there is none. */
  idOf(text: string): number | undefined {
    return /^\d+$/.test(text) ? Number(text) : this.builderNamed(text)?.builderid;
  }

  builderName(id: number): string {
    return this.builder(id)?.name ?? `builder ${id}`;
  }

  /** The newest finished build of a builder. */
  latest(id: number): Glance | undefined {
    const read = this.builder(id)?.latest_build ?? undefined;
    const told = this.#finished.get(id);
    return told && told.number > (read?.number ?? 0) ? told : read;
  }

  worker(id: number): Worker | undefined {
    return this.#workerById.get(id);
  }

  /** A worker as an address names it: by id or by name. */
  workerNamed(text: string): Worker | undefined {
    const byName = () => this.#workers.items.find((each) => each.name === text);
    return /^\d+$/.test(text) ? (this.#workerById.get(Number(text)) ?? byName()) : byName();
  }

  workerName(id: number): string {
    return this.worker(id)?.name ?? `worker ${id}`;
  }

  masterName(id: number): string {
    return this.#masters.items.find((each) => each.masterid === id)?.name ?? `master ${id}`;
  }
}

let made: Catalog | undefined;

/** Called once, by the component that lives as long as the page. */
export function startCatalog(): void {
  made = new Catalog();
}

export function catalog(): Catalog {
  if (!made) throw new Error("the catalog is read before the page is set up");
  return made;
}
