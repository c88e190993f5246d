// A line as it is drawn: its spans, cut where a match begins and ends.

import { parse, type Span, type Style } from "./ansi";

export interface Piece {
  text: string;
  style: Style | undefined;
  mark: boolean;
}

const kept = new WeakMap<object, Span[]>();

/** The spans of a line; kept as long as the line is. */
export function spansOf(line: { text: string }): Span[] {
  let spans = kept.get(line);
  if (!spans) {
    spans = parse(line.text);
    kept.set(line, spans);
  }
  return spans;
}

/** The spans with these parts of their text marked; the places rise and don't overlap. */
export function pieces(spans: readonly Span[], places: readonly (readonly [number, number])[]): Piece[] {
  const out: Piece[] = [];
  let at = 0;
  let next = 0;
  for (const { text, style } of spans) {
    const end = at + text.length;
    let from = at;
    while (from < end) {
      while (next < places.length && (places[next]?.[1] ?? 0) <= from) next++;
      const [begin, stop] = places[next] ?? [Infinity, Infinity];
      const mark = begin <= from;
      const to = Math.min(end, mark ? stop : begin);
      out.push({ text: text.slice(from - at, to - at), style, mark });
      from = to;
    }
    at = end;
  }
  return out;
}

/** The classes that draw a style. */
export function classesOf(style: Style | undefined): string {
  if (!style) return "";
  const names: string[] = [];
  if (typeof style.color === "number") names.push(`c${style.color}`);
  else if (style.color) names.push("own");
  if (typeof style.ground === "number") names.push(`g${style.ground}`);
  else if (style.ground) names.push("ground");
  for (const name of ["bold", "faint", "italic", "underlined", "struck", "inverse"] as const)
    if (style[name]) names.push(name);
  return names.join(" ");
}
