// Written by mosaic: a plugin of opencode's terminal interface. Reports to mosaic which session is
// shown and what opencode is doing, as JSON lines in the file named by MOSAIC_REPORTS. It changes
// nothing in opencode; messages come by its HTTP interface.
import { appendFileSync } from "node:fs";

const id = "mosaic";

async function tui(api: any) {
  const file = process.env.MOSAIC_REPORTS;
  if (!file) return;
  const report = (what: object) => {
    try {
      appendFileSync(file, JSON.stringify({ time: new Date().toISOString(), ...what }) + "\n", { mode: 0o600 });
    } catch {
      // A report that cannot be written must not disturb the agent.
    }
  };

  // Sessions of subagents: what is said there is not said to the user.
  const children = new Set<string>();
  // Sessions that work, with what their provider said when it refuses more requests.
  const busy = new Map<string, { what: string; until?: string } | undefined>();
  // Open questions by id.
  const asked = new Map<string, { session: string; question: string }>();
  const users = new Set<string>();
  const told = new Set<string>();
  // Texts of answers by message, then by part.
  const texts = new Map<string, Map<string, string>>();

  let state = "";
  const tell = () => {
    const limited = [...busy.values()].find((b) => b);
    const question = [...asked.values()].pop()?.question;
    const what =
      question !== undefined ? { event: "waiting", question }
      : limited ? { event: "limited", ...limited }
      : busy.size > 0 ? { event: "working" }
      : { event: "idle" };
    const now = JSON.stringify(what);
    if (now === state) return;
    state = now;
    report(what);
    if (what.event === "idle") {
      texts.clear();
      users.clear();
    }
  };
  const status = (session: string, value: any) => {
    if (value?.type === "idle") {
      busy.delete(session);
      // An interrupted turn takes its questions along.
      for (const [key, one] of asked) if (one.session === session) asked.delete(key);
    } else if (value?.type === "retry") {
      const until = Number(value.next) > 0 ? new Date(Number(value.next)).toISOString() : undefined;
      busy.set(session, { what: String(value.message ?? ""), until });
    } else if (value) busy.set(session, undefined);
  };
  const permission = (p: any) => {
    const detail = p?.metadata?.command ?? p?.metadata?.filepath ?? (p?.patterns ?? []).join(" ");
    asked.set(String(p?.id), { session: p?.sessionID, question: `${p?.permission} ${detail}`.trim() });
  };
  const question = (q: any) => {
    const text = (q?.questions ?? []).map((one: any) => one?.question).join(" / ");
    asked.set(String(q?.id), { session: q?.sessionID, question: text });
  };

  const on = (type: string, act: (properties: any) => void) => {
    api.event.on(type, (event: any) => {
      try {
        act(event?.properties ?? {});
      } catch {
        // An event of another shape is left out.
      }
    });
  };
  for (const type of ["session.created", "session.updated"])
    on(type, (p) => {
      if (p.info?.parentID) children.add(p.info.id);
    });
  on("session.status", (p) => {
    status(p.sessionID, p.status);
    tell();
  });
  on("permission.asked", (p) => {
    permission(p);
    tell();
  });
  on("question.asked", (p) => {
    question(p);
    tell();
  });
  for (const type of ["permission.replied", "question.replied", "question.rejected"])
    on(type, (p) => {
      asked.delete(String(p.requestID ?? p.permissionID));
      tell();
    });
  on("message.updated", (p) => {
    const info = p.info ?? {};
    if (children.has(info.sessionID)) return;
    if (info.role === "user") users.add(info.id);
    if (info.role !== "assistant" || info.summary || !info.time?.completed || told.has(info.id)) return;
    const text = [...(texts.get(info.id)?.values() ?? [])].filter((t) => t).join("\n");
    if (!text) return;
    told.add(info.id);
    report({ event: "answer", text });
  });
  on("message.part.updated", (p) => {
    const part = p.part ?? {};
    if (part.type !== "text" || part.synthetic || part.ignored || children.has(part.sessionID)) return;
    const text = String(part.text ?? "");
    if (!users.has(part.messageID)) {
      const parts = texts.get(part.messageID) ?? new Map<string, string>();
      texts.set(part.messageID, parts.set(part.id, text));
    } else if (text && !told.has(part.id)) {
      // A message that is given again, by its id, is told once.
      told.add(part.id);
      report({ event: "prompt", text });
    }
  });

  // What began before this plugin did.
  try {
    const list = async (ask: any) => (await ask)?.data ?? {};
    for (const [session, value] of Object.entries(await list(api.client.session.status()))) status(session, value);
    for (const one of Object.values(await list(api.client.permission.list()))) permission(one);
    for (const one of Object.values(await list(api.client.question.list()))) question(one);
  } catch {
    // Its events tell from now on.
  }

  let shown: string | undefined;
  const show = () => {
    const route = api.route.current;
    const session = route?.name === "session" ? route.params?.sessionID : undefined;
    // A look at a subagent leaves the conversation where it is.
    if (children.has(session) || api.state.session?.get?.(session)?.parentID) return;
    const now = JSON.stringify(session ?? null);
    if (now === shown || (session === undefined && route?.name !== "home")) return;
    const resting = state === JSON.stringify({ event: "idle" });
    const reason = shown === undefined ? "startup" : resting ? "new" : "shown";
    shown = now;
    report({ event: "session", id: session, reason });
    // The last report is the present state; `new` says that it rests. That it rests is never said
    // twice: it would look like the end of a turn.
    if (!resting) {
      state = "";
      tell();
    }
  };
  show();
  try {
    // The interface's own reactivity: no polling.
    const { createEffect } = await import("solid-js");
    createEffect(show);
  } catch {
    setInterval(show, 100);
  }
}

export default { id, tui };
