import { greet, hatchet } from './tasks';

async function main() {
  const worker = await hatchet.worker('quickstart', { workflows: [greet] });
  await worker.start();
}

main();
