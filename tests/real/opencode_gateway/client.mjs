// What a program does with opencode's SDK, unmodified, against the gateway: both interfaces of the SDK, one
// after the other. Says one line of JSON of what it saw; throws where the answer is not opencode's.
//
//   SDK=DIR GATEWAY=http://127.0.0.1:43123/opencode SECRET=… node client.mjs
import assert from "node:assert/strict"

const { SDK, GATEWAY, SECRET } = process.env
const headers = { Authorization: `Basic ${btoa(`opencode:${SECRET}`)}` }
const v1 = (await import(`${SDK}/dist/client.js`)).createOpencodeClient({ baseUrl: GATEWAY, headers })
const v2 = (await import(`${SDK}/dist/v2/client.js`)).createOpencodeClient({ baseUrl: GATEWAY, headers })

// The same calls, as each interface has them.
const old = {
  name: "v1",
  create: (body) => v1.session.create({ body }),
  get: (id) => v1.session.get({ path: { id } }),
  list: () => v1.session.list(),
  status: () => v1.session.status(),
  prompt: (id, text) => v1.session.prompt({ path: { id }, body: { parts: [{ type: "text", text }] } }),
  later: (id, text) => v1.session.promptAsync({ path: { id }, body: { parts: [{ type: "text", text }] } }),
  messages: (id) => v1.session.messages({ path: { id } }),
  abort: (id) => v1.session.abort({ path: { id } }),
  fork: (id) => v1.session.fork({ path: { id }, body: {} }),
  rename: (id, title) => v1.session.update({ path: { id }, body: { title } }),
  remove: (id) => v1.session.delete({ path: { id } }),
  events: (options) => v1.event.subscribe(options),
  config: () => v1.config.get(),
}
const now = {
  name: "v2",
  create: (body) => v2.session.create(body),
  get: (sessionID) => v2.session.get({ sessionID }),
  list: () => v2.session.list(),
  status: () => v2.session.status(),
  prompt: (sessionID, text) => v2.session.prompt({ sessionID, parts: [{ type: "text", text }] }),
  later: (sessionID, text) => v2.session.promptAsync({ sessionID, parts: [{ type: "text", text }] }),
  messages: (sessionID) => v2.session.messages({ sessionID }),
  abort: (sessionID) => v2.session.abort({ sessionID }),
  fork: (sessionID) => v2.session.fork({ sessionID }),
  rename: (sessionID, title) => v2.session.update({ sessionID, title }),
  remove: (sessionID) => v2.session.delete({ sessionID }),
  events: (options) => v2.event.subscribe({}, options),
  config: () => v2.config.get(),
}

async function eventually(what, is, ms = 20000) {
  const until = Date.now() + ms
  for (;;) {
    if (await is()) return
    assert(Date.now() < until, `waited in vain: ${what}`)
    await new Promise((done) => setTimeout(done, 100))
  }
}

const fine = async (answer) => {
  const { data, error, response } = await answer
  assert.equal(error, undefined, `${response?.status} ${JSON.stringify(error)}`)
  return { data, node: response.headers.get("x-mosaic-node") }
}

async function all(api) {
  const stop = new AbortController()
  const heard = []
  const { stream } = await api.events({ signal: stop.signal })
  const listening = (async () => {
    for await (const event of stream) heard.push(event)
  })().catch(() => {})
  await eventually("the greeting", () => heard.some((e) => e.type === "server.connected"))
  const of = (type, session) => heard.filter((e) => e.type === type && e.properties.sessionID === session)

  // Six at once, spread over the nodes.
  const made = await Promise.all([0, 1, 2, 3, 4, 5].map((n) => fine(api.create({ title: `${api.name} ${n}` }))))
  const home = new Map(made.map(({ data, node }) => [data.id, node]))
  assert.equal(home.size, 6)
  const text = (id) => `words for ${id}`
  const said = await Promise.all([...home.keys()].map((id) => fine(api.prompt(id, text(id)))))
  for (const { data, node } of said) {
    const id = data.info.sessionID
    assert.equal(node, home.get(id))
    const answer = data.parts.filter((p) => p.type === "text").map((p) => p.text).join("")
    assert(answer.startsWith("ok: words for ses_"), answer)
  }
  const listed = (await fine(api.list())).data.map((s) => s.id)
  for (const id of home.keys()) {
    assert.equal(listed.filter((other) => other === id).length, 1, id)
    const history = await fine(api.messages(id))
    assert.equal(history.node, home.get(id))
    assert.deepEqual(history.data.map((m) => m.info.role), ["user", "assistant"])
    assert(JSON.stringify(history.data[0].parts).includes(text(id)))
    await eventually("its events", () => of("session.idle", id).length > 0)
    assert(of("message.part.delta", id).length > 0)
    assert.equal(heard.filter((e) => e.type === "session.created" && e.properties.info.id === id).length, 1)
  }

  // A turn that is aborted.
  const [first] = home.keys()
  await fine(api.later(first, "SLEEP 60 and answer"))
  await eventually("it works", async () => (await fine(api.status())).data[first]?.type === "busy")
  const begun = Date.now()
  assert.equal((await fine(api.abort(first))).data, true)
  await eventually("it is idle", async () => !(await fine(api.status())).data[first])
  assert(Date.now() - begun < 10000)

  // A fork knows what was said, is where its session is, and goes on by itself.
  const [, second] = home.keys()
  const fork = await fine(api.fork(second))
  assert.notEqual(fork.data.id, second)
  assert.equal(fork.node, home.get(second))
  const more = await fine(api.prompt(fork.data.id, "words of a fork"))
  assert.equal(more.node, home.get(second))
  assert.equal((await fine(api.messages(fork.data.id))).data.length, 4)
  assert.equal((await fine(api.messages(second))).data.length, 2)

  const renamed = await fine(api.rename(second, "another title"))
  assert.equal(renamed.data.title, "another title")
  assert((await fine(api.config())).data)

  // What is deleted is gone, for who asks for it and in what is heard.
  const gone = [...home.keys(), fork.data.id]
  for (const id of gone) assert.equal((await fine(api.remove(id))).data, true)
  for (const id of gone) {
    const { error, response } = await api.get(id)
    assert.equal(response.status, 404)
    assert(JSON.stringify(error.data ?? error.cause ?? error).includes(id) || error.message.includes(id))
    await eventually("its end is heard", () => heard.some((e) => e.type === "session.deleted" && e.properties.info.id === id))
  }
  const left = (await fine(api.list())).data.map((s) => s.id)
  assert(gone.every((id) => !left.includes(id)))
  const { response } = await api.create({ parentID: "ses_nobody" })
  assert.equal(response.status, 404)
  stop.abort()
  await listening
  return { homes: [...home.values()], events: heard.length, aborted: first, kinds: [...new Set(heard.map((e) => e.type))].sort() }
}

const seen = {}
for (const api of [old, now]) seen[api.name] = await all(api)
console.log(JSON.stringify(seen))
process.exit(0)
