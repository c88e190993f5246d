// Lines of a log as an address names them: `120`, or `120-140`; counted from 1, as they are shown.

export interface Range {
  /** Counted from 0. */
  first: number;
  /** The last one, too. */
  last: number;
}

export function parseRange(text: string | null | undefined): Range | undefined {
  const found = /^L?(\d{1,15})(?:-L?(\d{1,15}))?$/i.exec(text ?? "");
  if (!found) return undefined;
  const one = Number(found[1]) - 1;
  const other = found[2] === undefined ? one : Number(found[2]) - 1;
  if (one < 0 || other < 0) return undefined;
  return { first: Math.min(one, other), last: Math.max(one, other) };
}

export function formatRange({ first, last }: Range): string {
  return first === last ? String(first + 1) : `${first + 1}-${last + 1}`;
}
