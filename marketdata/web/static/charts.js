// Candles by the vendored library; depth as two stairs of SVG, by price and not by place, so that a gap is a gap.

import { CandlestickSeries, HistogramSeries, createChart } from "./vendor/lightweight-charts.mjs";
import { grouped, made, priceText, shortSize } from "./words.js";

// A colour of the page as it is in the theme of now.
const probe = document.body.appendChild(made("i", { hidden: true }));
function colour(name) {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

export class Candles {
  #chart;
  #bars;
  #volumes;
  #rows = [];
  #isSettled = false; // the newest bars were shown; then the range is the user's

  constructor(container) {
    this.#chart = createChart(container, {
      autoSize: true,
      layout: { attributionLogo: false },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.08, bottom: 0.24 } },
      timeScale: { borderVisible: false, timeVisible: true, secondsVisible: false, rightOffset: 2, minBarSpacing: 2 },
    });
    this.#bars = this.#chart.addSeries(CandlestickSeries, { priceLineVisible: true });
    this.#volumes = this.#chart.addSeries(HistogramSeries, {
      priceScaleId: "volume",
      priceFormat: { type: "volume" },
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.#chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.#chart.timeScale().subscribeSizeChange(() => this.#settle());
    this.paint();
  }

  // Take the colours of the page. A bar that rose is hollow, one that fell is full.
  paint() {
    this.#chart.applyOptions({
      layout: {
        background: { color: colour("surface") },
        textColor: colour("quiet"),
        fontFamily: getComputedStyle(document.body).fontFamily,
        fontSize: 11,
        attributionLogo: false,
      },
      grid: { vertLines: { color: colour("grid") }, horzLines: { color: colour("grid") } },
      crosshair: {
        vertLine: { color: colour("quiet"), labelBackgroundColor: colour("solid") },
        horzLine: { color: colour("quiet"), labelBackgroundColor: colour("solid") },
      },
    });
    this.#bars.applyOptions({
      upColor: colour("surface"),
      wickUpColor: colour("buy"),
      borderUpColor: colour("buy"),
      downColor: colour("sell"),
      wickDownColor: colour("sell"),
      borderDownColor: colour("sell"),
    });
    this.#volumes.applyOptions({ color: colour("volume") });
  }

  // rows: as the exchange gives them, the newest first: begin, low, high, open, close, volume.
  show(rows, decimals, isNew) {
    this.#rows = rows;
    this.#bars.applyOptions({ priceFormat: { type: "price", precision: decimals, minMove: 10 ** -decimals } });
    const inOrder = [...rows].reverse();
    this.#bars.setData(inOrder.map(([time, low, high, open, close]) => ({ time, low, high, open, close })));
    this.#volumes.setData(inOrder.map(([time, , , , , value]) => ({ time, value })));
    if (isNew) this.#isSettled = false;
    this.#settle();
  }

  // Show the newest bars, once there are some and the chart has a width: before that the library keeps no range.
  #settle() {
    const count = this.#rows.length;
    if (this.#isSettled || !count || !this.#chart.timeScale().width()) return;
    const shown = Math.min(Math.max(count, 30), 90);
    this.#chart.timeScale().setVisibleLogicalRange({ from: count - shown, to: count + 1 });
    this.#isSettled = true;
  }

  // The last bar in words, for those who do not see the picture.
  said(decimals) {
    const [last] = this.#rows;
    if (!last) return "";
    const [low, high, open, close] = last.slice(1, 5).map((each) => priceText(each.toFixed(decimals), decimals));
    return `The last candle: open ${open}, high ${high}, low ${low}, close ${close}, volume ${grouped(last[5])}.`;
  }
}

const NS = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [1000, 300];
// Levels of a side that are drawn, and ticks of a side at least.
const LEVELS = 40;
const TICKS = 10;

export class Depth {
  #svg = document.createElementNS(NS, "svg");
  #paths = {};
  #labels = {};

  constructor(container) {
    this.#svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.#svg.setAttribute("preserveAspectRatio", "none");
    for (const name of ["grid", "buy", "sell", "middle"]) {
      const path = (this.#paths[name] = document.createElementNS(NS, "path"));
      path.setAttribute("class", name);
      path.setAttribute("vector-effect", "non-scaling-stroke");
      this.#svg.append(path);
    }
    const axis = document.createElement("div");
    axis.className = "axis";
    for (const name of ["low", "middle", "high"]) axis.append((this.#labels[name] = document.createElement("span")));
    container.append(this.#svg, axis);
  }

  // bids, offers: levels, best first. Gives a sentence and the largest sum.
  show(bids, offers, tick, decimals) {
    const [left, right] = [bids.slice(0, LEVELS), offers.slice(0, LEVELS)];
    const best = [bids[0]?.value, offers[0]?.value].filter((each) => each !== undefined);
    if (!best.length) {
      for (const path of Object.values(this.#paths)) path.setAttribute("d", "");
      for (const label of Object.values(this.#labels)) label.textContent = "";
      return { sentence: "The book is empty.", most: 0 };
    }
    const middle = (Math.min(...best) + Math.max(...best)) / 2;
    const reach = Math.max(
      TICKS * tick,
      ...left.map((each) => Math.abs(middle - each.value)),
      ...right.map((each) => Math.abs(each.value - middle)),
    );
    const most = Math.max(left.at(-1)?.sum ?? 0, right.at(-1)?.sum ?? 0, 1);
    const x = (value) => (WIDTH / 2) * (1 + (value - middle) / reach);
    const y = (sum) => HEIGHT * (1 - (0.94 * sum) / most);
    const stair = (levels, end) => {
      if (!levels.length) return "";
      let path = `M${x(levels[0].value)} ${HEIGHT}`;
      for (const [n, level] of levels.entries()) {
        if (n) path += `H${x(level.value)}`;
        path += `V${y(level.sum)}`;
      }
      return `${path}H${end}V${HEIGHT}Z`;
    };
    this.#paths.buy.setAttribute("d", stair(left, 0));
    this.#paths.sell.setAttribute("d", stair(right, WIDTH));
    this.#paths.middle.setAttribute("d", `M${WIDTH / 2} 0V${HEIGHT}`);
    this.#paths.grid.setAttribute("d", [0.25, 0.5, 0.75].map((part) => `M0 ${HEIGHT * part}H${WIDTH}`).join(""));
    const label = (value) => priceText(Math.max(value, 0).toFixed(decimals), decimals);
    this.#labels.low.textContent = label(middle - reach);
    this.#labels.middle.textContent = label(middle);
    this.#labels.high.textContent = label(middle + reach);
    const [sum, other] = [left.at(-1)?.sum ?? 0, right.at(-1)?.sum ?? 0];
    const sentence = `◂ ${shortSize(sum)} to buy · ${shortSize(other)} to sell ▸`;
    return { sentence, most };
  }
}
