// Written by mosaic: reports to mosaic which session pi is in and what it is doing, as JSON lines
// in the file named by MOSAIC_REPORTS. It changes nothing in pi.
import { appendFileSync } from "node:fs";

export default function (pi: any) {
  const file = process.env.MOSAIC_REPORTS;
  if (!file) return;
  const report = (what: object) => {
    try {
      appendFileSync(file, JSON.stringify({ time: new Date().toISOString(), ...what }) + "\n", { mode: 0o600 });
    } catch {
      // A report that cannot be written must not disturb the agent.
    }
  };
  pi.on("session_start", async (event: any, ctx: any) => {
    const session = ctx?.sessionManager?.getSessionFile?.();
    report({ event: "session", file: session, reason: String(event?.reason ?? "") });
    report({ event: "idle" });
  });
  pi.on("input", async (event: any) => {
    report({ event: "prompt", text: String(event?.text ?? "") });
  });
  pi.on("agent_start", async () => report({ event: "working" }));
  pi.on("agent_end", async () => report({ event: "idle" }));
}
