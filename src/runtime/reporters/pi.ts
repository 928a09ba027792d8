// Written by mosaic. Reports to mosaic which session pi is in and what it is doing, as JSON lines in
// the file named by MOSAIC_REPORTS, and takes messages on the socket named by MOSAIC_PI_SOCKET. What
// stands in the editor is never touched.
import { appendFileSync, chmodSync, unlinkSync } from "node:fs";
import { createServer } from "node:net";

// The session's messages so far; longer than any agent is asked about.
const REMEMBERED = 1000;

function textOf(content: any): string {
  if (typeof content === "string") return content;
  const blocks = Array.isArray(content) ? content : [];
  return blocks.filter((b: any) => b?.type === "text").map((b: any) => b.text).join("\n");
}

export default function (pi: any) {
  const file = process.env.MOSAIC_REPORTS;
  const report = (what: object) => {
    if (!file) return;
    try {
      appendFileSync(file, JSON.stringify({ time: new Date().toISOString(), ...what }) + "\n", { mode: 0o600 });
    } catch {
      // A report that cannot be written must not disturb the agent.
    }
  };

  let context: any;
  let session: string | undefined;
  // Messages from the socket by id: `undefined` while pi has not taken them, then true.
  const taken = new Map<string, boolean>();
  let waiting: { id: string; text: string; done: (answer: object) => void } | undefined;

  pi.on("session_start", async (event: any, ctx: any) => {
    context = ctx;
    session = ctx?.sessionManager?.getSessionFile?.();
    report({ event: "session", file: session, reason: String(event?.reason ?? "") });
    report({ event: "idle" });
    listen();
  });
  pi.on("message_start", async (event: any) => {
    if (event?.message?.role !== "user") return;
    const text = textOf(event.message.content);
    report({ event: "prompt", text });
    if (waiting && waiting.text === text) {
      taken.set(waiting.id, true);
      waiting.done({ ok: true });
    }
  });
  pi.on("agent_start", async () => report({ event: "working" }));
  pi.on("agent_end", async (event: any) => {
    const messages = Array.isArray(event?.messages) ? event.messages : [];
    const last = messages.filter((m: any) => m?.role === "assistant").pop();
    const text = last ? textOf(last.content) : "";
    if (text) report({ event: "answer", text });
    // pi tries again by itself after a pause, and says then that it works.
    const error = last?.stopReason === "error" ? String(last.errorMessage ?? "") : "";
    if (/\b429\b|rate.?limit|overloaded|quota/i.test(error)) report({ event: "limited", what: error.slice(0, 200) });
    else report({ event: "idle" });
  });

  const path = process.env.MOSAIC_PI_SOCKET;
  let server: any;

  function listen() {
    if (!path || server) return;
    try {
      unlinkSync(path);
    } catch {
      // There was none.
    }
    server = createServer((stream: any) => {
      let input = "";
      stream.setEncoding("utf8");
      stream.on("error", () => {});
      stream.on("data", (chunk: string) => {
        input += chunk;
        const end = input.indexOf("\n");
        if (end < 0) return;
        const line = input.slice(0, end);
        input = "";
        const reply = (answer: object) => stream.end(JSON.stringify(answer) + "\n");
        try {
          serve(JSON.parse(line), reply);
        } catch (error) {
          reply({ ok: false, nothing: true, why: String(error) });
        }
      });
    });
    // Without the socket mosaic goes by the terminal.
    server.on("error", () => (server = undefined));
    server.listen(path, () => {
      try {
        chmodSync(path, 0o600);
      } catch {
        // Its directory is private too.
      }
    });
    // It must not keep pi alive.
    server.unref();
  }
  pi.on("session_shutdown", async () => {
    try {
      server?.close();
    } catch {
      // It ends anyway.
    }
    server = undefined;
  });

  function serve(request: any, reply: (answer: object) => void) {
    const idle = context?.isIdle?.() === true && !context?.hasPendingMessages?.() && !waiting;
    switch (request.op) {
      case "status":
        return reply({ ok: true, idle, session });
      case "find":
        return reply({ ok: true, taken: taken.get(String(request.id)) === true });
      case "send": {
        const id = String(request.id);
        const text = String(request.text);
        if (taken.get(id) === true) return reply({ ok: true, again: true });
        if (taken.has(id)) return reply({ ok: false, why: "it was handed over before, and not taken yet" });
        if (!idle) return reply({ ok: false, nothing: true, busy: true, why: "pi is working" });
        let timer: any;
        const done = (answer: object) => {
          clearTimeout(timer);
          waiting = undefined;
          reply(answer);
        };
        // Nothing but pi itself takes longer, and the caller must not be left without an answer.
        timer = setTimeout(() => done({ ok: false, why: "pi did not take it in time" }), 10000);
        waiting = { id, text, done };
        taken.set(id, false);
        if (taken.size > REMEMBERED) taken.delete(taken.keys().next().value as string);
        // pi decides when to run it if a turn begins at this very moment.
        pi.sendUserMessage(text, { deliverAs: "followUp" });
        return;
      }
      default:
        return reply({ ok: false, nothing: true, why: "unknown request" });
    }
  }
}
