// Builders, workers and masters by their ids: read once, kept up to date, for every view that names one.

import { type Live, live } from "./live.svelte";
import type { Builder, Master, Worker } from "./types";

class Catalog {
  readonly #builders: Live<Builder>;
  readonly #workers: Live<Worker>;
  readonly #masters: Live<Master>;
  readonly #builderById: Map<number, Builder>;
  readonly #workerById: Map<number, Worker>;

  constructor() {
    this.#builders = live<Builder>(() => ({ path: "builders", id: "builderid", on: ["builders/*/*"] }));
    this.#workers = live<Worker>(() => ({ path: "workers", id: "workerid", on: ["workers/*/*"] }));
    this.#masters = live<Master>(() => ({ path: "masters", id: "masterid", on: ["masters/*/*"] }));
    this.#builderById = $derived(new Map(this.#builders.items.map((each) => [each.builderid, each])));
    this.#workerById = $derived(new Map(this.#workers.items.map((each) => [each.workerid, each])));
  }

  /** Those of the present configuration, by name. */
  get builders(): Builder[] {
    return this.#builders.items
      .filter((each) => each.masterids.length > 0)
      .sort((a, b) => a.name.localeCompare(b.name));
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

  builder(id: number): Builder | undefined {
    return this.#builderById.get(id);
  }

  /** A builder as an address names it: by id or by name. */
  builderNamed(text: string): Builder | undefined {
    return /^\d+$/.test(text)
      ? (this.#builderById.get(Number(text)) ?? this.#builders.items.find((each) => each.name === text))
      : this.#builders.items.find((each) => each.name === text);
  }

  builderName(id: number): string {
    return this.builder(id)?.name ?? `builder ${id}`;
  }

  worker(id: number): Worker | undefined {
    return this.#workerById.get(id);
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
