// A Hatchet server and a worker for one test file; Jest runs files side by side, and none sees the server of another.
const { HatchetEmbeddedClient } = require('@hatchet-dev/typescript-sdk/v1/embedded');

// what the SDK says once its server is gone is of no interest; a failed task shows in the test that awaits it
const say = () => {};
const silent = { debug: say, info: say, green: say, warn: say, error: say, util: say };

exports.startHatchet = async (defineTasks) => {
  delete process.env.HATCHET_CLIENT_TOKEN; // a developer's own
  const hatchet = await HatchetEmbeddedClient.init({ binaryPath: process.env.HATCHET_BINARY ?? 'hatchet' }, { logger: () => silent });
  const tasks = defineTasks(hatchet);
  const worker = await hatchet.worker('tests', { workflows: Object.values(tasks), handleKill: false });
  worker.start();
  await worker.waitUntilReady();
  return {
    hatchet,
    tasks,
    stop: async () => {
      await worker.stop();
      await hatchet.stopEmbedded();
    },
  };
};
