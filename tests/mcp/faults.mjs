// Kills of the gateway, of its upstream and of clients, at random moments: `faults.mjs SECONDS`.
//
// In the first half, upstreams and clients are killed, and the gateway's memory must not grow. In
// the second half, gateways are killed, too. Each call of a client that lives must end with a
// result, an error or the end of its connection, and in the end no process may be left.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { alive, place, serve, stat, until } from './support.mjs';
import { work } from './worker.mjs';

const here = fileURLToPath(import.meta.url);
// A call ends after 1 s by the gateway's limit. The rest is for a busy machine.
const LIMIT = 10_000;
const RESIDENT_SLACK = 16 << 20;

const random = (below) => Math.floor(Math.random() * below);
const pick = (list) => list[random(list.length)];

function resident(pid) {
  try {
    return Number(stat(pid)[21]) * 4096;
  } catch {
    return 0;
  }
}

function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
    return true;
  } catch {
    return false;
  }
}

// A client process that makes one call after the other, over HTTP to `url()` or over stdio.
class Client {
  constructor(at, url) {
    Object.assign(this, { at, url, outcomes: {}, kills: 0, gateways: new Set(), late: [] });
    this.start();
  }

  start() {
    const target = this.url ? this.url().href : 'stdio';
    this.child = spawn(process.execPath, [here, 'worker', target], {
      env: this.at.env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.running = new Map();
    let rest = '';
    this.child.stdout.on('data', (data) => {
      const lines = (rest + data).split('\n');
      rest = lines.pop();
      lines.forEach((line) => this.heard(JSON.parse(line)));
    });
  }

  heard({ begin, end, how, gateway }) {
    if (gateway) this.gateways.add(gateway);
    if (begin !== undefined) this.running.set(begin, Date.now());
    if (end === undefined) return;
    this.running.delete(end);
    this.outcomes[how] = (this.outcomes[how] ?? 0) + 1;
  }

  // Records calls that have no outcome for too long.
  check() {
    for (const [call, begun] of this.running) {
      if (Date.now() - begun > LIMIT) {
        this.late.push(call);
        this.running.delete(call);
      }
    }
  }

  kill() {
    this.kills += 1;
    kill(this.child.pid);
    this.start();
  }

  stop() {
    kill(this.child.pid);
  }
}

async function main(seconds) {
  assert.ok(seconds > 0 && seconds <= 600, 'seconds: from 1 to 600');
  const at = place();
  const booth = 'faults.toml';
  let gateway = await serve(at, booth);
  const gateways = [gateway.child.pid];
  const clients = [0, 1, 2, 3].map(() => new Client(at, () => gateway.url));
  clients.push(new Client(at), new Client(at));
  const upstreams = () =>
    at
      .events()
      .filter(({ event }) => event === 'process')
      .map(({ pid }) => pid);
  const kills = { upstream: 0, gateway: 0 };

  const begun = Date.now();
  const half = begun + seconds * 500;
  const memory = [];
  while (Date.now() < begun + seconds * 1000) {
    await sleep(50 + random(400));
    clients.forEach((client) => client.check());
    const second = Date.now() > half;
    if (!second) memory.push(resident(gateway.child.pid));
    const victim = pick(['upstream', 'upstream', 'client', second ? 'gateway' : 'client']);
    if (victim === 'client') pick(clients).kill();
    if (victim === 'upstream') {
      const living = upstreams().filter(alive);
      if (living.length > 0 && kill(pick(living))) kills.upstream += 1;
    }
    if (victim === 'gateway') {
      kills.gateway += 1;
      kill(gateway.child.pid);
      await gateway.ended;
      gateway = await serve(at, booth, gateway.port);
      gateways.push(gateway.child.pid);
    }
  }

  // Clients that are not killed get an outcome for each call.
  await sleep(1_500);
  clients.forEach((client) => client.check());
  clients.forEach((client) => client.stop());
  await gateway.stop();
  const all = [...gateways, ...clients.flatMap((client) => [...client.gateways]), ...upstreams()];
  const left = await until('no process is left', () => all.filter(alive).length === 0, 15_000).then(
    () => [],
    () => all.filter(alive),
  );
  left.forEach(kill);

  const outcomes = {};
  for (const client of clients) {
    for (const [how, count] of Object.entries(client.outcomes))
      outcomes[how] = (outcomes[how] ?? 0) + count;
  }
  const late = clients.flatMap((client) => client.late);
  // After the first quarter, connections and buffers have their usual size.
  const quarter = memory.slice(Math.floor(memory.length / 4));
  const [early, last] = [quarter.slice(0, 5), quarter.slice(-5)].map((part) => Math.max(...part));
  const clientKills = clients.reduce((sum, client) => sum + client.kills, 0);
  console.log(
    `${seconds} s; kills: ${kills.upstream} upstreams, ${clientKills} clients, ${kills.gateway} gateways`,
  );
  console.log(`outcomes: ${JSON.stringify(outcomes)}; calls without one: ${late.length}`);
  console.log(`processes started: ${all.length}, left: ${left.length}`);
  console.log(
    `memory of the gateway: ${early >> 20} MiB after the first quarter, ${last >> 20} MiB in the end`,
  );
  assert.deepEqual([late, left], [[], []]);
  assert.ok((outcomes.result ?? 0) > 0, 'no call succeeded');
  assert.ok(last <= early + RESIDENT_SLACK, `the memory grew from ${early} to ${last} bytes`);
}

if (process.argv[2] === 'worker') await work(process.argv[3]);
else await main(Number(process.argv[2] ?? 60));
