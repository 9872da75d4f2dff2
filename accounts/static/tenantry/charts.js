// Draws each figure[data-chart] from its own table: stacked bars of hours or days in UTC, in the colours of its legend.
(() => {
  const DAY = 86400;
  const utc = (options) => new Intl.DateTimeFormat(undefined, { timeZone: "UTC", ...options });
  const day = utc({ day: "numeric", month: "short" });
  const hour = utc({ hour: "2-digit", minute: "2-digit" });
  const whole = { day: utc({ weekday: "short", day: "numeric", month: "short", year: "numeric" }), hour: utc({ dateStyle: "medium", timeStyle: "short" }) };
  const number = new Intl.NumberFormat();

  const read = (figure) => {
    const starts = [];
    const columns = [];
    for (const row of figure.querySelectorAll("tbody tr")) {
      starts.push(Number(row.querySelector("th").dataset.start));
      [...row.querySelectorAll("td")].slice(1).forEach((cell, index) => (columns[index] ??= []).push(Number(cell.textContent)));
    }
    return { starts, columns };
  };

  // Series 1 is the top of all layers, drawn first; each further one covers its lower part.
  const stacked = (columns) => {
    const sums = columns[0].map(() => 0);
    return columns.map((column) => column.map((count, index) => (sums[index] += count))).reverse();
  };

  const draw = (figure) => {
    const canvas = figure.querySelector(".chart-canvas");
    if (!canvas) return;
    const { starts, columns } = read(figure);
    const by = figure.dataset.chart;
    const step = by === "hour" ? 3600 : DAY;
    const color = (element) => getComputedStyle(element).color;
    const ink = color(figure.querySelector("figcaption"));
    const grid = getComputedStyle(canvas).borderBottomColor;
    const keys = [...figure.querySelectorAll(".chart-key")].map(color).reverse();
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const note = document.createElement("div");
    note.className = "chart-note";
    note.setAttribute("aria-hidden", "true");
    canvas.replaceChildren(note);

    const size = () => ({ width: canvas.clientWidth, height: canvas.clientHeight });
    const axis = { stroke: ink, font, ticks: { show: false } };
    const chart = new uPlot(
      {
        ...size(),
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
        scales: {
          x: { time: true, range: () => [starts[0] - step / 2, starts.at(-1) + step / 2] },
          y: { range: (_, low, high) => [0, Math.max(1, high * 1.05)] },
        },
        axes: [
          {
            ...axis,
            grid: { show: false },
            size: 28,
            space: 64,
            values: (_, splits) => splits.map((at) => (at % DAY ? hour.format(at * 1000) : day.format(at * 1000))),
            // One mark a bar at most, and on a bar.
            splits: (self) => {
              const most = Math.max(2, Math.floor(self.bbox.width / devicePixelRatio / 64));
              const every = Math.ceil(starts.length / most);
              return starts.filter((_, index) => index % every === 0);
            },
          },
          {
            ...axis,
            grid: { stroke: grid, width: 1 },
            size: 48,
            space: 32,
            incrs: [1, 2, 5].flatMap((unit) => Array.from({ length: 12 }, (_, power) => unit * 10 ** power)).sort((a, b) => a - b),
            values: (_, splits) => splits.map((value) => number.format(value)),
          },
        ],
        series: [{}, ...keys.map((fill) => ({ fill, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.75, 48] }) }))],
        hooks: {
          setCursor: [
            (self) => {
              const index = self.cursor.idx;
              const total = index == null ? 0 : columns.reduce((sum, column) => sum + column[index], 0);
              note.textContent = index == null ? "" : `${whole[by].format(starts[index] * 1000)}: ${number.format(total)}`;
            },
          ],
        },
      },
      [starts, ...stacked(columns)],
      canvas,
    );
    const observer = new ResizeObserver(() => chart.setSize(size()));
    observer.observe(canvas);
    return () => {
      observer.disconnect();
      chart.destroy();
    };
  };

  const charts = new Map();
  const drawAll = () => {
    for (const figure of document.querySelectorAll("figure[data-chart]")) {
      charts.get(figure)?.();
      charts.set(figure, draw(figure));
    }
  };
  // Colours are the theme's, which may change at any time.
  new MutationObserver(drawAll).observe(document.documentElement, { attributes: true, attributeFilter: ["data-bs-theme"] });
  drawAll();
})();
