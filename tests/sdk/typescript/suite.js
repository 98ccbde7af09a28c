'use strict';
// Acceptance cases of the official TypeScript SDK: suite.js main|restart.
// Run by tests/sdk/drive.py, which starts the servers and sets HATCHET_CLIENT_*, SUITE_DIR and CONTROL_URL.
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { BulkTriggerIdempotencyCollisionError, IdempotencyCollisionError } = require('@hatchet-dev/typescript-sdk/v1');
const t = require('./tasks');

const { hatchet, marks, letGo } = t;
const LIMIT = 4 * 1024 * 1024;
const INPUT_LIMIT = LIMIT - 64 * 1024;
const workers = [];

async function until(what, check, seconds = 30) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const got = await check();
    if (got) return got;
    if (Date.now() > end) throw new Error(`waited ${seconds} s for: ${what}`);
    await t.pause(50);
  }
}

// A worker process, ready when the engine lists it with an open stream.
async function startWorker(name, set, slots = 10, zone = []) {
  const log = fs.openSync(path.join(t.DIR, `worker-${name}.log`), 'w');
  const child = spawn(process.execPath, [path.join(__dirname, 'worker.js'), name, set, String(slots), ...zone], {
    stdio: ['ignore', log, log],
  });
  const w = { child, ended: null };
  child.on('exit', (code, signal) => { w.ended = { code, signal }; });
  workers.push(w);
  w.id = await until(`worker ${name} listed`, async () => {
    if (w.ended) throw new Error(`worker ${name} ended: see worker-${name}.log`);
    const row = ((await hatchet.workers.list()).rows || []).find((r) => r.name === name && r.status === 'ACTIVE');
    return row && row.metadata.id;
  }, 60);
  return w;
}

async function control(what) {
  const reply = await fetch(process.env.CONTROL_URL + what);
  assert.equal(reply.status, 200, await reply.text());
}

const status = (id) => hatchet.runs.get_status(id);

// What a rejected run was rejected with, as text.
async function failure(promise) {
  let got;
  try {
    got = await promise;
  } catch (e) {
    return Array.isArray(e) ? e.join('\n') : String(e && e.message ? e.message : e);
  }
  throw new Error(`expected a failed run, got ${JSON.stringify(got)}`);
}

function has(text, ...parts) {
  for (const p of parts) assert.ok(text.includes(String(p)), `${p} is not in ${text.slice(0, 400)}`);
}

const cases = {
  async run_and_wait() {
    assert.deepEqual(await t.wait.run({ n: 21, text: 'h\u00e9 \u{1f980}' }), { twice: 42, text: 'h\u00e9 \u{1f980}' });
  },
  async run_many() {
    const got = await t.many.runMany(Array.from({ length: 1000 }, (_, n) => ({ input: { n } })));
    assert.deepEqual(got.map((r) => r.n), Array.from({ length: 1000 }, (_, n) => n));
  },
  async run_without_waiting() {
    const ref = await t.nowait.runNoWait({ n: 1 });
    const id = await ref.getWorkflowRunId();
    assert.deepEqual(await ref.output, { n: 2 });
    assert.deepEqual(await hatchet.runRef(id).output, { 'ts-nowait': { n: 2 } }, 'result of an ended run by its id');
    assert.equal((await hatchet.runs.get(id)).run.status, 'COMPLETED');
    assert.equal(await status(id), 'COMPLETED');
    const details = await hatchet.runs.getDetails(id);
    assert.deepEqual([details.status, details.done], ['COMPLETED', true]);
    assert.deepEqual(details.taskRuns['ts-nowait'].output, { n: 2 });
  },
  async failing() {
    const ref = await t.fail.runNoWait({});
    const text = 'the pump is dry: 42 < 43 \u2013 \u00fcber';
    has(await failure(ref.output), text);
    const run = await hatchet.runs.get(ref);
    assert.equal(run.run.status, 'FAILED');
    has(run.tasks[0].errorMessage, text);
  },
  async retry_that_succeeds() {
    assert.deepEqual(await t.retry.run({}), { retry: 2 });
    assert.deepEqual(marks('ts-retry', 'ran').map((m) => m.retry), [0, 1, 2]);
  },
  async non_retryable() {
    has(await failure(t.final.run({})), 'never again');
    assert.deepEqual(marks('ts-final', 'ran').map((m) => m.retry), [0]);
  },
  async timeout() {
    const began = Date.now();
    has(await failure(t.timeout.run({})), 'exceeded timeout of 1s');
    assert.ok(Date.now() - began > 900 && Date.now() - began < 10000, `after ${Date.now() - began} ms`);
    await until('the worker told to cancel', () => marks('ts-timeout', 'cancelled').length);
  },
  async refresh_of_the_timeout() {
    const got = await t.refresh.run({});
    assert.ok(got.lasted >= 9000, `ended after ${got.lasted} ms`);
  },
  async cancel() {
    const ref = await t.cancel.runNoWait({});
    await until('started', () => marks('ts-cancel', 'started').length);
    await ref.cancel();
    assert.equal(await status(ref), 'CANCELLED', 'status right after the answer');
    await until('the worker told to cancel', () => marks('ts-cancel', 'cancelled').length);
    assert.deepEqual(await ref.output, {}, 'a cancelled run has an empty result');
  },
  async concurrency() {
    const refs = [];
    for (let n = 0; n < 6; n++) refs.push(await t.keyed.runNoWait({ n, text: n < 5 ? 'a' : 'b' }));
    await until('two of a and one of b run', () => marks('ts-keyed', 'started').length === 3);
    assert.equal(await status(refs[2]), 'QUEUED', 'the third of a');
    letGo('keyed');
    for (const [n, ref] of refs.entries()) assert.deepEqual(await ref.output, { n });
    let running = 0;
    let most = 0;
    for (const m of marks('ts-keyed').filter((x) => x.text === 'a')) {
      running += m.what === 'started' ? 1 : -1;
      most = Math.max(most, running);
    }
    assert.equal(most, 2, 'of a at once');
    const first = await t.newest.runNoWait({ n: 1, text: 'k' });
    await until('the first runs', () => marks('ts-newest', 'started').length);
    const second = await t.newest.runNoWait({ n: 2, text: 'k' });
    assert.equal(await status(first), 'CANCELLED');
    letGo('newest-2');
    assert.deepEqual(await second.output, { n: 2 });
  },
  async rate_limits() {
    const waits = await t.metered.runNoWait({ n: 0, text: 'u0' });
    await hatchet.ratelimits.upsert({ key: 'ts-api', limit: 8, duration: t.RateLimitDuration.HOUR });
    assert.deepEqual(await waits.output, { n: 0 });
    for (const n of [1, 2]) assert.deepEqual(await t.metered.run({ n, text: 'u1' }), { n });
    const third = await t.metered.runNoWait({ n: 3, text: 'u1' });
    assert.deepEqual(await t.metered.run({ n: 4, text: 'u2' }), { n: 4 }, 'another user');
    assert.equal(await status(third), 'QUEUED', 'the third of u1');
    const { rows } = await hatchet.ratelimits.list({});
    assert.deepEqual(['ts-api', 'u1', 'u2'].map((k) => rows.find((r) => r.key === k).value), [0, 0, 1]);
    await third.cancel();
  },
  async batch() {
    const outs = await Promise.all([0, 1, 2, 3, 4].map((n) => t.batch.run({ n, text: n < 4 ? 'a' : 'b' })));
    assert.deepEqual(outs.map((o) => o.n), [0, 1, 2, 3, 4]);
    assert.deepEqual(outs.map((o) => o.of).sort(), [1, 1, 3, 3, 3]);
    const ran = marks('ts-batch', 'ran').map((m) => `${m.n} ${m.keys}`).sort();
    assert.deepEqual(ran, ['1 a', '1 b', '3 a']);
  },
  async idempotency() {
    const first = await t.once.runNoWait({ n: 1, text: 'a' });
    const id = await first.getWorkflowRunId();
    const held = (e) => e instanceof IdempotencyCollisionError && e.existingRunExternalId === id;
    await assert.rejects(t.once.runNoWait({ n: 2, text: 'a' }), held);
    let made;
    await assert.rejects(t.once.runNoWait([{ n: 3, text: 'a' }, { n: 4, text: 'b' }, { n: 5, text: 'b' }]), (e) => {
      assert.ok(e instanceof BulkTriggerIdempotencyCollisionError, String(e));
      made = e.successfulWorkflowRunExternalIds;
      assert.equal(made.length, 1);
      assert.deepEqual(e.collisions.map((c) => c.existingRunExternalId), [id, made[0]]);
      return true;
    });
    letGo('once-a');
    letGo('once-b');
    assert.deepEqual(await first.output, { n: 1 });
    assert.deepEqual(await hatchet.runRef(made[0]).output, { 'ts-once': { n: 4 } });
    assert.deepEqual(await t.once.run({ n: 6, text: 'a' }), { n: 6 }, 'the key is free again');
  },
  async replay() {
    const ref = await t.mended.runNoWait({});
    const id = await ref.getWorkflowRunId();
    await failure(ref.output);
    letGo('mended');
    await hatchet.runs.replay({ ids: [id] });
    assert.deepEqual(await hatchet.runRef(id).output, { 'ts-mended': { retry: 1 } });
  },
  async children_end_with_their_parent() {
    const ref = await t.mother.runNoWait({});
    ref.output.catch(() => {});
    await until('the child runs', () => marks('ts-orphan', 'started').length);
    const child = marks('ts-orphan', 'started')[0].run;
    await ref.cancel();
    await until('the child cancelled', async () => (await status(child)) === 'CANCELLED');
  },
  async large_payload() {
    const inputBytes = INPUT_LIMIT - 2048;
    const outputBytes = LIMIT - 2048;
    assert.equal((await t.large.run({ text: 'a'.repeat(inputBytes) })).got, inputBytes);
    assert.equal((await t.large.run({ size: outputBytes })).text.length, outputBytes);
  },
  async payload_over_the_limit() {
    const text = await failure(t.large.runNoWait({ text: 'a'.repeat(INPUT_LIMIT + 1) }).then((r) => r.getWorkflowRunId()));
    has(text, INPUT_LIMIT);
    const named = (text.match(/\d{7,}/g) || []).map(Number);
    assert.ok(named.some((n) => n > INPUT_LIMIT && n < LIMIT), `the size asked for is not named: ${text.slice(0, 400)}`);
  },
  async metadata() {
    const meta = { customer: 'ts-acme', trace: 'a:b,c' };
    const ref = await t.meta.runNoWait({}, { additionalMetadata: meta });
    assert.deepEqual((await ref.output).meta, meta);
    const id = await ref.getWorkflowRunId();
    assert.deepEqual((await hatchet.runs.get(id)).run.additionalMetadata, meta);
    const found = await hatchet.runs.list({ additionalMetadata: { customer: 'ts-acme' } });
    assert.deepEqual(found.rows.map((r) => r.metadata.id), [id], 'runs listed by metadata');
  },
  async logs() {
    const { task } = await t.logs.run({});
    const want = [0, 1, 2, 3, 4].map((i) => `line ${i} of the log`);
    await until('the five lines over REST', async () => {
      const rows = (await hatchet.logs.list(task)).rows || [];
      return JSON.stringify(rows.map((r) => r.message).sort()) === JSON.stringify(want) && rows.every((r) => r.level === 'WARN');
    });
  },
  async children_once() {
    assert.deepEqual(await t.again.run({}), { kids: [0, 1, 2] });
    assert.deepEqual(marks('ts-kid', 'ran').map((m) => m.n).sort(), [0, 1, 2], 'children of both attempts');
  },
  async two_workers_share() {
    await Promise.all([startWorker('ts-share-a', 'share', 5), startWorker('ts-share-b', 'share', 5)]);
    const refs = await t.share.runManyNoWait(Array.from({ length: 12 }, (_, n) => ({ input: { n } })));
    await until('ten tasks at once', () => marks('ts-share', 'started').length >= 10);
    const counts = {};
    for (const m of marks('ts-share', 'started')) counts[m.pid] = (counts[m.pid] || 0) + 1;
    assert.deepEqual(Object.values(counts), [5, 5], 'tasks of each worker while none has ended');
    letGo('share');
    assert.equal((await Promise.all(refs.map((r) => r.output))).length, 12);
  },
  async labels_and_sticky() {
    const [a, b] = await Promise.all(['a', 'b'].map((z) => startWorker(`ts-zone-${z}`, 'zones', 4, [z])));
    const inZone = (value) => ({ desiredWorkerLabels: { zone: { value, required: true } } });
    for (let i = 0; i < 3; i++) {
      assert.equal((await t.zone.run({})).worker, a.id, 'the label the task asks for');
      assert.equal((await t.zone.run({}, inZone('b'))).worker, b.id, 'the label the trigger asks for');
    }
    const ref = await t.zone.runNoWait({}, inZone('c'));
    assert.equal((await t.zone.run({})).worker, a.id);
    assert.equal(await status(await ref.getWorkflowRunId()), 'QUEUED', 'nobody has that label');
    assert.equal((await t.zone.run({ text: 'c' }, inZone('b'))).worker, b.id);
    assert.equal((await ref.output).worker, b.id, 'it has now');
    for (const got of await Promise.all([1, 2, 3].map(() => t.parent.run({})))) assert.equal(got.child, got.worker, 'where the child ran');
  },
  async worker_killed() {
    const first = await startWorker('ts-lost-a', 'lost', 1);
    const ref = await t.lost.runNoWait({});
    await until('started', () => marks('ts-lost', 'started').length);
    first.child.kill('SIGKILL');
    const killed = Date.now();
    await startWorker('ts-lost-b', 'lost', 1);
    letGo('lost');
    const got = await ref.output;
    const began = marks('ts-lost', 'started');
    assert.equal(began.length, 2, 'starts');
    assert.deepEqual(got, { pid: began[1].pid, retry: 1 });
    assert.notEqual(began[0].pid, began[1].pid);
    const after = began[1].at - killed;
    assert.ok(after > 20000 && after < 45000, `second start ${after} ms after the kill`);
  },
  async worker_paused() {
    const w = await startWorker('ts-pause', 'pause', 1);
    assert.equal((await t.paused.run({})).worker, w.id);
    await hatchet.workers.pause(w.id);
    assert.equal(await hatchet.workers.isPaused(w.id), true);
    const ref = await t.paused.runNoWait({});
    const id = await ref.getWorkflowRunId();
    await t.wait.run({ n: 1 }); // a run that came later has passed through
    assert.equal(await status(id), 'QUEUED', 'status while its worker is paused');
    assert.equal(marks('ts-pause', 'started').length, 1);
    await hatchet.workers.unpause(w.id);
    assert.equal((await ref.output).worker, w.id);
  },
  async worker_stopped() {
    const w = await startWorker('ts-stop', 'stop', 2);
    const ref = await t.stop.runNoWait({});
    await until('started', () => marks('ts-stop', 'started').length);
    w.child.kill('SIGTERM');
    await until('the worker not active', async () => (await hatchet.workers.get(w.id)).status !== 'ACTIVE');
    const late = await t.stop.runNoWait({});
    await late.getWorkflowRunId();
    letGo('stop');
    assert.equal((await ref.output).worker, w.id, 'the task that ran ends');
    await until('the worker ended', () => w.ended);
    assert.equal(w.ended.code, 0);
    assert.equal(marks('ts-stop', 'started').length, 1);
    const other = await startWorker('ts-stop-b', 'stop', 2);
    assert.equal((await late.output).worker, other.id);
  },
};

async function restart(name, task) {
  const ref = await task.runNoWait({ n: 7 });
  const result = ref.output;
  await until('started', () => marks(`ts-${name}`, 'started').length);
  await control(`restart-${name}`);
  letGo(name);
  assert.deepEqual(await result, { n: 7, retry: 0 });
  assert.equal(marks(`ts-${name}`, 'started').length, 1, 'starts');
  await hatchet.runs.get(ref);
}

const restarts = {
  server_restarted: () => restart('server', t.server),
  postgres_restarted: () => restart('postgres', t.postgres),
};

async function run(number, name, fn) {
  const began = Date.now();
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('took more than 120 s')), 120000);
  });
  try {
    await Promise.race([fn(), limit]);
    console.log(`ok ${number} - ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
    return true;
  } catch (e) {
    const text = Array.isArray(e) ? e.join('\n') : e.stack || String(e);
    console.log(`not ok ${number} - ${name}: ${text.slice(0, 1500)}`);
    return false;
  } finally {
    clearTimeout(timer);
  }
}

async function main() {
  const group = process.argv[2];
  const some = ['run_and_wait', 'run_many', 'run_without_waiting', 'large_payload'].map((name) => [name, cases[name]]);
  const list = group === 'tls' ? some : Object.entries(group === 'main' ? cases : restarts);
  let ok = [];
  try {
    await startWorker(`ts-${group}`, group === 'restart' ? 'restart' : 'base', 100);
    if (group !== 'restart') ok = await Promise.all(list.map(([name, fn], i) => run(i + 1, name, fn)));
    else for (const [name, fn] of list) ok.push(await run(ok.length + 1, name, fn));
  } catch (e) {
    console.log(`not ok 0 - ${group}: ${e.stack || e}`);
    ok = [];
  }
  for (const w of workers) if (!w.ended) w.child.kill('SIGKILL');
  const good = ok.filter(Boolean).length;
  console.log(`${good} passed, ${list.length - good} failed, 0 skipped`);
  process.exit(good === list.length ? 0 : 1);
}

process.on('unhandledRejection', (e) => console.log(`# unhandled: ${Array.isArray(e) ? e.join(' ') : e}`));
main();
