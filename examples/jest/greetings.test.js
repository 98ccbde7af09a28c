const { startHatchet } = require('./hatchet-server');
const { defineTasks } = require('./greetings');

let server;
beforeAll(async () => {
  server = await startHatchet(defineTasks);
});
afterAll(() => server.stop());

test('a result', async () => {
  expect(await server.tasks.greet.run({ name: 'jest' })).toEqual({ greeting: 'Hello, jest!' });
});

test('retries', async () => {
  expect(await server.tasks.thirdTimeLucky.run({})).toEqual({ attempts: 3 });
});
