"use strict";
// Draws the page's figures from their data blocks (scope_opt/report/figure.py), when they come into
// view, and makes tables and files of the same data.
(() => {
  const PREFIXES = [[1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""],
    [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"], [1e-12, "p"], [1e-15, "f"]];
  const PALETTE = 8;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 40rem)");
  const coarse = matchMedia("(pointer: coarse)");

  const digits = (value) => {
    const whole = Math.floor(Math.log10(Math.abs(value))) + 1;
    return value.toFixed(Math.min(12, Math.max(0, 4 - whole)));
  };

  const show = (value, unit) => {
    if (value === null) return "-";
    if (typeof value === "string" || unit === "") return String(value);
    if (unit === "share") return (100 * value).toFixed(1) + "%";
    if (value === 0) return unit === "factor" ? "0" : "0 " + unit;
    if (unit === "factor") return digits(value);
    const size = Math.abs(value) * (1 + 5e-5);
    const [factor, prefix] = PREFIXES.find(([least]) => size >= least) || PREFIXES.at(-1);
    return digits(value / factor) + " " + prefix + unit;
  };

  // Plotly reads names and hover text as markup.
  const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // A copy in which --name is that colour of the page.
  const coloured = (value) => {
    if (typeof value === "string") return value.startsWith("--") ? css(value) : value;
    if (Array.isArray(value)) return value.map(coloured);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, coloured(inner)]));
  };

  // The colour of a share; bars need it, plotly complains of numbers there.
  const heat = (share) => {
    const stops = ["--heat0", "--heat1", "--heat2"].map(css);
    const at = 2 * Math.min(1, Math.max(0, share));
    const [low, high] = [Math.floor(at), Math.ceil(at)].map((stop) => parseInt(stops[stop].slice(1), 16));
    const mixed = [16, 8, 0].map((bits) => {
      const [from, to] = [low, high].map((rgb) => (rgb >> bits) & 255);
      return Math.round(from + (to - from) * (at % 1));
    });
    return `rgb(${mixed})`;
  };

  const put = (target, path, value) => {
    const keys = path.split(".");
    const last = keys.pop();
    for (const key of keys) target = target[key] ??= {};
    target[last] = value;
  };

  const merge = (base, more) => {
    const merged = { ...base };
    for (const [key, value] of Object.entries(more)) {
      const both = [merged[key], value].every((v) => v && typeof v === "object" && !Array.isArray(v));
      merged[key] = both ? merge(merged[key], value) : value;
    }
    return merged;
  };

  // Rows of every trace; those of the trace before where it has none of its own.
  const rowsOf = (figure) => {
    let rows = [];
    return figure.traces.map((trace) => (rows = trace.rows || rows));
  };

  const column = (rows, attribute, index, unit) => rows.map((row) => {
    const value = row[index];
    if (attribute.endsWith("color") && unit === "share") return heat(value);
    if (attribute.endsWith("color")) return value === null ? css("--surface") : css("--c" + (value % PALETTE));
    if (attribute.endsWith("opacity")) return value % 2 ? 0.6 : 1;
    if (attribute === "text") return value === null ? "" : escape(show(value, unit));
    return typeof value === "string" ? escape(value) : value;
  });

  const traces = (figure) => {
    const all = rowsOf(figure);
    return figure.traces.map((trace, number) => {
      const rows = all[number];
      const made = { type: trace.type, name: escape(trace.name), ...coloured(trace.style) };
      for (const axis of ["x", "y"]) if (typeof made[axis] === "number") made[axis] = rows.map(() => made[axis]);
      for (const [attribute, index] of Object.entries(trace.at)) {
        put(made, attribute, column(rows, attribute, index, figure.fields[index][1]));
      }
      made.customdata = rows.map((row) => row.map((value, i) => escape(show(value, figure.fields[i][1]))));
      const lines = figure.fields.map(([name], i) => `${escape(name)}: %{customdata[${i}]}`);
      if (figure.series) lines.unshift(`<b>${made.name}</b>`);
      made.hovertemplate = lines.join("<br>") + "<extra></extra>";
      return made;
    });
  };

  const layout = (figure) => {
    const ink = css("--ink"), grid = css("--line");
    const axis = {
      automargin: true, gridcolor: grid, zerolinecolor: grid, linecolor: grid, tickcolor: grid,
      title: { standoff: 8 },
    };
    const base = {
      paper_bgcolor: css("--surface"), plot_bgcolor: css("--surface"),
      font: { family: "system-ui, sans-serif", size: narrow.matches ? 11 : 12, color: ink },
      margin: { l: 8, r: 12, t: 26, b: 8, pad: 2 },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)", traceorder: "normal" },
      hoverlabel: { bgcolor: css("--raised"), bordercolor: ink, font: { color: ink }, align: "left" },
      dragmode: coarse.matches ? false : "zoom",
      height: figure.height, xaxis: axis, yaxis: axis,
    };
    if (figure.layout.xaxis2) base.xaxis2 = axis;
    return merge(base, coloured(figure.layout));
  };

  const draw = (element) => Plotly.react(
    element.querySelector(".plot"), traces(element.figure), layout(element.figure),
    { displayModeBar: false, responsive: true, doubleClick: "reset" },
  );

  // Column names and rows of everything a figure shows, as its table and its CSV file have it.
  const table = (figure) => {
    const series = figure.series ? [[figure.series, ""]] : [];
    const rows = figure.traces.flatMap((trace) => (trace.rows || []).map(
      (row) => (figure.series ? [trace.name, ...row] : row)));
    return { fields: [...series, ...figure.fields], rows };
  };

  const heading = ([name, unit]) => (unit && unit !== "share" && unit !== "factor" ? `${name} (${unit})` : name);

  const csv = (figure) => {
    const { fields, rows } = table(figure);
    const quote = (value) => {
      // Text that a spreadsheet would run as a formula gets a quote.
      let text = value === null ? "" : String(value);
      if (typeof value === "string" && /^\s*[=+\-@]/.test(text)) text = "'" + text;
      return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
    };
    return [fields.map(heading), ...rows].map((row) => row.map(quote).join(",") + "\r\n").join("");
  };

  const fillTable = (figure, box) => {
    const { fields, rows } = table(figure);
    const made = box.appendChild(document.createElement("table"));
    const head = made.createTHead().insertRow();
    const numeric = fields.map((_, i) => rows.every((row) => typeof row[i] !== "string"));
    fields.forEach(([name], i) => {
      const cell = head.appendChild(document.createElement("th"));
      cell.scope = "col";
      cell.textContent = name;
      if (numeric[i]) cell.className = "number";
    });
    const body = made.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      row.forEach((value, i) => {
        const cell = line.insertCell();
        cell.textContent = show(value, fields[i][1]);
        if (numeric[i]) cell.className = "number";
      });
    }
  };

  const save = (url, name) => {
    const link = document.createElement("a");
    link.href = url;
    link.download = name;
    link.click();
    if (url.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(url), 10000);
  };

  const file = (element, suffix) => `${document.body.dataset.name}-${element.figure.key}.${suffix}`;

  const actions = {
    csv: (element) => {
      const blob = new Blob(["\ufeff" + csv(element.figure)], { type: "text/csv;charset=utf-8" });
      save(URL.createObjectURL(blob), file(element, "csv"));
    },
    reset: async (element) => {
      await draw(element);
      const plot = element.querySelector(".plot");
      const axes = Object.keys(plot.layout).filter((key) => /^[xy]axis\d*$/.test(key));
      await Plotly.relayout(plot, Object.fromEntries(axes.map((key) => {
        const wanted = element.figure.layout[key] || {};
        if (wanted.range) return [key + ".range", [...wanted.range]];
        return [key + ".autorange", wanted.autorange || true];
      })));
    },
    svg: (element) => picture(element, "svg"),
    png: (element) => picture(element, "png"),
  };

  const picture = async (element, format) => {
    await draw(element);
    const plot = element.querySelector(".plot");
    const size = { width: Math.max(900, plot.clientWidth), height: element.figure.height };
    const url = await Plotly.toImage(plot, { format, ...size, scale: format === "png" ? 2 : 1 });
    save(url, file(element, format));
  };

  const figures = [...document.querySelectorAll("figure[data-figure]")];
  const visible = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting && !target.drawn) {
        target.drawn = true;
        visible.unobserve(target);
        draw(target);
      }
    }
  }, { rootMargin: "400px" });
  for (const element of figures) {
    element.figure = JSON.parse(element.querySelector("script").textContent);
    element.querySelector(".plot").style.minHeight = element.figure.height + "px";
    element.addEventListener("click", (event) => {
      const action = event.target.dataset.action;
      if (action) actions[action](element);
    });
    const data = element.querySelector("details");
    data.addEventListener("toggle", () => {
      const box = data.querySelector(".table");
      if (data.open && !box.childElementCount) fillTable(element.figure, box);
    });
    visible.observe(element);
  }
  const redraw = () => figures.filter((element) => element.drawn).forEach(draw);
  dark.addEventListener("change", redraw);
  narrow.addEventListener("change", redraw);
  addEventListener("beforeprint", () => figures.forEach((element) => { element.drawn = true; draw(element); }));
})();
