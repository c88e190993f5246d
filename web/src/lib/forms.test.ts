// What a form of a force scheduler begins with and answers.

import { describe, expect, it, vi } from "vitest";

vi.stubGlobal("document", { baseURI: "http://ci.example.org/" });
const { answers, hint, initial, populated, shows } = await import("./forms");
type Field = import("./forms").Field;

function field(fullName: string, type: string, more: Partial<Field> = {}): Field {
  return {
    ...{ name: fullName.split("_").at(-1) ?? "", fullName, label: fullName, tablabel: fullName, type },
    ...{ default: "", required: false, multiple: false, regex: null, hide: false, maxsize: null },
    ...{ autopopulate: null, tooltip: "" },
    ...more,
  };
}

const FORM = [
  field("", "nested", {
    fields: [field("username", "username"), field("reason", "text", { default: "why" })],
  }),
  field("group", "nested", {
    fields: [
      field("group_jobs", "int", { default: 4 }),
      field("group_clean", "bool", { default: true, hide: true }),
      field("group_parts", "list", { multiple: true, default: ["a"] }),
      field("group_fixed", "fixed", { default: "x", hide: true }),
    ],
  }),
];

describe("a form", () => {
  it("begins with its defaults and answers all but what is fixed", () => {
    const values = initial(FORM);
    expect(values["group_jobs"]).toBe("4");
    expect(answers(FORM, { ...values, reason: "because" }, true)).toEqual({
      username: "",
      reason: "because",
      group_jobs: "4",
      group_clean: true,
      group_parts: ["a"],
    });
  });
  it("asks nobody who logged in for a name", () => {
    expect(answers(FORM, initial(FORM), false)).not.toHaveProperty("username");
    expect(shows(field("username", "username"), false)).toBe(false);
  });
  it("shows no group of which all is hidden", () => {
    const hidden = field("g", "nested", { fields: [field("g_a", "text", { hide: true })] });
    expect([shows(hidden, true), shows(FORM[1]!, true)]).toEqual([false, true]);
  });
  it("fills in other fields by a choice, by full name or name, and nothing that is fixed", () => {
    const by = field("preset", "list", {
      autopopulate: { fast: { group_jobs: 16, parts: ["b", "c"], group_fixed: "y", none: 1 } },
    });
    expect(populated(FORM, by, "fast")).toEqual({ group_jobs: "16", group_parts: ["b", "c"] });
    expect(populated(FORM, by, "slow")).toEqual({});
  });
});

describe("a hint", () => {
  it("says what the master will say", () => {
    expect(hint(field("a", "text", { required: true }), " ")).toBe("This is needed.");
    expect(hint(field("a", "int"), "12x")).toContain("whole number");
    expect(hint(field("a", "int"), "-12")).toBe("");
    expect(hint(field("a", "text", { maxsize: 3 }), "äö")).toContain("4 B");
    expect(hint(field("a", "username", { need_email: true }), "Ann")).toContain("email");
    expect(hint(field("a", "text", { regex: "[0-9.]+" }), "1.0-beta")).toBe("");
    expect(hint(field("a", "text", { regex: "[0-9.]+" }), "v1.0")).toContain("[0-9.]+");
  });
  it("leaves to the master what only Python understands", () => {
    expect(hint(field("a", "text", { regex: "(?P<x>a)" }), "b")).toBe("");
  });
});
