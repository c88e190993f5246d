// Texts of builds, made fit for a page.

/** The address if following it is harmless (http, https, mailto, or a path), else undefined. */
export function safeUrl(url: string | null | undefined): string | undefined {
  if (!url) return undefined;
  try {
    const { protocol } = new URL(url, document.baseURI);
    return ["http:", "https:", "mailto:"].includes(protocol) ? url : undefined;
  } catch {
    return undefined;
  }
}

/** A revision as people say it: the beginning of a hash, anything else as it is. */
export function shortRevision(revision: string | null): string {
  if (!revision) return "";
  return /^[0-9a-f]{32,}$/.test(revision) ? revision.slice(0, 10) : revision;
}

export function firstLine(text: string): string {
  return text.trimStart().split("\n", 1)[0] ?? "";
}

export function bytes(size: number): string {
  if (size < 1000) return `${size} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let at = -1;
  do {
    size /= 1000;
    at += 1;
  } while (size >= 999.5 && at < units.length - 1);
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${units[at]}`;
}
