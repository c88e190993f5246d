// Whom a request is for, as its properties say.

import type { Sourced } from "../../lib/types";

export function ownerOf(properties: Sourced | undefined): string {
  const found = properties?.["owner"]?.[0] ?? properties?.["owners"]?.[0];
  return Array.isArray(found) ? found.join(", ") : typeof found === "string" ? found : "";
}
