// Serves the page from its sources, and passes everything else on to a server: BASE_URL, by default scripts/run's.
// Each load of the page builds it anew.

import { createHash } from "node:crypto";
import { createServer, request } from "node:http";
import { gzipSync } from "node:zlib";
import { files } from "./build.mjs";

const target = new URL(process.env.BASE_URL ?? "http://127.0.0.1:8080");
const port = Number(process.env.PORT ?? 8091);
const types = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8", css: "text/css", svg: "image/svg+xml" };

let made = new Map();
let version = 0;
createServer(async (incoming, outgoing) => {
  const name = /^\/(\?|$)/.test(incoming.url) ? "index.html" : /^\/assets\/[^/]+\/([^/]+)$/.exec(incoming.url)?.[1];
  if (name) {
    if (name === "index.html") {
      made = await files().catch((error) => (console.error(error.message), made));
      version = createHash("sha256").update(made.get("app.js") ?? "").update(made.get("app.css") ?? "").digest("hex").slice(0, 16);
    }
    const content = made.get(name);
    const headers = { "Content-Type": types[name.split(".").pop()], "Content-Encoding": "gzip", "Cache-Control": "max-age=60" };
    outgoing.writeHead(content ? 200 : 404, content ? headers : {});
    outgoing.end(content && gzipSync(content.toString().replaceAll("{version}", String(version))));
    return;
  }
  const { method, headers } = incoming;
  const passed = request({ host: target.hostname, port: target.port, path: incoming.url, method, headers }, (answer) => {
    outgoing.writeHead(answer.statusCode, answer.headers);
    answer.pipe(outgoing);
    answer.on("close", () => outgoing.destroyed || outgoing.writableEnded || outgoing.destroy());
  });
  passed.on("error", () => outgoing.destroy());
  outgoing.on("close", () => passed.destroy());
  incoming.pipe(passed);
}).listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}/ in front of ${target.origin}`));
