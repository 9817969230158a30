// Price levels of one market, from channel level2: a snapshot, then what changes. Without a snapshot there is no book.

export class Book {
  #sides = { buy: new Map(), sell: new Map() };
  isWhole = false;

  clear() {
    this.#sides.buy.clear();
    this.#sides.sell.clear();
    this.isWhole = false;
  }

  snapshot({ bids, asks }) {
    this.clear();
    for (const [price, size] of bids) this.#sides.buy.set(price, Number(size));
    for (const [price, size] of asks) this.#sides.sell.set(price, Number(size));
    this.isWhole = true;
  }

  // False for a change without a snapshot before it.
  update({ changes }) {
    if (!this.isWhole) return false;
    for (const [side, price, size] of changes) {
      const levels = this.#sides[side];
      if (Number(size)) levels.set(price, Number(size));
      else levels.delete(price);
    }
    return true;
  }

  // Levels of a side, best first: {price, value, size, sum}. price is text, value its number, sum adds up from the best.
  levels(side) {
    const sign = side === "buy" ? -1 : 1;
    const found = [...this.#sides[side]].map(([price, size]) => ({ price, value: Number(price), size, sum: 0 }));
    found.sort((a, b) => sign * (a.value - b.value));
    let sum = 0;
    for (const level of found) level.sum = sum += level.size;
    return found;
  }
}

// True where a bid is at or above an offer, which no book in continuous trading is.
export const isCrossed = (bids, offers) => bids.length > 0 && offers.length > 0 && bids[0].value >= offers[0].value;
