// What a build left behind: what its tests found out, failures first, and its data to keep.

import { count, duration, fill, h, section } from "./dom.js";

const MOST = 50;

export function left(context, id) {
  const sets = h("ul", { class: "rows" });
  const failures = h("div", {});
  const more = h("p", { class: "quiet" });
  const data = h("p", { class: "links" });
  const tests = section("Tests", sets, failures, more);
  const kept = section("Data", data);
  const element = h("div", {}, tests, kept);
  tests.hidden = kept.hidden = true;

  async function refresh() {
    const [allSets, failed, allData] = await Promise.all([
      context.read(`builds/${id}/test_result_sets`, { order: "test_result_setid", limit: MOST }),
      context.read(`builds/${id}/unsuccessful_test_results`, { order: "test_resultid", limit: MOST }),
      context.read(`builds/${id}/data`, { order: "name", limit: MOST }),
    ]);
    tests.hidden = !allSets.length;
    fill(sets, allSets, (set) => set.test_result_setid, drawSet);
    fill(failures, failed, (result) => result.test_resultid, drawFailure);
    more.textContent = failed.total > failed.length ? `and ${count(failed.total - failed.length, "failure")} more` : "";
    kept.hidden = !allData.length;
    fill(data, allData, (each) => each.name, (each) => h(
      "a", { href: `api/v2/builds/${id}/data/${encodeURIComponent(each.name)}/value`, download: "" },
      `${each.name} (${count(each.length, "byte")})`,
    ));
  }

  // One that fails is made up for by the page's next refresh.
  context.listen("test_result_sets/*/*", (_, set) => { if (String(set.buildid) === id) refresh().catch(() => {}); });
  return { element, refresh };
}

function drawSet(set) {
  const counts = set.tests_passed === null
    ? count(set.num_results, "result")
    : `${set.tests_passed.toLocaleString()} passed, ${set.tests_failed.toLocaleString()} failed`;
  return h(
    "li", { class: set.tests_failed ? "failure" : "" },
    h("span", { class: "name" }, set.description ?? set.category),
    h("span", { class: "text" }, counts),
    h("span", { class: "quiet" }, `${set.category}, ${set.value_unit}`),
  );
}

function drawFailure(result) {
  const where = [result.test_code_path, result.line].filter((part) => part !== null).join(":");
  const took = result.duration_ns === null ? "" : duration(result.duration_ns / 1000);
  return h(
    "details", { class: "log" },
    h("summary", {}, result.test_name ?? `result ${result.test_resultid}`),
    h("p", { class: "quiet" }, [where, took].filter(Boolean).join(" · ")),
    h("pre", { tabindex: "0" }, result.message ?? result.value),
  );
}
