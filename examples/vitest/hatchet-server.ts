// A Hatchet server and a worker for one test file; Vitest runs files side by side, and none sees the server of another.
import { HatchetEmbeddedClient } from '@hatchet-dev/typescript-sdk/v1/embedded';
import type { HatchetClient } from '@hatchet-dev/typescript-sdk/v1';

type Worker = Awaited<ReturnType<HatchetClient['worker']>>;
type Workflows = NonNullable<Exclude<Parameters<HatchetClient['worker']>[1], number>>['workflows'];

// what the SDK says once its server is gone is of no interest; a failed task shows in the test that awaits it
const say = () => {};
const silent = { debug: say, info: say, green: say, warn: say, error: say, util: say };

export async function startHatchet<T extends Record<string, unknown>>(defineTasks: (hatchet: HatchetClient) => T) {
  delete process.env.HATCHET_CLIENT_TOKEN; // a developer's own
  const hatchet = await HatchetEmbeddedClient.init({ binaryPath: process.env.HATCHET_BINARY ?? 'hatchet' }, { logger: () => silent });
  const tasks = defineTasks(hatchet);
  const worker: Worker = await hatchet.worker('tests', { workflows: Object.values(tasks) as Workflows, handleKill: false });
  void worker.start();
  await worker.waitUntilReady();
  const stop = async () => {
    await worker.stop();
    await hatchet.stopEmbedded();
  };
  return { hatchet, tasks, stop };
}
