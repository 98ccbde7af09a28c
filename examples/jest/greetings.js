// The application's tasks, for whichever client they are given.
exports.defineTasks = (hatchet) => ({
  greet: hatchet.task({
    name: 'greet',
    fn: ({ name }) => ({ greeting: `Hello, ${name}!` }),
  }),
  thirdTimeLucky: hatchet.task({
    name: 'third-time-lucky',
    retries: 2,
    fn: (input, ctx) => {
      if (ctx.retryCount() < 2) throw new Error('not yet');
      return { attempts: ctx.retryCount() + 1 };
    },
  }),
});
