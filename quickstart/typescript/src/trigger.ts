import { greet } from './tasks';

async function main() {
  const result = await greet.run({ name: process.argv[2] ?? 'Hatchet' });
  console.log(result.greeting);
  process.exit(0);
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
