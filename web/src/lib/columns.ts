// Builders as columns or rows of a table, grouped by tag.

import { byName, groupBy } from "./lists";
import type { Builder } from "./types";

export interface Group {
  tag: string;
  builders: Builder[];
}

/** Each builder once, under its first tag that not all of them have; those without such a tag are last. */
export function byTag(builders: readonly Builder[]): Group[] {
  const common = new Set(
    builders[0]?.tags.filter((tag) => builders.every((each) => each.tags.includes(tag))),
  );
  const first = (builder: Builder) => builder.tags.find((tag) => !common.has(tag)) ?? "";
  return [...groupBy(builders, first)]
    .map(([tag, members]) => ({ tag, builders: [...members].sort(byName) }))
    .sort((a, b) => Number(!a.tag) - Number(!b.tag) || a.tag.localeCompare(b.tag));
}
