// A book kept by OrderbookSync of the npm package coinbase-pro, for tests/test_web_judges.py: a line of JSON for each line
// on standard input, with the sizes by side and price. A lost connection is followed by a new book, as its users do it.
//
//   node orderbook_judge.js DIRECTORY PRODUCT PORT    DIRECTORY holds node_modules
'use strict';

const readline = require('readline');

const [directory, product, port] = process.argv.slice(2);
const { OrderbookSync } = require(require.resolve('coinbase-pro', { paths: [directory] }));

const AGAIN_MS = 100;
let sync = null;
let isSynced = false;
let began = 0;
let synced = 0;

function begin() {
  began += 1;
  isSynced = false;
  const own = new OrderbookSync([product], `http://127.0.0.1:${port}`, `ws://127.0.0.1:${port}`);
  sync = own;
  const again = () => {
    if (sync !== own) return;
    sync = null;
    isSynced = false;
    own.on('error', () => {});
    if (own.socket) own.socket.terminate();
    setTimeout(begin, AGAIN_MS);
  };
  own.on('close', again);
  own.on('error', again);
  own.on('sync', () => {
    // The package does not empty a book before it loads it again: after a gap its users begin anew.
    if (isSynced) again();
  });
  own.on('synced', () => {
    if (sync !== own) return;
    isSynced = true;
    synced += 1;
  });
}

function levels() {
  const found = {};
  if (!isSynced) return null;
  const book = sync.books[product];
  for (const [side, tree] of [['buy', book._bids], ['sell', book._asks]]) {
    tree.each((node) => {
      const size = node.orders.reduce((sum, order) => sum + Number(order.size), 0);
      found[`${side} ${Number(node.price).toFixed(2)}`] = size;
    });
  }
  return found;
}

const asked = readline.createInterface({ input: process.stdin });
asked.on('line', () => {
  const sequence = isSynced ? sync._sequences[product] : 0;
  process.stdout.write(JSON.stringify({ sequence, levels: levels(), began, synced }) + '\n');
});
asked.on('close', () => process.exit());
begin();
