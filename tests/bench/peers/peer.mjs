// What another queue does on the same Postgres: peer.mjs PEER WORKLOAD SECONDS [NUMBER], with PGHOST, PGUSER, PGDATABASE.
// PEER: graphile-worker or pg-boss. WORKLOAD:
//   enqueue   single enqueues, 64 under way: how many a second
//   dispatch  NUMBER enqueues a second: how long from the call to the start of the job
//   drain     NUMBER jobs that do nothing, queued before: how many a second
// Prints one line of JSON.
import {createRequire} from "node:module";

const require = createRequire(process.cwd() + "/");
const [peer, workload, secondsText, numberText] = process.argv.slice(2);
const seconds = Number(secondsText), number = Number(numberText);
const CONCURRENCY = 64;
const now = () => performance.now();
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function percentile(values, part) {
  values.sort((a, b) => a - b);
  return values[Math.min(values.length - 1, Math.floor(part * values.length))];
}

// Each has: add(payload), addMany(count), work(handler), close().
async function graphile() {
  const {makeWorkerUtils, run, Logger} = require("graphile-worker");
  const {Pool} = require("pg");
  const logger = new Logger(() => () => {});
  const pgPool = new Pool({max: 24});
  pgPool.on("error", () => {});
  pgPool.on("connect", (client) => client.on("error", () => {}));
  const utils = await makeWorkerUtils({pgPool, logger});
  await utils.migrate();
  let runner;
  return {
    add: (payload) => utils.addJob("job", payload),
    addMany: (count) => pgPool.query(
      `select graphile_worker.add_jobs(array_agg(
         row('job', json_build_object('n', n), null, null, null, null, null, null)::graphile_worker.job_spec))
       from generate_series(1, $1) n`, [count]),
    work: async (handler, batched) => {
      // As its own benchmark has it where it is to be fast.
      const preset = batched
        ? {worker: {localQueue: {size: 500}, completeJobBatchDelay: 0, failJobBatchDelay: 0}} : undefined;
      runner = await run({pgPool, logger, preset, concurrency: 24, noHandleSignals: true,
                          taskList: {job: (payload) => handler(payload)}});
    },
    close: async () => {
      if (runner) await runner.stop();
      await utils.release();
      await pgPool.end();
    },
  };
}

async function boss() {
  const PgBoss = require("pg-boss");
  const queue = new PgBoss({host: process.env.PGHOST, user: process.env.PGUSER, database: process.env.PGDATABASE,
                            max: 24, schedule: false});
  queue.on("error", () => {});
  await queue.start();
  await queue.createQueue("job");
  let ended = false;
  const loops = [];
  return {
    add: (payload) => queue.send("job", payload),
    addMany: async (count) => {
      for (let done = 0; done < count; done += 5000) {
        await queue.insert(Array.from({length: Math.min(5000, count - done)}, (_, n) => ({name: "job", data: {n}})));
      }
    },
    work: async (handler) => {
      // Its own work() polls twice a second; this is as fast as it goes.
      const loop = async () => {
        while (!ended) {
          const jobs = await queue.fetch("job", {batchSize: 500});
          for (const job of jobs) handler(job.data);
          if (jobs.length) await queue.complete("job", jobs.map((job) => job.id));
          else await sleep(5);
        }
      };
      for (let i = 0; i < 4; ++i) loops.push(loop());
    },
    close: async () => {
      ended = true;
      await Promise.all(loops);
      await queue.stop({graceful: false});
    },
  };
}

async function enqueue(queue) {
  const until = now() + seconds * 1000;
  let count = 0;
  const begin = now();
  await Promise.all(Array.from({length: CONCURRENCY}, async () => {
    while (now() < until) {
      await queue.add({n: count});
      ++count;
    }
  }));
  return {per_s: count / ((now() - begin) / 1000)};
}

async function dispatch(queue) {
  const begun = new Map(), delays = [];
  await queue.work((payload) => {
    const at = begun.get(payload.n);
    if (at === undefined) return;
    delays.push(now() - at);
    begun.delete(payload.n);
  });
  const begin = now(), count = number * seconds, calls = [];
  for (let n = 0; n < count; ++n) {
    const left = begin + n * 1000 / number - now();
    if (left > 1) await sleep(left);
    begun.set(n, now());
    calls.push(queue.add({n}));
  }
  await Promise.all(calls);
  while (begun.size > 0) await sleep(10);
  return {p50_ms: percentile(delays, 0.5), p99_ms: percentile(delays, 0.99)};
}

async function drain(queue) {
  await queue.addMany(number);
  let count = 0;
  const begin = now();
  await queue.work(() => { ++count; }, true);
  while (count < number && now() - begin < seconds * 1000) await sleep(5);
  return {per_s: count / ((now() - begin) / 1000)};
}

const queue = await (peer === "graphile-worker" ? graphile() : boss());
const result = await {enqueue, dispatch, drain}[workload](queue);
console.log(JSON.stringify(result));
await Promise.race([queue.close(), sleep(5000)]);
process.exit(0);
