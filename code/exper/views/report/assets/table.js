// Sorts, filters and chooses the columns of the table that is in the page already. Text only ever becomes textContent.
(() => {
    "use strict";
    const section = document.getElementById("runs");
    const table = section.querySelector("table");
    const heads = [...table.tHead.rows[0].cells];
    const rows = [...table.tBodies[0].rows]; // in the order of the list
    const filter = document.getElementById("filter");

    const make = (tag, text, properties) => Object.assign(document.createElement(tag), {textContent: text}, properties);

    // -- sorting: once ascending, again descending, again the order of the list; blank cells stay at the end
    const kindOf = cell => (cell.dataset.number !== undefined ? 0 : cell.textContent !== "" ? 1 : 2);
    const words = new Intl.Collator("en", {numeric: true});

    function compare(one, other) {
        const kind = kindOf(one);
        return kind === 0
            ? Number(one.dataset.number) - Number(other.dataset.number)
            : words.compare(one.textContent, other.textContent);
    }

    function sort(column) {
        const head = heads[column];
        const next = {ascending: "descending", descending: null}[head.getAttribute("aria-sort")];
        const order = next === undefined ? "ascending" : next;
        heads.forEach(other => other.removeAttribute("aria-sort"));
        const sorted = [...rows];
        if (order !== null) {
            head.setAttribute("aria-sort", order);
            const sign = order === "ascending" ? 1 : -1;
            sorted.sort((a, b) => {
                const one = a.cells[column], other = b.cells[column];
                return kindOf(one) - kindOf(other) || sign * compare(one, other);
            });
        }
        table.tBodies[0].append(...sorted);
    }

    heads.forEach((head, column) => {
        const button = make("button", "", {type: "button"});
        button.append(...head.firstElementChild.childNodes);
        button.addEventListener("click", () => sort(column));
        head.replaceChildren(button);
        head.classList.toggle("number", rows.some(row => row.cells[column].dataset.number !== undefined));
    });

    // -- filtering: every word must be in a cell that is shown
    function isWanted(row, wanted) {
        const text = [...row.cells].filter(cell => !cell.hidden).map(cell => cell.textContent).join("\n").toLowerCase();
        return wanted.every(word => text.includes(word));
    }

    function show() {
        const wanted = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
        rows.forEach(row => (row.hidden = !isWanted(row, wanted)));
        const shown = rows.filter(row => !row.hidden).map(row => Number(row.dataset.run));
        document.getElementById("shown").textContent =
            shown.length === rows.length ? "" : `${shown.length} of ${rows.length} runs, here and in the curves`;
        document.dispatchEvent(new CustomEvent("shown", {detail: new Set(shown)}));
    }
    filter.addEventListener("input", show);

    // -- columns
    const boxes = heads.map(() => null);

    function showColumn(column, isShown) {
        [heads[column], ...rows.map(row => row.cells[column])].forEach(cell => (cell.hidden = !isShown));
        boxes[column].checked = isShown;
    }

    function differs(column) {
        return new Set(rows.map(row => row.cells[column].dataset.full ?? row.cells[column].textContent)).size > 1;
    }

    function choices() {
        const groups = new Map();
        heads.forEach((head, column) => {
            const [, kind, second] = /^(hparam|metric)\/(?:(best|last|test)\/)?/.exec(head.dataset.column) ?? [];
            const group = {hparam: "Settings", metric: second}[kind] ?? "Run";
            if (column > 0) groups.set(group, [...(groups.get(group) ?? []), column]);
        });
        const sets = [...groups].map(([group, columns]) => {
            const set = make("fieldset", "");
            set.append(make("legend", group[0].toUpperCase() + group.slice(1)), ...columns.map(choice));
            return set;
        });
        const buttons = make("div", "", {className: "buttons"});
        buttons.append(all("What differs", differs), all("All", () => true));
        return [buttons, ...sets];
    }

    function choice(column) {
        const label = make("label", "");
        boxes[column] = make("input", "", {type: "checkbox", checked: !heads[column].hidden});
        boxes[column].addEventListener("change", () => (showColumn(column, boxes[column].checked), show()));
        label.append(boxes[column], heads[column].querySelector("button").lastChild.textContent);
        return label;
    }

    function all(text, isShown) {
        const button = make("button", text, {type: "button", className: "small"});
        button.addEventListener("click", () => {
            heads.forEach((_, column) => column > 0 && showColumn(column, isShown(column)));
            show();
        });
        return button;
    }

    const menu = document.getElementById("columns");
    menu.querySelector(".choices").append(...choices());
    document.addEventListener("click", event => menu.contains(event.target) || (menu.open = false));
    menu.addEventListener("keydown", event => {
        if (event.key === "Escape") {
            menu.open = false;
            menu.querySelector("summary").focus();
        }
    });

    // -- all digits of the results, or four
    const cut = rows.flatMap(row => [...row.cells]).filter(cell => cell.dataset.full !== undefined);
    cut.forEach(cell => (cell.dataset.short = cell.textContent));
    document.getElementById("digits").addEventListener("change", event => {
        cut.forEach(cell => (cell.textContent = event.target.checked ? cell.dataset.full : cell.dataset.short));
    });

    section.querySelector(".tools").hidden = false;
})();
