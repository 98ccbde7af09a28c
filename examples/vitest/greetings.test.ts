import { afterAll, beforeAll, expect, test } from 'vitest';
import { defineTasks } from './greetings';
import { startHatchet } from './hatchet-server';

let server: Awaited<ReturnType<typeof startHatchet<ReturnType<typeof defineTasks>>>>;
beforeAll(async () => {
  server = await startHatchet(defineTasks);
});
afterAll(() => server.stop());

test('a result', async () => {
  expect(await server.tasks.greet.run({ name: 'vitest' })).toEqual({ greeting: 'Hello, vitest!' });
});

test('retries', async () => {
  expect(await server.tasks.thirdTimeLucky.run({})).toEqual({ attempts: 3 });
});
