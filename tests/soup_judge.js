// A client made of the npm package soupbintcp, for tests/test_node_judges.py: it says each thing that it receives as a
// line of JSON, and does what a line of JSON on its standard input asks for.
//
//   node soup_judge.js DIRECTORY PORT    DIRECTORY holds node_modules
'use strict';

const readline = require('readline');

const [directory, port] = process.argv.slice(2);
const { Client } = require(require.resolve('soupbintcp', { paths: [directory] }));

const say = (event, fields) => process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');
const client = new Client({ host: '127.0.0.1', port: Number(port) });

client.on('connect', () => say('connect'));
client.on('accept', (payload) => say('accept', payload));
client.on('reject', (payload) => say('reject', payload));
client.on('message', (payload) => say('message', { hex: payload.toString('hex') }));
client.on('ending', () => say('ending'));
client.on('error', (error) => say('error', { why: error.message }));
client.on('end', () => say('end'));

const asked = readline.createInterface({ input: process.stdin });
asked.on('line', (line) => {
  const request = JSON.parse(line);
  if (request.login) client.login(request.login);
  if (request.send) client.send(Buffer.from(request.send, 'hex'));
  if (request.logout) client.logout();
});
asked.on('close', () => process.exit());
