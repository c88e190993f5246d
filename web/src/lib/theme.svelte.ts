// Light or dark: as the system has it, unless the reader chose.

export type Theme = "system" | "light" | "dark";
const KEY = "theme";

export const theme = $state<{ chosen: Theme }>({ chosen: "system" });

function apply(): void {
  if (theme.chosen === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset["theme"] = theme.chosen;
}

export function startTheme(): void {
  const kept = localStorage.getItem(KEY);
  if (kept === "light" || kept === "dark") theme.chosen = kept;
  apply();
}

export function chooseTheme(chosen: Theme): void {
  theme.chosen = chosen;
  localStorage.setItem(KEY, chosen);
  apply();
}
