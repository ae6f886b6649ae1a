// Server-sent events in a browser by fetch: EventSource can't send the headers Authorization and Queue-Token.

/**
 * Calls `onEvent({event, id, data})` for each event of a stream, until it ends or `signal` aborts.
 * Opens the stream again when the connection fails, and resumes after the last received event.
 */
export async function follow(url, { headers, onEvent, signal }) {
  let lastEventId = "";
  for (;;) {
    try {
      const resume = lastEventId === "" ? {} : { "Last-Event-ID": lastEventId };
      const response = await fetch(url, { headers: { ...headers, ...resume }, signal, cache: "no-store" });
      // 204: the stream has ended for good. An error response is a problem with a code.
      if (response.status === 204) return;
      if (!response.ok) throw Object.assign(new Error("refused"), { problem: await response.json() });
      const ended = await read(response.body, (event) => {
        lastEventId = event.id ?? lastEventId;
        return onEvent(event);
      });
      if (ended) return;
    } catch (error) {
      if (signal?.aborted) return;
      if (error.problem) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000 + 1000 * Math.random()));
  }
}

/** Reads the events of a stream. Returns false at its end, and true if `onEvent` has returned false to stop. */
async function read(body, onEvent) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return false;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const event = parse(part);
      if (event !== null && onEvent(event) === false) {
        await reader.cancel();
        return true;
      }
    }
  }
}

/** Parses an event; null for a comment, which is a heartbeat. */
function parse(part) {
  const fields = {};
  for (const line of part.split("\n")) {
    const [name, ...rest] = line.split(":");
    if (name !== "") fields[name] = rest.join(":").trimStart();
  }
  return fields.data === undefined ? null : { ...fields, data: JSON.parse(fields.data) };
}
