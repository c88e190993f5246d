// What a line of a log looks like: its bytes may hold a terminal's escape sequences. Colours and weights are kept
// (SGR: 16 colours, 256, and any), all else a terminal would do is left out, and what was written over by a
// carriage return is gone. The result is texts with styles, never markup.
//
// A line begins without a style: readers jump about in logs, and no line may look different by the way that one
// came to it.

export interface Style {
  /** 0–15: a colour of the theme; a text: a colour of its own. */
  color?: number | string;
  ground?: number | string;
  bold?: boolean;
  faint?: boolean;
  italic?: boolean;
  underlined?: boolean;
  struck?: boolean;
  inverse?: boolean;
}

export interface Span {
  text: string;
  style: Style | undefined;
}

// Control sequences; commands to the operating system (titles, links) and other strings; and the short ones.
// eslint-disable-next-line no-control-regex -- these are what is looked for
const ESCAPE = /\x1b(?:\[([0-?]*)([ -/]*[@-~])|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)/g;
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f]/g;
const ESC = "\x1b";

/** The spans of a line. */
export function parse(line: string): Span[] {
  const text = lastWritten(line);
  if (!text.includes(ESC)) return text ? [{ text: pictured(text), style: undefined }] : [];
  const spans: Span[] = [];
  let style: Style = {};
  let at = 0;
  const add = (end: number) => {
    if (end > at) spans.push({ text: pictured(text.slice(at, end)), style: used(style) });
  };
  for (const found of text.matchAll(ESCAPE)) {
    add(found.index);
    at = found.index + found[0].length;
    if (found[2] === "m") style = applied(style, found[1] ?? "");
  }
  add(text.length);
  return spans;
}

/** The text of a line, as one would copy it. */
export function plain(line: string): string {
  const text = lastWritten(line);
  return pictured(text.includes(ESC) ? text.replace(ESCAPE, "") : text);
}

/** What stays of a line when carriage returns have put the cursor back to its beginning. */
function lastWritten(line: string): string {
  if (!line.includes("\r")) return line;
  const parts = line.split("\r").filter((part) => part.replace(ESCAPE, "") !== "");
  return parts[parts.length - 1] ?? "";
}

/** Control characters as the pictures that Unicode has of them. */
function pictured(text: string): string {
  return text.replace(CONTROLS, (char) =>
    char === "\x7f" ? "␡" : String.fromCharCode(0x2400 + char.charCodeAt(0)),
  );
}

function used(style: Style): Style | undefined {
  for (const _ in style) return style;
  return undefined;
}

const SIMPLE: Record<number, Style> = {
  1: { bold: true },
  2: { faint: true },
  3: { italic: true },
  4: { underlined: true },
  7: { inverse: true },
  9: { struck: true },
};
const ENDS: Record<number, readonly (keyof Style)[]> = {
  22: ["bold", "faint"],
  23: ["italic"],
  24: ["underlined"],
  27: ["inverse"],
  29: ["struck"],
  39: ["color"],
  49: ["ground"],
};

function applied(before: Style, parameters: string): Style {
  let style = { ...before };
  // Colours may have their parts after colons (38:2::255:0:0), or after semicolons like everything else.
  const codes = parameters.split(";").map((each) => each.split(":"));
  for (let i = 0; i < codes.length; i++) {
    const [first = "", ...parts] = codes[i] ?? [];
    const code = Number(first || 0);
    const ends = ENDS[code];
    if (code === 0) style = {};
    else if (code === 4 && parts[0] === "0") delete style.underlined;
    else if (code === 21) style.underlined = true;
    else if (ends) for (const name of ends) delete style[name];
    else if (SIMPLE[code]) style = { ...style, ...SIMPLE[code] };
    else if (code >= 30 && code <= 37) style.color = code - 30;
    else if (code >= 40 && code <= 47) style.ground = code - 40;
    else if (code >= 90 && code <= 97) style.color = code - 82;
    else if (code >= 100 && code <= 107) style.ground = code - 92;
    else if (code === 38 || code === 48 || code === 58) {
      const after = parts.length ? parts : codes.slice(i + 1, i + 5).map((each) => each[0] ?? "");
      const [color, taken] = extended(after, parts.length > 0);
      if (!parts.length) i += taken;
      if (color !== undefined && code !== 58) style[code === 38 ? "color" : "ground"] = color;
    }
  }
  return style;
}

/** The colour that follows 38 or 48, and how many parameters it takes. */
function extended(parts: readonly string[], colons: boolean): [number | string | undefined, number] {
  const numbers = parts.map((part) => (/^\d+$/.test(part) ? Number(part) : 0));
  if (numbers[0] === 5) {
    const [, n = 0] = numbers;
    return [n < 16 ? n : n < 256 ? indexed(n) : undefined, 2];
  }
  if (numbers[0] === 2) {
    // With colons a colour space may come first, mostly empty.
    const [r = 0, g = 0, b = 0] = numbers.slice(colons && numbers.length > 4 ? 2 : 1);
    return [r < 256 && g < 256 && b < 256 ? `rgb(${r} ${g} ${b})` : undefined, 4];
  }
  return [undefined, 1];
}

function indexed(n: number): string {
  if (n >= 232) {
    const grey = 8 + 10 * (n - 232);
    return `rgb(${grey} ${grey} ${grey})`;
  }
  const level = (each: number) => (each === 0 ? 0 : 55 + 40 * each);
  const cube = n - 16;
  return `rgb(${level(Math.floor(cube / 36))} ${level(Math.floor(cube / 6) % 6)} ${level(cube % 6)})`;
}
