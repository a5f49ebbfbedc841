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
    const NEAR_PIXELS = 24;
    const MOST_NAMED = 6;
    const FONT = "12px system-ui, sans-serif";
    const WHOLE = [...Array(9).keys()].flatMap(e => [1, 2, 5].map(n => n * 10 ** e)); // no half epochs on the axis

    if (metrics.length === 0) {
        about.textContent = "No run has recorded curves.";
        return;
    }

    const make = (tag, text, properties) => Object.assign(document.createElement(tag), {textContent: text}, properties);
    const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const plain = value => String(Number(value.toPrecision(6)));

    // 5 digits, the last ones 0 or not, so that columns of numbers can be compared
    function short(value) {
        if (typeof value !== "number" || Number.isInteger(value)) return String(value);
        return Math.abs(value) >= 1e-4 && Math.abs(value) < 1e6 ? value.toPrecision(5) : value.toExponential(3);
    }

    const pressed = runs.map(() => true); // by the legend
    let listed = new Set(runs.keys()); // by the table's filter
    let metric, lines, plot, near = null;

    // -- data: one place for every x of any run; undefined where a run has no point, null where it can't be drawn
    const places = xs => (Array.isArray(xs[0]) ? xs[0] : Array.from({length: xs[1]}, (_, i) => xs[0] + i));

    function join() {
        lines = metric.runs.map(([run, xs, ys]) => ({run, points: new Map(places(xs).map((x, i) => [x, ys[i]]))}));
        const x = [...new Set(lines.flatMap(line => [...line.points.keys()]))].sort((a, b) => a - b);
        const canDraw = y => typeof y === "number" && (!logScale.checked || y > 0);
        const drawn = y => (y === undefined ? undefined : canDraw(y) ? y : null);
        return [x, ...lines.map(({points}) => x.map(at => drawn(points.get(at))))];
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
        return {stroke: () => colour("--quiet"), font: FONT, grid, ticks: {...grid, size: 5}, ...extra};
    }

    const labels = (_, splits) => splits.map(value => (value == null ? "" : plain(value)));
    const widest = (_, values) => 14 + 7 * Math.max(3, ...(values ?? []).map(value => (value ?? "").length));

    function options() {
        return {
            ...size(), legend: {show: false}, focus: {alpha: 0.2}, padding: [10, 14, 0, 0],
            scales: {x: {time: false}, y: {distr: logScale.checked ? 3 : 1}},
            cursor: {
                y: false, drag: {x: true, y: false}, focus: {prox: NEAR_PIXELS}, points: {size: 8, width: 0},
                move: (u, left, top) => [left < 0 ? left : u.valToPos(u.data[0][u.posToIdx(left)], "x"), top],
                dataIdx: (_, line, at) => nearest(line, at),
            },
            series: [{}, ...lines.map(series)],
            axes: [axis({values: labels, incrs: WHOLE, label: metric.x, size: 28, labelSize: 18, labelGap: 0, labelFont: FONT}), axis({values: labels, size: widest})],
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
        focus(null);
        about.textContent = notes().join(" ");
    }

    const list = () => items.forEach((one, run) => (one.button.hidden = !has(run)));
    const has = run => listed.has(run) && lines.some(line => line.run === run);

    function notes() {
        const all = lines.flatMap(line => [...line.points.values()]);
        const said = ["Rounded to 6 digits; history.jsonl has all of them."];
        if (metric.thinned) said.push(`Thinned out: of up to ${metric.thinned.toLocaleString("en")} points a run, the lowest and highest of each stretch are drawn.`);
        const odd = lines.filter(line => [...line.points.values()].some(y => typeof y === "string"));
        const which = odd.slice(0, MOST_NAMED).map(line => {
            const [x, y] = [...line.points].find(([, value]) => typeof value === "string");
            return `${runs[line.run][0]} (${y} at ${metric.x} ${x})`;
        });
        const more = odd.length > MOST_NAMED ? ` and ${odd.length - MOST_NAMED} more runs` : "";
        if (which.length) said.push(`Not finite, so not drawn: ${which.join(", ")}${more}.`);
        const below = all.filter(y => typeof y === "number" && y <= 0).length;
        if (below && logScale.checked) said.push(`A log scale has no place for ${below} values that are not above 0.`);
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

    const valueAt = (line, place) => line.points.get(plot.data[0][place]);

    function tell() {
        const at = plot?.cursor.left >= 0 ? plot.cursor.idx : null;
        const places = at == null ? null : lines.map((_, i) => nearest(i + 1, at));
        lines.forEach((line, i) => {
            const value = places === null ? [...line.points.values()].pop() : valueAt(line, places[i]);
            items[line.run].value.textContent = value === undefined ? "" : short(value);
        });
        const how = places?.some((place, i) => place !== at && has(lines[i].run)) ? "near" : "at";
        where.textContent = at == null ? "Last values" : `Values ${how} ${metric.x} ${plot.data[0][at].toLocaleString("en")}`;
        showTip(at, places);
    }

    function showTip(at, places) {
        tip.hidden = at == null;
        if (tip.hidden) return;
        tip.replaceChildren(make("div", `${metric.x} ${plot.data[0][at].toLocaleString("en")}`, {className: "quiet"}));
        if (near !== null && valueAt(lines[near], places[near]) !== undefined) {
            const line = make("div", "");
            const value = make("strong", ` ${short(valueAt(lines[near], places[near]))}`);
            line.append(swatch(lines[near].run), runs[lines[near].run][0], value);
            tip.append(line);
        }
        const {left, top} = plot.cursor;
        const isRight = left > plot.over.clientWidth / 2;
        const x = plot.over.offsetLeft + left + (isRight ? -tip.offsetWidth - 12 : 12);
        const y = Math.min(Math.max(0, top - 20), Math.max(0, chart.clientHeight - tip.offsetHeight));
        tip.style.transform = `translate(${Math.max(0, Math.min(x, chart.clientWidth - tip.offsetWidth))}px, ${y}px)`;
    }

    function focus(series) {
        near = series == null ? null : series - 1;
        const run = near === null ? null : lines[near].run;
        items.forEach((item, other) => item.button.classList.toggle("near", other === run));
        tell();
    }

    // -- by keyboard
    function move(step) {
        const x = plot.data[0], now = plot.cursor.left < 0 ? null : plot.cursor.idx;
        const at = now == null ? (step > 0 ? 0 : x.length - 1) : Math.max(0, Math.min(x.length - 1, now + step));
        plot.setCursor({left: plot.valToPos(x[at], "x"), top: plot.over.clientHeight / 2});
        tell(); // uPlot calls its hooks later
        const told = lines.filter(line => isDrawn(line) && line.points.has(x[at]));
        const said = told.map(line => `${runs[line.run][0]} ${short(line.points.get(x[at]))}`).join(", ");
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
        items[run].button.setAttribute("aria-pressed", isOn);
    }

    function redraw() {
        plot.batch(() => lines.forEach((line, i) => plot.setSeries(i + 1, {show: isDrawn(line)})));
    }

    function item(run) {
        const button = make("button", "", {type: "button", title: "Click: on or off. Double-click: this one alone."});
        const value = make("span", "", {className: "value"});
        const point = isNear => {
            const at = lines.findIndex(line => line.run === run);
            if (at >= 0 && isDrawn(lines[at])) plot.setSeries(isNear ? at + 1 : null, {focus: true});
        };
        button.setAttribute("aria-pressed", "true");
        button.append(swatch(run), make("span", runs[run][0], {className: "name"}), value);
        button.addEventListener("click", () => (press(run, !pressed[run]), redraw()));
        button.addEventListener("dblclick", () => (runs.forEach((_, other) => press(other, other === run)), redraw()));
        for (const [event, isNear] of [["mouseenter", true], ["focus", true], ["mouseleave", false], ["blur", false]]) {
            button.addEventListener(event, () => point(isNear));
        }
        return {button, value};
    }

    function all(text, isOn) {
        const one = make("button", text, {type: "button", className: "small"});
        one.addEventListener("click", () => (runs.forEach((_, run) => press(run, isOn)), redraw()));
        return one;
    }

    const items = runs.map((_, run) => item(run));
    const where = make("span", "", {className: "quiet"});
    const buttons = make("div", "", {className: "buttons"});
    buttons.append(all("All", true), all("None", false), where);
    const grid = make("div", "", {className: "items"});
    grid.append(...items.map(one => one.button));
    legend.append(buttons, grid);

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
