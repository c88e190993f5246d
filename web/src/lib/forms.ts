// Forms of force schedulers: their fields as the data API describes them, what a form begins with, what it
// answers, and what can be said of an answer before the master looks at it. The master's word counts: a hint
// here keeps nobody from asking it.

import { t } from "../i18n/index.svelte";
import { bytes } from "./text";

export interface Field {
  name: string;
  fullName: string;
  label: string;
  tablabel: string;
  /** text, textarea, file, int, bool, list, inherit, username, fixed, nested. */
  type: string;
  default: unknown;
  required: boolean;
  multiple: boolean;
  regex: string | null;
  hide: boolean;
  maxsize: number | null;
  /** What other fields become, by the value that is chosen here. */
  autopopulate: Record<string, Record<string, unknown>> | null;
  tooltip: string;
  rows?: number;
  choices?: string[];
  strict?: boolean;
  need_email?: boolean;
  layout?: "simple" | "vertical" | "horizontal" | "tabs";
  columns?: number;
  fields?: Field[];
}

export interface ForceForm {
  name: string;
  label: string;
  button_name: string;
  builder_names: string[];
  all_fields: Field[];
  enabled: boolean;
}

export type Value = string | boolean | string[];
export type Values = Record<string, Value>;

/** The fields that carry values, without the groups around them. */
export function leaves(fields: readonly Field[]): Field[] {
  return fields.flatMap((field) => (field.fields ? leaves(field.fields) : [field]));
}

/** Whether there is anything of a field to be seen; nobody is asked for a name who gave it by logging in. */
export function shows(field: Field, anonymous: boolean): boolean {
  if (field.hide || (field.type === "username" && !anonymous)) return false;
  return field.fields ? field.fields.some((each) => shows(each, anonymous)) : true;
}

/** A value in the form that a field keeps it in. */
export function valueOf(field: Field, given: unknown): Value {
  if (field.type === "bool") return Boolean(given);
  if (field.multiple)
    return (Array.isArray(given) ? given : [given])
      .filter((each) => each !== null && each !== undefined && each !== "")
      .map(String);
  const one: unknown = Array.isArray(given) ? given[0] : given;
  return one === null || one === undefined ? "" : String(one);
}

/** What a form begins with. */
export function initial(fields: readonly Field[]): Values {
  return Object.fromEntries(leaves(fields).map((field) => [field.fullName, valueOf(field, field.default)]));
}

/** What is sent for a form. */
export function answers(fields: readonly Field[], values: Values, anonymous: boolean): Values {
  return Object.fromEntries(
    leaves(fields)
      .filter((field) => field.type !== "fixed" && (field.type !== "username" || anonymous))
      .map((field) => [field.fullName, values[field.fullName] ?? ""]),
  );
}

/** What other fields become by a choice: by full name. */
export function populated(fields: readonly Field[], by: Field, value: Value): Values {
  const wanted = typeof value === "string" ? by.autopopulate?.[value] : undefined;
  const found: Values = {};
  for (const [name, given] of Object.entries(wanted ?? {})) {
    const all = leaves(fields);
    const field = all.find((each) => each.fullName === name) ?? all.find((each) => each.name === name);
    if (field && field.type !== "fixed") found[field.fullName] = valueOf(field, given);
  }
  return found;
}

/** What the master will probably say of an answer; empty: nothing. */
export function hint(field: Field, value: Value): string {
  const items = (Array.isArray(value) ? value : [value]).filter(
    (each): each is string => typeof each === "string" && each.trim() !== "",
  );
  if (!items.length) return field.required && field.type !== "bool" ? t("This is needed.") : "";
  for (const item of items) {
    if (field.maxsize !== null && sizeOf(item) > field.maxsize)
      return t("This is too long: {size}, and {most} at most.", {
        size: bytes(sizeOf(item)),
        most: bytes(field.maxsize),
      });
    if (field.type === "int" && !/^\s*[+-]?\d+\s*$/.test(item)) return t("This has to be a whole number.");
    if (field.type === "username" && field.need_email && !/\S@\S/.test(item))
      return t("This has to be an email address, such as Ann <ann@example.org>.");
    if (field.regex && !fits(field.regex, item))
      return t("This has to match {regex}.", { regex: field.regex });
  }
  return "";
}

export function sizeOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** As the master matches, from the beginning; what only Python understands is left to it. */
function fits(regex: string, text: string): boolean {
  try {
    return new RegExp(`^(?:${regex})`, "u").test(text);
  } catch {
    return true;
  }
}
