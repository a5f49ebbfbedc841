// Draws the curves with uPlot. Names of runs and metrics only ever become textContent.
(() => {
    "use strict";
    const {runs, metrics, first} = JSON.parse(document.getElementById("data").textContent);
    const section = document.getElementById("curves");
    const chart = document.getElementById("chart");
    const tip = document.getElementById("tip");
    const legend = document.getElementById("legend");
    const about = document.getElementById("about-curves");
    const choice = document.getElementById("metric");
    const logScale = document.getElementById("log-scale");
    const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3]];
    const MOST_IN_TIP = 24;
    const NEAR_PIXELS = 24;

    if (metrics.length === 0) {
        about.textContent = "No run has recorded curves.";
        return;
    }

    const make = (tag, text, properties) => Object.assign(document.createElement(tag), {textContent: text}, properties);
    const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const short = (value, digits = 5) => (typeof value === "number" ? String(Number(value.toPrecision(digits))) : value);

    const pressed = runs.map(() => true); // by the legend
    let listed = new Set(runs.keys()); // by the table's filter
    let metric, lines, plot, near = null;

    // -- data: one place for every x of any run; undefined where a run has no point, null where it can't be drawn
    const places = xs => (Array.isArray(xs[0]) ? xs[0] : Array.from({length: xs[1]}, (_, i) => xs[0] + i));

    function join() {
        lines = metric.runs.map(([run, xs, ys]) => ({run, points: new Map(places(xs).map((x, i) => [x, ys[i]]))}));
        const x = [...new Set(lines.flatMap(line => [...line.points.keys()]))].sort((a, b) => a - b);
        const canDraw = y => typeof y === "number" && (!logScale.checked || y > 0);
        return [x, ...lines.map(({points}) => x.map(at => (points.has(at) ? (canDraw(points.get(at)) ? points.get(at) : null) : undefined)))];
    }

    // -- the plot
    const isDrawn = line => pressed[line.run] && listed.has(line.run);

    function series(line) {
        const [, hue, dash] = runs[line.run];
        const isPoint = line.points.size === 1;
        return {
            stroke: () => colour(`--c${hue}`), width: 1.75, dash: DASHES[dash], show: isDrawn(line),
            points: {show: isPoint, size: 7}, label: "",
        };
    }

    function axis(extra) {
        const grid = {stroke: () => colour("--line"), width: 1};
        return {stroke: () => colour("--quiet"), font: "12px system-ui, sans-serif", grid, ticks: {...grid, size: 5}, ...extra};
    }

    const labels = (_, splits) => splits.map(value => (value == null ? "" : short(value, 6)));
    const widest = (_, values) => 14 + 7 * Math.max(3, ...(values ?? []).map(value => (value ?? "").length));

    function options() {
        return {
            ...size(), legend: {show: false}, focus: {alpha: 0.2}, padding: [10, 14, 0, 0],
            scales: {x: {time: false}, y: {distr: logScale.checked ? 3 : 1}},
            cursor: {
                y: false, drag: {x: true, y: false}, focus: {prox: NEAR_PIXELS}, points: {size: 8, width: 0},
                dataIdx: (_, line, at) => nearest(line, at),
            },
            series: [{}, ...lines.map(series)],
            axes: [axis({values: labels, incrs: [1, 2, 5].flatMap(n => [...Array(9).keys()].map(e => n * 10 ** e)).sort((a, b) => a - b), label: metric.x, labelSize: 20, labelFont: "12px system-ui, sans-serif"}), axis({values: labels, size: widest})],
            hooks: {setCursor: [tell], setSeries: [(_, line, what) => what.focus !== undefined && focus(line)]},
        };
    }

    function size() {
        const width = chart.clientWidth;
        return {width, height: Math.round(Math.min(420, Math.max(260, width * 0.55)))};
    }

    function draw() {
        plot?.destroy();
        tip.hidden = true;
        metric = metrics[Number(choice.value)];
        const data = join();
        plot = new uPlot(options(), data, chart);
        chart.setAttribute("aria-label", `Curves of ${metric.name} over ${metric.x}. Arrow keys read the values.`);
        list();
        about.textContent = notes(data).join(" ");
    }

    const list = () => legend.querySelectorAll("[data-run]").forEach(one => (one.hidden = !has(Number(one.dataset.run))));
    const has = run => listed.has(run) && lines.some(line => line.run === run);

    function notes([, ...ys]) {
        const said = ["Rounded to 6 digits; history.jsonl has all of them."];
        if (metric.thinned) said.push(`Thinned out: of up to ${metric.thinned.toLocaleString("en")} points a run, the lowest and highest of each stretch are drawn.`);
        const odd = lines.filter(line => [...line.points.values()].some(y => typeof y === "string"));
        const which = odd.map(line => {
            const [x, y] = [...line.points].find(([, value]) => typeof value === "string");
            return `${runs[line.run][0]} (${y} at ${metric.x} ${x})`;
        });
        if (which.length) said.push(`Not finite, so not drawn: ${which.join(", ")}.`);
        const below = ys.flat().filter(y => y === null).length - lines.flatMap(line => [...line.points.values()]).filter(y => typeof y === "string").length;
        if (below) said.push(`A log scale has no place for ${below} values that are not above 0.`);
        return said;
    }

    // -- reading values
    function nearest(line, at) {
        const ys = plot ? plot.data[line] : [];
        if (line === 0 || at == null || ys[at] !== undefined || metric.x === "epoch") return at;
        for (let far = 1; far < 50; far++) {
            for (const i of [at - far, at + far]) if (ys[i] !== undefined) return i;
        }
        return at;
    }

    function values() {
        const at = plot.cursor.idx;
        const found = lines.map((line, i) => {
            const x = plot.data[0][plot.cursor.idxs[i + 1] ?? at];
            return {line: i, run: line.run, x, y: isDrawn(line) ? line.points.get(x) : undefined};
        });
        return found.filter(one => one.y !== undefined);
    }

    function order(found) {
        const high = one => (typeof one.y === "number" ? one.y : -Infinity);
        const sorted = [...found].sort((a, b) => high(b) - high(a));
        if (sorted.length <= MOST_IN_TIP) return sorted;
        const top = plot.posToVal(plot.cursor.top, "y");
        const close = [...sorted].sort((a, b) => Math.abs(high(a) - top) - Math.abs(high(b) - top));
        const kept = new Set(close.slice(0, MOST_IN_TIP));
        return sorted.filter(one => kept.has(one));
    }

    function tell() {
        const at = plot?.cursor.idx;
        const found = at == null || plot.cursor.left < 0 ? [] : values();
        tip.hidden = found.length === 0;
        if (tip.hidden) return;
        const x = plot.data[0][at];
        const shown = order(found);
        const table = make("table", "");
        table.append(make("caption", `${metric.x} ${x.toLocaleString("en")}`), ...shown.map(one => line(one, x)));
        tip.replaceChildren(table);
        if (shown.length < found.length) tip.append(make("div", `… and ${found.length - shown.length} more runs`, {className: "quiet"}));
        place();
    }

    function line(one, x) {
        const row = make("tr", "");
        row.dataset.line = one.line;
        row.classList.toggle("near", near === one.line);
        const name = make("th", "", {scope: "row"});
        name.append(swatch(one.run), runs[one.run][0]);
        row.append(name, make("td", short(one.y) + (one.x === x ? "" : ` at ${one.x}`), {className: "number"}));
        return row;
    }

    function place() {
        const {left, top} = plot.cursor;
        const at = plot.over.offsetLeft + left, isRight = at > chart.clientWidth / 2;
        const x = isRight ? at - tip.offsetWidth - 14 : at + 14;
        const y = Math.min(Math.max(0, top - tip.offsetHeight / 2), Math.max(0, chart.clientHeight - tip.offsetHeight));
        tip.style.transform = `translate(${Math.max(0, Math.min(x, chart.clientWidth - tip.offsetWidth))}px, ${y}px)`;
    }

    function focus(series) {
        near = series == null ? null : series - 1;
        const run = near === null ? null : lines[near].run;
        tip.querySelectorAll("tr").forEach(row => row.classList.toggle("near", Number(row.dataset.line) === near));
        legend.querySelectorAll("[data-run]").forEach(button => button.classList.toggle("near", Number(button.dataset.run) === run));
    }

    // -- by keyboard
    function move(step) {
        const x = plot.data[0], now = plot.cursor.left < 0 ? null : plot.cursor.idx;
        const at = now == null ? (step > 0 ? 0 : x.length - 1) : Math.max(0, Math.min(x.length - 1, now + step));
        plot.setCursor({left: plot.valToPos(x[at], "x"), top: plot.over.clientHeight / 2});
        const said = values().map(one => `${runs[one.run][0]} ${short(one.y)}`).join(", ");
        document.getElementById("spoken").textContent = `${metric.x} ${x[at]}: ${said}`;
    }

    chart.addEventListener("keydown", event => {
        const steps = {ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity};
        if (event.key in steps) {
            event.preventDefault();
            move(steps[event.key]);
        } else if (event.key === "Escape") hide();
    });
    const hide = () => plot.setCursor({left: -10, top: -10});
    chart.addEventListener("blur", hide);

    // -- the legend
    function swatch(run) {
        return document.querySelector(`#runs tr[data-run="${run}"] .swatch`).cloneNode(true);
    }

    function press(run, isOn) {
        pressed[run] = isOn;
        legend.querySelector(`[data-run="${run}"]`).setAttribute("aria-pressed", isOn);
    }

    function redraw() {
        plot.batch(() => lines.forEach((line, i) => plot.setSeries(i + 1, {show: isDrawn(line)})));
    }

    function button(run) {
        const one = make("button", "", {type: "button", title: "Click: on or off. Double-click: this one alone."});
        const point = isNear => {
            const at = lines.findIndex(line => line.run === run);
            if (at >= 0 && isDrawn(lines[at])) plot.setSeries(isNear ? at + 1 : null, {focus: true});
        };
        one.dataset.run = run;
        one.setAttribute("aria-pressed", "true");
        one.append(swatch(run), make("span", runs[run][0]));
        one.addEventListener("click", () => (press(run, !pressed[run]), redraw()));
        one.addEventListener("dblclick", () => (runs.forEach((_, other) => press(other, other === run)), redraw()));
        for (const [event, isNear] of [["mouseenter", true], ["focus", true], ["mouseleave", false], ["blur", false]]) {
            one.addEventListener(event, () => point(isNear));
        }
        return one;
    }

    function all(text, isOn) {
        const one = make("button", text, {type: "button", className: "small"});
        one.addEventListener("click", () => (runs.forEach((_, run) => press(run, isOn)), redraw()));
        return one;
    }

    const buttons = make("div", "", {className: "buttons"});
    buttons.append(all("All", true), all("None", false));
    legend.append(buttons, ...runs.map((_, run) => button(run)));

    // -- start
    choice.append(...metrics.map((one, i) => make("option", one.name, {value: i, selected: i === first})));
    section.querySelectorAll(".tools, .plot").forEach(part => (part.hidden = false));
    choice.addEventListener("change", draw);
    logScale.addEventListener("change", draw);
    document.addEventListener("shown", event => {
        listed = event.detail;
        list();
        redraw();
    });
    for (const query of ["(prefers-color-scheme: dark)", "print"]) {
        matchMedia(query).addEventListener("change", () => plot.redraw(false));
    }
    draw();
    new ResizeObserver(() => plot.width !== chart.clientWidth && plot.setSize(size())).observe(chart);
})();
