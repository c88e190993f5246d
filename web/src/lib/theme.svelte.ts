// Light or dark: as the system has it, unless the reader chose. What is shown stands as `data-theme` at the root.

export type Theme = "system" | "light" | "dark";
const KEY = "theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

export const theme = $state<{ chosen: Theme; shown: "light" | "dark" }>({ chosen: "system", shown: "light" });

function apply(): void {
  theme.shown = theme.chosen === "system" ? (dark.matches ? "dark" : "light") : theme.chosen;
  document.documentElement.dataset["theme"] = theme.shown;
}

export function startTheme(): void {
  const kept = localStorage.getItem(KEY);
  if (kept === "light" || kept === "dark") theme.chosen = kept;
  dark.addEventListener("change", apply);
  apply();
}

export function chooseTheme(chosen: Theme): void {
  theme.chosen = chosen;
  localStorage.setItem(KEY, chosen);
  apply();
}
