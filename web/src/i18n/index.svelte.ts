// Texts of the page in the reader's language. The English text is its own key; a catalogue beside this file
// (`de.json`) has the others: {"Builders": "Builder"}. What a catalogue lacks stays English. `catalogs.test.ts`
// holds catalogues and sources against each other.

const LOADERS: Record<string, () => Promise<{ default: Record<string, string> }>> = {
  de: () => import("./de.json"),
};
export const LANGUAGES: Record<string, string> = { en: "English", de: "Deutsch" };

const KEY = "language";
export const language = $state({ code: "en" });
let catalog = $state.raw<Record<string, string>>({});
// Making one takes longer than all that it is used for in a view.
const numbers = $derived(new Intl.NumberFormat(language.code));

/** The text, with `{name}` replaced by what is given for it. */
export function t(text: string, values?: Record<string, string | number>): string {
  const found = catalog[text] ?? text;
  return values ? found.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole)) : found;
}

/** A number of things as the reader's language writes it: for counts, not for numbers that are names. */
export function count(n: number): string {
  return numbers.format(n);
}

/** The one or the other text, by the number, which is `{n}` in both. */
export function tn(n: number, one: string, many: string, values?: Record<string, string | number>): string {
  return t(n === 1 ? one : many, { n: count(n), ...values });
}

export async function chooseLanguage(code: string): Promise<void> {
  const loader = LOADERS[code];
  catalog = loader ? (await loader()).default : {};
  language.code = loader ? code : "en";
  document.documentElement.lang = language.code;
}

export async function keepLanguage(code: string): Promise<void> {
  localStorage.setItem(KEY, code);
  await chooseLanguage(code);
}

/** The reader's own choice, else what the browser asks for, else English. */
export function preferredLanguage(): string {
  const kept = localStorage.getItem(KEY);
  const wanted = kept ? [kept] : navigator.languages.map((each) => each.slice(0, 2));
  return wanted.find((each) => each in LANGUAGES) ?? "en";
}
