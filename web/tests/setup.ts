// One database and one server with demo data for all tests; BASE_URL and DATABASE_URL name others that run already.

import { Server, startDatabase, stopDatabase } from "./server";

export default async function setup(): Promise<() => Promise<void>> {
  const databaseUrl = process.env.DATABASE_URL ?? startDatabase();
  const own = process.env.DATABASE_URL === undefined;
  process.env.TEST_DATABASE_URL = databaseUrl;
  const server = await Server.start(databaseUrl);
  server.command("seed-demo");
  process.env.TEST_URL = server.url;
  return async () => {
    await server.stop();
    if (own) stopDatabase();
  };
}
