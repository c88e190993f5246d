import js from "@eslint/js";
import svelte from "eslint-plugin-svelte";
import globals from "globals";
import ts from "typescript-eslint";

export default ts.config(
  js.configs.recommended,
  ...ts.configs.recommended,
  ...svelte.configs.recommended,
  { languageOptions: { globals: globals.browser } },
  {
    files: ["**/*.svelte", "**/*.svelte.ts"],
    languageOptions: { parserOptions: { parser: ts.parser } },
  },
  {
    rules: {
      // Text of builds is never markup: whatever a branch, a log line or a property says is shown as text.
      "svelte/no-at-html-tags": "error",
      // Links are hashes (`#/builders/1`), which this rule, made for SvelteKit's router, doesn't know.
      "svelte/no-navigation-without-resolve": "off",
      // Plain URLs and queries are made anew, never changed while somebody looks.
      "svelte/prefer-svelte-reactivity": "off",
      "no-console": "error",
      eqeqeq: "error",
    },
  },
  { ignores: ["node_modules/"] },
);
