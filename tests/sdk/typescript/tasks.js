'use strict';
// The workflows of the suite, one per case, and the marks by which workers and suite tell each other what happened:
// a line appended to a file of SUITE_DIR is seen by the suite, a file `go-X` lets the tasks that wait for X go on.
const fs = require('node:fs');
const path = require('node:path');
const { ConcurrencyLimitStrategy, HatchetClient, NonRetryableError, RateLimitDuration } = require('@hatchet-dev/typescript-sdk/v1');

const DIR = process.env.SUITE_DIR;
const hatchet = HatchetClient.init({ log_level: 'WARN' });

function mark(name, what, more = {}) {
  const line = JSON.stringify({ what, pid: process.pid, at: Date.now(), ...more }) + '\n';
  fs.appendFileSync(path.join(DIR, name), line);
}

function marks(name, what) {
  let text = '';
  try {
    text = fs.readFileSync(path.join(DIR, name), 'utf8');
  } catch (e) {
    if (e.code !== 'ENOENT') throw e;
  }
  const all = text.split('\n').filter(Boolean).map((l) => JSON.parse(l));
  return what ? all.filter((m) => m.what === what) : all;
}

const letGo = (name) => fs.writeFileSync(path.join(DIR, `go-${name}`), '');
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function gate(name, signal) {
  while (!fs.existsSync(path.join(DIR, `go-${name}`))) {
    if (signal && signal.aborted) throw new Error('aborted');
    await pause(50);
  }
}

async function untilCancelled(name, ctx) {
  try {
    await gate('never', ctx.abortController.signal);
  } catch (e) {
    mark(name, 'cancelled');
    throw e;
  }
  return {};
}

const task = (name, fn, more = {}) => hatchet.task({ name: `ts-${name}`, fn, ...more });

const wait = task('wait', async (input) => ({ twice: input.n * 2, text: input.text }));
const many = task('many', async (input) => ({ n: input.n }));
const nowait = task('nowait', async (input) => ({ n: input.n + 1 }));
const fail = task('fail', async () => {
  throw new Error('the pump is dry: 42 < 43 \u2013 \u00fcber');
});
const retry = task('retry', async (input, ctx) => {
  mark('ts-retry', 'ran', { retry: ctx.retryCount() });
  if (ctx.retryCount() < 2) throw new Error('not yet');
  return { retry: ctx.retryCount() };
}, { retries: 3 });
const final = task('final', async (input, ctx) => {
  mark('ts-final', 'ran', { retry: ctx.retryCount() });
  throw new NonRetryableError('never again');
}, { retries: 5 });
const timeout = task('timeout', (input, ctx) => untilCancelled('ts-timeout', ctx), { executionTimeout: '1s' });
const refresh = task('refresh', async (input, ctx) => {
  const began = Date.now();
  await ctx.refreshTimeout('30s');
  while (Date.now() < began + 9000) await pause(100);
  return { lasted: Date.now() - began };
}, { executionTimeout: '6s' });
const cancel = task('cancel', (input, ctx) => {
  mark('ts-cancel', 'started');
  return untilCancelled('ts-cancel', ctx);
});
const large = task('large', async (input) => ({ got: (input.text || '').length, text: 'b'.repeat(input.size || 0) }));
const meta = task('meta', async (input, ctx) => ({ meta: ctx.additionalMetadata() }));
const logs = task('logs', async (input, ctx) => {
  for (let i = 0; i < 5; i++) await ctx.log(`line ${i} of the log`, 'WARN');
  return { task: ctx.taskRunExternalId() };
});
const share = task('share', async (input) => {
  mark('ts-share', 'started', { n: input.n });
  await gate('share');
  return { pid: process.pid };
});
const lost = task('lost', async (input, ctx) => {
  mark('ts-lost', 'started', { retry: ctx.retryCount() });
  await gate('lost');
  return { pid: process.pid, retry: ctx.retryCount() };
}, { executionTimeout: '300s' });
const paused = task('pause', async (input, ctx) => {
  mark('ts-pause', 'started', { worker: ctx.worker.id() });
  return { worker: ctx.worker.id() };
});
const stop = task('stop', async (input, ctx) => {
  mark('ts-stop', 'started', { worker: ctx.worker.id() });
  await gate('stop');
  return { worker: ctx.worker.id() };
});
const restarted = (name) => task(name, async (input, ctx) => {
  mark(`ts-${name}`, 'started', { retry: ctx.retryCount() });
  await gate(name);
  return { n: input.n, retry: ctx.retryCount() };
}, { executionTimeout: '120s' });
const kid = task('kid', async (input) => {
  mark('ts-kid', 'ran', { n: input.n });
  return { n: input.n };
});
const again = task('again', async (input, ctx) => {
  const kids = [];
  for (let n = 0; n < 3; n++) kids.push((await kid.run({ n })).n);
  if (ctx.retryCount() === 0) throw new Error('after its children');
  return { kids };
}, { retries: 1 });
const zone = task('zone', async (input, ctx) => {
  if (input.text) await ctx.worker.upsertLabels({ zone: input.text });
  return { worker: ctx.worker.id() };
}, { desiredWorkerLabels: { zone: { value: 'a', required: true } } });
const child = task('child', async (input, ctx) => ({ worker: ctx.worker.id() }), { sticky: 'hard' });
const parent = task('parent', async (input, ctx) => {
  const got = await ctx.runChild(child, {}, { sticky: true });
  return { worker: ctx.worker.id(), child: got.worker };
});
const byText = (maxRuns, limitStrategy) => [{ expression: 'input.text', maxRuns, limitStrategy }];
const keyed = task('keyed', async (input) => {
  mark('ts-keyed', 'started', { text: input.text });
  await gate('keyed');
  mark('ts-keyed', 'ended', { text: input.text });
  return { n: input.n };
}, { concurrency: byText(2, ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN) });
const newest = task('newest', async (input, ctx) => {
  mark('ts-newest', 'started', { n: input.n });
  await gate(`newest-${input.n}`, ctx.abortController.signal);
  return { n: input.n };
}, { concurrency: byText(1, ConcurrencyLimitStrategy.CANCEL_IN_PROGRESS) });
const metered = task('metered', async (input) => ({ n: input.n }), {
  rateLimits: [{ staticKey: 'ts-api', units: 2 }, { dynamicKey: 'input.text', units: 1, limit: 2, duration: RateLimitDuration.HOUR }],
});
const batch = hatchet.batchTask({
  name: 'ts-batch',
  batch: { maxSize: 3, maxInterval: 500, groupKey: 'input.text' },
  fn: async (inputs) => {
    const all = Object.values(inputs);
    mark('ts-batch', 'ran', { n: all.length, keys: [...new Set(all.map((i) => i.text))].sort() });
    return Object.fromEntries(Object.entries(inputs).map(([member, i]) => [member, { n: i.n, of: all.length }]));
  },
});
const once = task('once', async (input, ctx) => {
  await gate(`once-${input.text}`, ctx.abortController.signal);
  return { n: input.n };
}, { idempotency: { strategy: 'status', expression: "'ts-' + input.text", fallbackTtlMs: 3600000 } });
const mended = task('mended', async (input, ctx) => {
  if (!fs.existsSync(path.join(DIR, 'go-mended'))) throw new Error('broken');
  return { retry: ctx.retryCount() };
});
const orphan = task('orphan', async (input, ctx) => {
  mark('ts-orphan', 'started', { run: ctx.workflowRunId() });
  await gate('never', ctx.abortController.signal);
  return {};
});
const mother = task('mother', async (input, ctx) => ctx.runChild(orphan, {}));
const server = restarted('server');
const postgres = restarted('postgres');

module.exports = {
  DIR, hatchet, marks, letGo, pause,
  wait, many, nowait, fail, retry, final, timeout, refresh, cancel, large, meta, logs, share, lost, paused, stop, again, zone, parent, server, postgres,
  keyed, newest, metered, batch, once, mended, mother, RateLimitDuration,
  sets: {
    base: [wait, many, nowait, fail, retry, final, timeout, refresh, cancel, large, meta, logs, kid, again, keyed, newest, metered, batch, once, mended, orphan, mother],
    share: [share],
    lost: [lost],
    pause: [paused],
    stop: [stop],
    zones: [zone, child, parent],
    restart: [server, postgres],
  },
};
