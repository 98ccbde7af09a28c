// What a program in TypeScript or JavaScript does with the front door: node-postgres, client.js WORKFLOW.  One JSON object on
// standard output.
const { Client } = require('pg');

async function main() {
  const workflow = process.argv[2];
  const db = new Client();
  const out = {};
  await db.connect();

  await db.query('begin');
  await db.query("insert into orders values ('node-rolled-back')");
  await db.query('select hatchet.enqueue($1, $2)', [workflow, { order: 'node-rolled-back' }]);
  await db.query('rollback');

  await db.query('begin');
  await db.query("insert into orders values ('node')");
  const { rows } = await db.query('select hatchet.enqueue($1, $2, priority => 3, additional_metadata => $3) as id', [
    workflow,
    { order: 'node' },
    { by: 'node' },
  ]);
  out.run = rows[0].id;
  await db.query('commit');

  try {
    await db.query('select hatchet.enqueue($1, priority => 9)', [workflow]);
  } catch (e) {
    if (e.code !== '22023') throw e;
    out.error = e.message;
  }
  await db.end();
  console.log(JSON.stringify(out));
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
