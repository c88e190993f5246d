import { expect, it } from "vitest";
import { byTag } from "./columns";
import type { Builder } from "./types";

function builder(name: string, ...tags: string[]): Builder {
  return {
    builderid: 0,
    name,
    tags,
    masterids: [1],
    description: null,
    description_html: null,
    projectid: null,
  };
}

it("groups builders by their first tag that tells them apart", () => {
  const found = byTag([
    builder("b-10", "linux", "fast"),
    builder("b-9", "linux", "fast"),
    builder("c", "linux"),
    builder("a", "arm", "linux"),
  ]);
  expect(found.map(({ tag, builders }) => [tag, builders.map((each) => each.name)])).toEqual([
    ["arm", ["a"]],
    ["fast", ["b-9", "b-10"]],
    ["", ["c"]],
  ]);
  expect(byTag([])).toEqual([]);
});
