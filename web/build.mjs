// Builds the page into web/dist. The same sources and tools always give the same bytes.
//
//   node web/build.mjs          writes web/dist
//   node web/build.mjs --check  fails when web/dist isn't what the sources give, or when the page is too large

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/** What the page may weigh compressed, all files together. */
const BUDGET_BYTES = 100_000;

const folder = fileURLToPath(new URL(".", import.meta.url));

export const options = {
  absWorkingDir: folder,
  entryPoints: { app: "src/main.tsx" },
  bundle: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  charset: "utf8",
  outdir: "dist",
  banner: { js: "/* With preact and @preact/signals, MIT licence, by Jason Miller and the Preact team. */" },
  write: false,
  logLevel: "warning",
};

export async function files() {
  const script = await build(options);
  const style = await build({
    absWorkingDir: folder,
    entryPoints: { app: "src/style/main.css" },
    bundle: true,
    target: "es2022",
    minify: true,
    outdir: "dist",
    write: false,
    logLevel: "warning",
  });
  const copied = await Promise.all(
    ["index.html", "icon.svg"].map(async (name) => [name, await readFile(`${folder}src/${name}`)]),
  );
  const text = (output) => Buffer.from(output.outputFiles[0].contents);
  return new Map([["app.js", text(script)], ["app.css", text(style)], ...copied]);
}

async function main() {
  const made = await files();
  let total = 0;
  for (const [name, content] of made) {
    const compressed = gzipSync(content, { level: 9 }).length;
    total += compressed;
    console.log(`${name.padEnd(12)} ${String(content.length).padStart(7)} B  ${String(compressed).padStart(6)} B compressed`);
  }
  console.log(`${"all".padEnd(12)} ${" ".repeat(7)}    ${String(total).padStart(6)} B compressed, of ${BUDGET_BYTES}`);
  if (total > BUDGET_BYTES) throw new Error("the page is over its budget");
  if (process.argv.includes("--check")) {
    for (const [name, content] of made) {
      const committed = await readFile(`${folder}dist/${name}`).catch(() => Buffer.alloc(0));
      if (!content.equals(committed)) throw new Error(`web/dist/${name} isn't what web/src gives: run scripts/web build`);
    }
    return;
  }
  await mkdir(`${folder}dist`, { recursive: true });
  for (const [name, content] of made) await writeFile(`${folder}dist/${name}`, content);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
