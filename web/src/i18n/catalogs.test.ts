// Catalogues against sources: nothing is translated that no source says, and what is translated keeps its values.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const SOURCES = join(import.meta.dirname, "..");
const CATALOGS = readdirSync(import.meta.dirname).filter((name) => name.endsWith(".json"));

function sources(): string {
  return readdirSync(SOURCES, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(svelte|ts)$/.test(name) && !name.endsWith(".test.ts"))
    .map((name) => readFileSync(join(SOURCES, name), "utf8"))
    .join("\n");
}

function values(text: string): string[] {
  return [...text.matchAll(/\{(\w+)\}/g)].map((found) => found[1] ?? "").sort();
}

it.each(CATALOGS)("%s says what the page says", (name) => {
  const catalog = JSON.parse(readFileSync(join(import.meta.dirname, name), "utf8")) as Record<string, string>;
  const text = sources();
  for (const [key, translated] of Object.entries(catalog)) {
    expect(text, `no source says this any more: ${key}`).toContain(JSON.stringify(key));
    expect(values(translated), key).toEqual(values(key));
  }
});
