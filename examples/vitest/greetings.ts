// The application's tasks, for whichever client they are given.
import type { HatchetClient } from '@hatchet-dev/typescript-sdk/v1';

export const defineTasks = (hatchet: HatchetClient) => ({
  greet: hatchet.task({
    name: 'greet',
    fn: ({ name }: { name: string }) => ({ greeting: `Hello, ${name}!` }),
  }),
  thirdTimeLucky: hatchet.task({
    name: 'third-time-lucky',
    retries: 2,
    fn: (_: Record<string, never>, ctx) => {
      if (ctx.retryCount() < 2) throw new Error('not yet');
      return { attempts: ctx.retryCount() + 1 };
    },
  }),
});
