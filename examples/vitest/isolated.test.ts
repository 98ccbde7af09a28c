import { afterAll, beforeAll, expect, test } from 'vitest';
import { startHatchet } from './hatchet-server';

const start = () => startHatchet((hatchet) => ({ own: hatchet.task({ name: 'own', fn: () => ({ mine: true }) }) }));
let server: Awaited<ReturnType<typeof start>>;
beforeAll(async () => {
  server = await start();
});
afterAll(() => server.stop());

test('nobody else has a workflow here', async () => {
  expect(await server.tasks.own.run({})).toEqual({ mine: true });
  const { rows } = await server.hatchet.workflows.list();
  expect(rows?.map((w) => w.name)).toEqual(['own']);
});
