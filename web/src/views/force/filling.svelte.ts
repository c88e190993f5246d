// A form of a force scheduler while it is filled in: its answers, and what is wrong with them.

import { ApiError } from "../../lib/api";
import {
  answers,
  type Field,
  hint,
  initial,
  leaves,
  populated,
  type Value,
  type Values,
} from "../../lib/forms";

const NAME = "username";

export class Filling {
  values: Values;
  /** What the master refused, by full name; empty: the form as a whole. */
  problems = $state<Record<string, string>>({});
  /** The fields that were left once: of those there are hints. */
  readonly left = $state<Record<string, true>>({});

  constructor(
    readonly id: string,
    readonly fields: readonly Field[],
    readonly anonymous: boolean,
  ) {
    this.values = $state(initial(fields));
    const kept = localStorage.getItem(NAME);
    for (const field of leaves(fields))
      if (field.type === "username" && !this.values[field.fullName] && kept)
        this.values[field.fullName] = kept;
  }

  /** The id of a field's element. */
  idOf(field: Field): string {
    return `${this.id}-${field.fullName}`;
  }

  set(field: Field, value: Value): void {
    this.values[field.fullName] = value;
    const also = populated(this.fields, field, value);
    for (const [name, each] of Object.entries(also)) this.values[name] = each;
    for (const name of [field.fullName, ...Object.keys(also)]) delete this.problems[name];
  }

  wrong(field: Field): string {
    const refused = this.problems[field.fullName];
    if (refused) return refused;
    return this.left[field.fullName] ? hint(field, this.values[field.fullName] ?? "") : "";
  }

  /** Whether anything inside of a field was refused. */
  refused(field: Field): boolean {
    return leaves([field]).some((each) => each.fullName in this.problems);
  }

  get answers(): Values {
    return answers(this.fields, this.values, this.anonymous);
  }

  /** Show why the master refused the form; of fields that aren't shown, above it. */
  refuse(error: unknown, shown: (name: string) => boolean): void {
    if (!(error instanceof ApiError)) throw error;
    const problems: Record<string, string> = {};
    const general: string[] = [];
    for (const [name, text] of Object.entries(error.fields)) {
      if (shown(name)) problems[name] = text;
      else general.push(name ? `${name}: ${text}` : text);
    }
    if (!Object.keys(error.fields).length) general.push(error.message);
    if (general.length) problems[""] = general.join("; ");
    this.problems = problems;
  }

  /** Keep the name for the next form. */
  keepName(): void {
    for (const field of leaves(this.fields)) {
      const value = this.values[field.fullName];
      if (field.type === "username" && typeof value === "string" && value) localStorage.setItem(NAME, value);
    }
  }
}
