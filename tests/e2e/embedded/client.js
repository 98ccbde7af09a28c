'use strict';
// The embedded mode of the TypeScript SDK with a binary of one's own: client.js [wait].
const fs = require('node:fs');
const { HatchetEmbeddedClient } = require('@hatchet-dev/typescript-sdk/v1/embedded');

const tell = (what) => fs.writeSync(1, JSON.stringify(what) + '\n');
// the SDK keeps the child to itself
const childOf = (pid) => Number(fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ')[0]);

async function main() {
  const hatchet = await HatchetEmbeddedClient.init({ binaryPath: process.env.HATCHET_BINARY }, { log_level: 'WARN' });
  tell({ pid: childOf(process.pid) });
  if (process.argv[2] === 'wait') {
    setInterval(() => {}, 1000);
    return;
  }
  const greet = hatchet.task({ name: 'greet', fn: (input) => ({ greeting: `Hello, ${input.name}!` }) });
  const worker = await hatchet.worker('embedded', { workflows: [greet] });
  worker.start();
  tell(await greet.run({ name: 'embed' }));
  await hatchet.stopEmbedded();
  tell({ stopped: true });
  process.exit(0);
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
