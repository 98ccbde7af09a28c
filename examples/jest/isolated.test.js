const { startHatchet } = require('./hatchet-server');

let server;
beforeAll(async () => {
  server = await startHatchet((hatchet) => ({ own: hatchet.task({ name: 'own', fn: () => ({ mine: true }) }) }));
});
afterAll(() => server.stop());

test('nobody else has a workflow here', async () => {
  expect(await server.tasks.own.run({})).toEqual({ mine: true });
  const { rows } = await server.hatchet.workflows.list();
  expect(rows.map((w) => w.name)).toEqual(['own']);
});
