// Ends an invocation as its payload asks: {"behavior": "kill"}.
'use strict';

const fs = require('fs');

const MB = 1 << 20;

/** Off-heap: V8's own limit does not see it, the kernel does. */
function grow(held) {
  for (;;) held.push(Buffer.alloc(MB, 1));
}

function heap() {
  const held = [];
  for (;;) held.push(new Array(1024).fill(held.length + 0.5));
}

/** What the environment variable SANDBOX_INIT asks for, before the first invocation. */
function init(what) {
  const mark = `${process.env.TMPDIR}/died-once`;
  if (what.endsWith('-once')) {
    if (fs.existsSync(mark)) return;
    fs.writeFileSync(mark, '');
  }
  if (what.startsWith('kill')) grow([]);
  if (what.startsWith('heap')) heap();
  if (what.startsWith('crash')) process.exit(1);
}

init(process.env.SANDBOX_INIT || '');

exports.handler = async (event, context) => {
  for (const line of event.lines || []) console.log(line.replace('{id}', context.awsRequestId));
  switch (event.behavior) {
    case 'kill':
    case 'grow':
      for (let worker = 1; worker < (event.workers || 1); worker += 1) {
        const source = 'const a = []; for (;;) a.push(Buffer.alloc(1 << 20, 1));';
        require('child_process').spawn(process.execPath, ['-e', source], { stdio: 'ignore' });
      }
      return grow([]);
    case 'heap':
      return heap();
    case 'buffer': // one request that no address space holds: an error that nobody handles
      return new ArrayBuffer(2 ** 53 - 1).byteLength;
    case 'handled':
      try {
        return new ArrayBuffer(2 ** 53 - 1).byteLength;
      } catch (error) {
        console.error('served from disk instead:', error);
        return { status: 'ok' };
      }
    case 'worker': { // a thread of its own dies at its own limit; the process lives
      const { Worker } = require('worker_threads');
      const source = 'const a = []; for (;;) a.push(new Array(1024).fill(a.length + 0.5));';
      const limits = { maxOldGenerationSizeMb: 16 };
      const worker = new Worker(source, { eval: true, resourceLimits: limits });
      const error = await new Promise((done) => worker.on('error', done));
      console.error('worker ended:', error.code, error.message);
      return { status: 'ok' };
    }
    case 'thrash': { // keeps the garbage collector at work without ever going over
      const held = [];
      for (let mb = 0; mb < event.mb; mb += 1) held.push(Buffer.alloc(MB, 1));
      for (;;) held[Math.floor(Math.random() * held.length)] = Buffer.alloc(MB, 2);
    }
    case 'near-limit': {
      const held = [];
      for (let mb = 0; mb < event.mb; mb += 1) held.push(Buffer.alloc(MB, 1));
      return { status: 'ok', held: held.length };
    }
    case 'crash':
      return process.exit(event.code || 1);
    case 'abort':
      return process.abort();
    case 'timeout':
      return new Promise(() => setInterval(() => {}, 1000));
    case 'error':
      throw new TypeError('asked for');
    default:
      return { status: 'ok', node: process.version };
  }
};
