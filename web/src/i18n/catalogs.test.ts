// Catalogues against sources: all that a source says is translated, nothing else is, and what is translated keeps its
// values.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { OUTCOMES } from "../lib/results";

const SOURCES = join(import.meta.dirname, "..");
const CATALOGS = readdirSync(import.meta.dirname).filter((name) => name.endsWith(".json"));

function sources(): string {
  return readdirSync(SOURCES, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(svelte|ts)$/.test(name) && !name.endsWith(".test.ts"))
    .map((name) => readFileSync(join(SOURCES, name), "utf8"))
    .join("\n");
}

const TEXT = String.raw`\s*("(?:[^"\\]|\\.)*")`;
const ONE = new RegExp(String.raw`(?<![\w.])t\(${TEXT}`, "g");
const CHOSEN = new RegExp(String.raw`(?<![\w.])tn\([^"]*?,${TEXT},${TEXT}`, "g");
/** What is said by way of a variable: outcomes, places, orders of a list. */
const NAMES = /\b(?:name|said): ("[A-Z][a-z ]+")/g;

/** Every text that a source says. */
function said(text: string): Set<string> {
  const found = [ONE, CHOSEN, NAMES].flatMap((pattern) =>
    [...text.matchAll(pattern)].flatMap((match) => match.slice(1).map((each) => JSON.parse(each) as string)),
  );
  return new Set([...found, ...OUTCOMES]);
}

function values(text: string): string[] {
  return [...text.matchAll(/\{(\w+)\}/g)].map((found) => found[1] ?? "").sort();
}

it.each(CATALOGS)("%s says what the page says", (name) => {
  const catalog = JSON.parse(readFileSync(join(import.meta.dirname, name), "utf8")) as Record<string, string>;
  const text = sources();
  expect(Object.keys(catalog).filter((key) => !text.includes(JSON.stringify(key)))).toEqual([]);
  for (const [key, translated] of Object.entries(catalog)) {
    expect(values(translated), key).toEqual(values(key));
  }
});

it.each(CATALOGS)("%s lacks nothing", (name) => {
  const catalog = JSON.parse(readFileSync(join(import.meta.dirname, name), "utf8")) as Record<string, string>;
  const texts = said(sources());
  expect(texts.size).toBeGreaterThan(300);
  expect([...texts].filter((text) => !(text in catalog))).toEqual([]);
});
