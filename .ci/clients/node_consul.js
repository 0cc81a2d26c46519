// Drives an agent through the `consul` package, a module at a time. The first thing that is not as with Consul ends it.
"use strict";

const assert = require("node:assert/strict");
const { once } = require("node:events");
const { setTimeout: sleep } = require("node:timers/promises");
const Consul = require("consul");

const [host, ...wanted] = process.argv.slice(2);
const c = new Consul({ host });

async function until(what, found) {
  for (let tries = 0; tries < 200; tries++) {
    const value = await found();
    if (value) return value;
    await sleep(50);
  }
  assert.fail(`no ${what} within 10 s`);
}

// A body of `false` comes out of this package as undefined.
const modules = {
  async status() {
    assert.equal(await c.status.leader(), `${host}:8300`);
    assert.deepEqual(await c.status.peers(), [`${host}:8300`]);
  },

  async agent() {
    assert.equal((await c.agent.self()).Config.NodeName, "one");
    assert.deepEqual((await c.agent.members()).map((member) => member.Name), ["one"]);
    await c.agent.service.register({ name: "web", id: "web-1", port: 8080, tags: ["v1"], check: { ttl: "30s", status: "passing" } });
    assert.equal((await c.agent.service.list())["web-1"].Port, 8080);
    await c.agent.check.register({ name: "free", ttl: "1h" });
    await c.agent.check.warn({ id: "free", note: "so so" });
    assert.equal((await c.agent.check.list()).free.Status, "warning");
    await c.agent.check.fail("free");
    await c.agent.check.pass("free");
    assert.equal((await c.agent.check.list()).free.Status, "passing");
    await c.agent.check.deregister("free");
    await c.agent.service.maintenance({ id: "web-1", enable: true, reason: "a pause" });
    assert.equal((await c.agent.check.list())["_service_maintenance:web-1"].Notes, "a pause");
    await c.agent.service.maintenance({ id: "web-1", enable: false });
    await c.agent.maintenance({ enable: true });
    await c.agent.maintenance({ enable: false });
    await c.agent.join(host);
  },

  async catalog() {
    assert.deepEqual(await c.catalog.datacenters(), ["dc1"]);
    await c.catalog.register({ node: "far", address: "10.0.0.7", service: { id: "db-1", service: "db", tags: ["main"], port: 5432 } });
    assert.ok((await c.catalog.node.list()).some((node) => node.Node === "far"));
    assert.equal((await c.catalog.node.services("far")).Services["db-1"].Port, 5432);
    assert.deepEqual((await c.catalog.service.list()).db, ["main"]);
    assert.equal((await c.catalog.service.nodes({ service: "db", tag: "main" }))[0].ServicePort, 5432);
  },

  async health() {
    const web = () => c.health.service({ service: "web", passing: true });
    await until("passing web", async () => (await web()).length === 1);
    assert.equal((await c.health.node("one")).length, 2);
    assert.equal((await c.health.checks("web"))[0].CheckID, "service:web-1");
    assert.ok((await c.health.state("passing")).length >= 2);
    await c.catalog.deregister("far");
  },

  async kv() {
    assert.equal(await c.kv.set("a/1", "one"), true);
    const row = await c.kv.get("a/1");
    assert.equal(row.Value, "one");
    assert.equal(await c.kv.set({ key: "a/1", value: "two", cas: row.ModifyIndex, flags: 7 }), true);
    assert.ok(!(await c.kv.set({ key: "a/1", value: "three", cas: row.ModifyIndex })));
    assert.deepEqual(await c.kv.keys("a/"), ["a/1"]);
    assert.equal((await c.kv.get({ key: "a/", recurse: true })).length, 1);
    assert.deepEqual(await c.kv.get({ key: "a/1", raw: true }), Buffer.from("two"));
    assert.equal(await c.kv.get("none"), undefined);
    assert.equal(await c.kv.del({ key: "a/", recurse: true }), true);
  },

  async watch() {
    const watch = c.watch({ method: c.kv.get, options: { key: "watched" } });
    const changed = (async () => {
      for (;;) {
        const [row] = await once(watch, "change");
        if (row && row.Value === "new") return;
      }
    })();
    await sleep(200);
    await c.kv.set("watched", "new");
    await changed;
    watch.end();
  },

  async session() {
    const first = await c.session.create({ name: "first", ttl: "30s", lockdelay: "0s" });
    const second = await c.session.create({ behavior: "delete", lockdelay: "0s" });
    assert.equal((await c.session.get(first.ID)).Name, "first");
    assert.equal((await c.session.list()).length, 2);
    assert.equal((await c.session.node("one")).length, 2);
    assert.equal((await c.session.renew(first.ID))[0].ID, first.ID);
    assert.equal(await c.kv.set({ key: "lock", value: "mine", acquire: first.ID }), true);
    assert.ok(!(await c.kv.set({ key: "lock", value: "yours", acquire: second.ID })));
    assert.equal(await c.kv.set({ key: "lock", value: "", release: first.ID }), true);
    assert.equal(await c.kv.set({ key: "lock", value: "yours", acquire: second.ID }), true);
    await c.session.destroy(second.ID);
    assert.equal(await c.kv.get("lock"), undefined);
    await c.session.destroy(first.ID);
  },

  async transaction() {
    const value = Buffer.from("v").toString("base64");
    const done = await c.transaction.create([{ KV: { Verb: "set", Key: "t/1", Value: value } }, { KV: { Verb: "get", Key: "t/1" } }]);
    assert.equal(done.Results[1].KV.Value, value);
    await assert.rejects(c.transaction.create([{ KV: { Verb: "check-not-exists", Key: "t/1" } }]), { statusCode: 409 });
    await c.transaction.create([{ KV: { Verb: "delete", Key: "t/1" } }]);
  },

  async event() {
    const fired = await c.event.fire("deploy", "seven");
    assert.equal(fired.Name, "deploy");
    const seen = await until("event", async () => (await c.event.list("deploy"))[0]);
    assert.equal(seen.Payload, "seven");
  },

  async query() {
    const made = await c.query.create({ name: "fast", service: { service: "web", onlypassing: true } });
    assert.equal((await c.query.list())[0].Name, "fast");
    assert.equal((await c.query.get(made.ID)).Service.OnlyPassing, true);
    assert.equal((await c.query.execute("fast")).Nodes[0].Service.ID, "web-1");
    // This package looks for a list where Consul answers an object, and shows nothing of it.
    await c.query.explain("fast");
    await c.query.update({ query: made.ID, name: "faster", service: { service: "web" } });
    await c.query.destroy(made.ID);
    assert.deepEqual(await c.query.list(), []);
  },
};

(async () => {
  for (const name of wanted.length ? wanted : Object.keys(modules)) {
    await modules[name]();
    console.log(`   ${name}`);
  }
})().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
