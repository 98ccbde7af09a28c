import { HatchetClient } from '@hatchet-dev/typescript-sdk/v1';

// the environment (HATCHET_CLIENT_*) says where the server is
export const hatchet = HatchetClient.init({ log_level: 'WARN' });

export const greet = hatchet.task({
  name: 'greet',
  retries: 3,
  fn: (input: { name: string }) => ({ greeting: `Hello, ${input.name}!` }),
});
