import { readdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

// The master serves files as they lie there: beside each text a .br and a .gz of it.
function compress(): Plugin {
  let out = "";
  return {
    name: "compress",
    apply: "build",
    configResolved(config) {
      out = resolve(config.root, config.build.outDir);
    },
    async closeBundle() {
      for (const entry of await readdir(out, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || !/\.(html|js|css|svg|json)$/.test(entry.name)) continue;
        const path = join(entry.parentPath, entry.name);
        const text = await readFile(path);
        if (text.length < 1000) continue;
        const best = { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } };
        await writeFile(`${path}.br`, brotliCompressSync(text, best));
        await writeFile(`${path}.gz`, gzipSync(text, { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  // Relative, so that the page works below any path of a proxy.
  base: "./",
  plugins: [svelte(), compress()],
  build: {
    // tools/web.py says where to.
    emptyOutDir: true,
    target: "es2022",
    // Nothing in a data: address, which the page's content policy would refuse.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      output: {
        // What several views share is one file, with one of styles: a file for each part takes a browser longer
        // to fetch than the few kB that the first view could do without. Plots are large, and few views have any.
        codeSplitting: {
          groups: [
            {
              name: "shared",
              test: /\/(src\/(lib|ui|i18n)\/(?!Plot).*\.(ts|svelte|css)|node_modules\/(svelte|esm-env|clsx)\/)/,
              minShareCount: 2,
            },
          ],
        },
      },
    },
  },
  // `npx vite` beside a running `make run`.
  server: {
    proxy: {
      "/api": "http://127.0.0.1:8010",
      "/auth": "http://127.0.0.1:8010",
      "/config": "http://127.0.0.1:8010",
      "/ws": { target: "ws://127.0.0.1:8010", ws: true },
    },
  },
  test: { include: ["src/**/*.test.ts"] },
});
