'use strict';
// One worker process: worker.js NAME SET SLOTS [ZONE]; ZONE is a label of it.
const { hatchet, sets } = require('./tasks');

async function main() {
  const [name, set, slots, zone] = process.argv.slice(2);
  const worker = await hatchet.worker(name, { workflows: sets[set], slots: Number(slots), labels: zone ? { zone } : {} });
  await worker.start();
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
