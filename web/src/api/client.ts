// Requests to the API, typed by its OpenAPI document.

import { signal } from "@preact/signals";
import type { components, paths } from "./schema";
import { noteServerTime } from "./clock";
import { accessToken, refresh, endSession, session } from "./session";

export type Schemas = components["schemas"];

const BASE = "/api/v1";

type Methods<Item> = { [M in keyof Item]-?: Item[M] extends { responses: unknown } ? M : never }[keyof Item] & string;

/** Every operation, such as `GET /concerts/{concertId}`. */
export type Operation = {
  [P in keyof paths]: P extends `/api/v1${infer Rest}` ? `${Uppercase<Methods<paths[P]>>} ${Rest}` : never;
}[keyof paths];

type Definition<O extends Operation> = O extends `${infer M} ${infer P}`
  ? `/api/v1${P}` extends keyof paths
    ? Lowercase<M> extends keyof paths[`/api/v1${P}`]
      ? paths[`/api/v1${P}`][Lowercase<M>]
      : never
    : never
  : never;

type Json<Response> = Response extends { content: { "application/json": infer Body } } ? Body : undefined;

/** What an operation answers when it succeeds. */
export type Answer<O extends Operation> =
  Definition<O> extends { responses: infer R }
    ? { [S in keyof R]: S extends 200 | 201 | 202 | 204 ? Json<R[S]> : never }[keyof R]
    : never;

type PathOf<O extends Operation> = Definition<O> extends { parameters: { path: infer P } } ? P : undefined;
type QueryOf<O extends Operation> = Definition<O> extends { parameters: { query?: infer Q } } ? Q : undefined;
type BodyOf<O extends Operation> =
  Definition<O> extends { requestBody?: { content: { "application/json": infer B } } } ? B : undefined;

export interface Options<O extends Operation> {
  path?: PathOf<O>;
  query?: QueryOf<O>;
  body?: BodyOf<O>;
  /** The queue token of the concert, for what is behind the queue. */
  queueToken?: string | undefined;
  idempotencyKey?: string;
  signal?: AbortSignal | undefined;
  /** For what needs no login even if there is one. */
  anonymous?: boolean;
}

/** A refusal by the server, or (with the code `NETWORK`) no answer at all. */
export class Failure extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly problem: Partial<Schemas["Problem"]> & Record<string, unknown>,
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(problem.detail ?? problem.title ?? code);
  }

  /** Whether the same request may succeed later, so that it is worth repeating. */
  get passes(): boolean {
    return this.code === "NETWORK" || this.code === "IDEMPOTENCY_IN_PROGRESS" || [429, 503, 504].includes(this.status);
  }

  /** Whether the server understood the request and refuses it, so that repeating it changes nothing. */
  get isFinal(): boolean {
    return this.status >= 400 && this.status < 500 && !this.passes;
  }
}

/** How the server is reached: shown on every view. */
export const connection = signal<"fine" | "lost" | "busy">("fine");

export const pause = (milliseconds: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });

function address(path: string, values: Record<string, unknown> = {}, query: Record<string, unknown> = {}): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(values[name])));
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return BASE + filled + (text && `?${text}`);
}

export async function failureOf(response: Response): Promise<Failure> {
  const problem = await response.json().catch(() => ({}));
  const retryAfter = Number(response.headers.get("Retry-After") ?? "");
  return new Failure(response.status, problem.code ?? `HTTP_${response.status}`, problem, retryAfter || null);
}

/** Sends one request and refreshes the session where that is needed. The caller reads the response. */
export async function send(url: string, init: RequestInit, anonymous = false): Promise<Response> {
  for (let attempt = 0; ; attempt++) {
    const headers = new Headers(init.headers);
    const token = anonymous ? null : await accessToken();
    if (token) headers.set("Authorization", `Bearer ${token}`);
    let response: Response;
    try {
      response = await fetch(url, { ...init, headers });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      connection.value = "lost";
      throw new Failure(0, "NETWORK", {});
    }
    connection.value = response.status === 503 ? "busy" : "fine";
    noteServerTime(response.headers.get("Date"));
    if (response.status !== 401 || !token) return response;
    const failure = await failureOf(response.clone());
    if (failure.code !== "UNAUTHENTICATED") return response;
    // Revoked, or expired a moment too early: one exchange, then the login is over.
    if (attempt > 0 || !(await refresh(token))) {
      if (session.value) endSession("ended");
      return response;
    }
  }
}

/** How often a read is repeated by itself while the server asks for patience. */
const READ_ATTEMPTS = 4;

/** Performs an operation. */
export async function call<O extends Operation>(operation: O, options: Options<O> = {}): Promise<Answer<O>> {
  const [method = "GET", path = ""] = operation.split(" ");
  const url = address(path, options.path as Record<string, unknown>, options.query as Record<string, unknown>);
  const headers = new Headers();
  if (options.queueToken) headers.set("Queue-Token", options.queueToken);
  if (options.idempotencyKey) headers.set("Idempotency-Key", options.idempotencyKey);
  if (options.body !== undefined) headers.set("Content-Type", "application/json");
  const body = options.body === undefined ? null : JSON.stringify(options.body);
  const init: RequestInit = { method, headers, body, signal: options.signal ?? null };
  for (let attempt = 1; ; attempt++) {
    const response = await send(url, init, options.anonymous);
    if (response.ok) {
      const isJson = response.headers.get("Content-Type")?.startsWith("application/json");
      return (isJson ? await response.json() : undefined) as Answer<O>;
    }
    const failure = await failureOf(response);
    const again = method === "GET" && [429, 503].includes(failure.status) && attempt < READ_ATTEMPTS;
    if (!again) throw failure;
    await pause(1000 * Math.min(failure.retryAfterSeconds ?? 1, 5) * (0.8 + 0.4 * Math.random()), options.signal);
  }
}
