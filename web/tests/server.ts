// A database and servers for the tests, started as scripts/clients starts its own.

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { createWriteStream, mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = `${root}.local/web`;
const binary = process.env.BINARY ?? `${process.env.CARGO_TARGET_DIR ?? `${root}target`}/debug/concert-reservation`;
const databaseEnvironment = { ...process.env, DB_PROFILE: "test", DB_DIR: `${folder}/db` };

export function startDatabase(): string {
  mkdirSync(folder, { recursive: true });
  return execFileSync(`${root}scripts/db`, ["start"], { env: databaseEnvironment, stdio: ["ignore", "pipe", "ignore"] })
    .toString()
    .trim()
    .split("\n")
    .at(-1)!;
}

export function stopDatabase(): void {
  execFileSync(`${root}scripts/db`, ["stop"], { env: databaseEnvironment, stdio: "ignore" });
}

export async function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}

/** Everything comes from one address here. */
function withoutRateLimits(): Record<string, string> {
  const names = readFileSync(`${root}.env.example`, "utf8").match(/^RATE_LIMIT_\w+/gm) ?? [];
  return Object.fromEntries(names.map((name) => [name, "0"]));
}

export class Server {
  private process: ChildProcess | null = null;
  private page: ChildProcess | null = null;

  private constructor(
    private readonly environment: Record<string, string>,
    readonly port: number,
    private readonly pagePort: number,
  ) {}

  static async start(databaseUrl: string, settings: Record<string, string> = {}): Promise<Server> {
    const port = await freePort();
    // FROM_SOURCES=yes tests the page as it is in web/src, without a build of the server.
    const pagePort = process.env.FROM_SOURCES ? await freePort() : 0;
    const environment = {
      ...withoutRateLimits(), DATABASE_URL: databaseUrl, DEMO: "true", LISTEN_ADDR: `127.0.0.1:${port}`,
      ...(pagePort && { PUBLIC_URL: `http://127.0.0.1:${pagePort}` }), ...settings,
    };
    const server = new Server(environment, port, pagePort);
    await server.run();
    if (pagePort) await server.startPage(pagePort);
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.pagePort || this.port}`;
  }

  private async startPage(port: number): Promise<void> {
    const environment = { ...process.env, BASE_URL: `http://127.0.0.1:${this.port}`, PORT: String(port) };
    this.page = spawn(process.execPath, [`${root}web/dev.mjs`], { env: environment, stdio: "ignore" });
    while (!(await fetch(`http://127.0.0.1:${port}/`).catch(() => null))) await new Promise((resolve) => setTimeout(resolve, 50));
  }

  command(name: string): void {
    execFileSync(binary, [name], { env: { ...process.env, ...this.environment }, stdio: "ignore" });
  }

  async run(): Promise<void> {
    const log = createWriteStream(`${folder}/server-${this.port}.log`, { flags: "a" });
    this.process = spawn(binary, ["serve"], { env: { ...process.env, ...this.environment }, stdio: ["ignore", "pipe", "pipe"] });
    this.process.stdout?.pipe(log);
    this.process.stderr?.pipe(log);
    const ended = new Promise<never>((_, reject) => {
      this.process?.once("exit", (code) => reject(new Error(`the server ended with ${code}: see ${folder}/server-${this.port}.log`)));
    });
    ended.catch(() => {});
    await Promise.race([ended, this.ready()]);
  }

  private async ready(): Promise<void> {
    for (;;) {
      const response = await fetch(`http://127.0.0.1:${this.port}/readyz`).catch(() => null);
      if (response?.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** As a power failure ends it. */
  async kill(): Promise<void> {
    await this.end("SIGKILL");
  }

  async stop(): Promise<void> {
    this.page?.kill();
    await this.end("SIGINT");
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const { process: ending } = this;
    this.process = null;
    if (!ending || ending.exitCode !== null) return;
    const exited = new Promise((resolve) => ending.once("exit", resolve));
    ending.kill(signal);
    await exited;
  }
}
