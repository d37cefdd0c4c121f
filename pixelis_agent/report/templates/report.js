// The page works without this but for the theme's button and the explorer of episodes. All text of
// runs is set by textContent: nothing that an agent wrote is ever read as HTML.

const PAGE = 50;

function explore(data) {
  const { names, series, verdicts, episodes } = data;
  const filters = byId("filters"), list = byId("list"), detail = byId("detail");
  const state = { shown: episodes, page: 0, at: null, step: 0, beside: null };
  const read = (line) => JSON.parse(byId(`e-${line.r}-${line.n}`).textContent);
  const sameTask = new Map();
  for (const line of episodes) {
    if (!sameTask.has(line.task)) sameTask.set(line.task, []);
    sameTask.get(line.task).push(line);
  }
  const others = (line) => sameTask.get(line.task).filter((other) => other.r !== line.r);
  const score = (value) => (value === null ? "–" : value.toFixed(2));

  function filter() {
    const wanted = Object.fromEntries(new FormData(filters));
    const words = wanted.words.trim().toLowerCase();
    state.shown = episodes.filter((line) =>
      (!wanted.run || line.r === Number(wanted.run)) &&
      (!wanted.type || line.t === wanted.type) &&
      (!wanted.score || (wanted.score === "none" ? line.s === null : line.s !== null && line.c === Number(wanted.score))) &&
      (!wanted.op || line.o.includes(wanted.op)) &&
      (!wanted.verdict || line.v === wanted.verdict) &&
      (!words || `${line.q} ${line.i} ${line.t}`.toLowerCase().includes(words)));
    state.page = 0;
    const kept = state.shown.includes(state.at) ? state.at : state.shown[0] ?? null;
    if (kept === state.at) drawList();
    else select(kept);
  }

  function drawList() {
    const pages = Math.max(1, Math.ceil(state.shown.length / PAGE));
    const lines = state.shown.slice(state.page * PAGE, (state.page + 1) * PAGE);
    list.replaceChildren(...lines.map((line) => {
      const button = element("button", { type: "button", class: `run-${line.r % series}`, "data-key": `${line.r}-${line.n}` },
        element("span", {}, line.t), element("b", {}, score(line.s)),
        element("span", { class: "q" }, `${line.p ? "▣ " : ""}${line.i} · ${line.q}`));
      button.setAttribute("aria-label", `${line.t}, score ${score(line.s)}, ${names[line.r]}, ${line.v}: ${line.q}`);
      if (line === state.at) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => select(line, true));
      return element("li", {}, button);
    }));
    byId("count").textContent = `${state.shown.length} of ${episodes.length} episodes`;
    byId("page").textContent = `${state.page + 1} / ${pages}`;
    byId("before").disabled = state.page === 0;
    byId("after").disabled = state.page + 1 >= pages;
  }

  function select(line, byHand = false) {
    state.at = line;
    state.step = 0;
    if (line && state.beside !== null && !others(line).some((other) => other.r === state.beside)) state.beside = null;
    if (line) state.page = Math.floor(state.shown.indexOf(line) / PAGE);
    drawList();
    drawDetail();
    const button = list.querySelector("[aria-current]");
    if (byHand && button) {
      button.focus({ preventScroll: true });
      button.scrollIntoView({ block: "nearest" });
      if (matchMedia("(max-width: 860px)").matches) detail.scrollIntoView({ block: "start" });
    }
  }

  function drawDetail() {
    if (!state.at) {
      detail.replaceChildren(element("p", {}, "No episode passes these filters."));
      return;
    }
    const cards = [card(state.at, true)];
    const other = others(state.at).find((line) => line.r === state.beside);
    if (other) cards.push(card(other, false));
    detail.replaceChildren(...cards);
    history.replaceState(null, "", `#episode=${state.at.r}.${state.at.n}.${state.step}`);
  }

  function card(line, first) {
    const one = read(line), moments = one.moments;
    const at = Math.min(state.step, Math.max(0, moments.length - 1));
    const made = element("article", { class: "card", "aria-label": `${names[line.r]}, episode ${one.name}` },
      element("h3", {}, element("span", { class: `chip run-${line.r % series}` }, names[line.r]), ` ${one.task_type} · ${one.name}`),
      element("p", {}, element("span", { class: `badge ${one.verdict}`, title: verdicts[one.verdict] }, one.verdict), ` ${one.detail}`));
    const facts = element("dl", { class: "facts" });
    const fact = (name, value) => facts.append(element("dt", {}, name), element("dd", {}, value));
    fact("score", score(one.score));
    fact("answer", one.answer ?? "none");
    if (one.right !== null) fact("right answer", one.right);
    if (first) made.append(element("pre", {}, one.prompt || one.task_id));
    made.append(facts);
    if (first && others(line).length) made.append(compare(line));
    if (moments.length) {
      const panel = `panel-${line.r}`;
      made.append(steps(moments, at, panel), moment(moments[at], at, one, panel));
    }
    if (first && moments.length) {
      byId("said").textContent = `Step ${at} of ${moments.length - 1}: ${moments[at].op}. ${moments[at].result}`;
    }
    return made;
  }

  function compare(line) {
    const choice = element("select", { id: "compare" }, element("option", { value: "" }, "nobody"));
    for (const other of others(line)) choice.append(element("option", { value: other.r }, `${names[other.r]} (${score(other.s)})`));
    choice.value = state.beside ?? "";
    choice.addEventListener("change", () => {
      state.beside = choice.value === "" ? null : Number(choice.value);
      drawDetail();
      byId("compare").focus();
    });
    return element("label", { class: "beside" }, "Same task, beside ", choice);
  }

  function steps(moments, at, panel) {
    const tabs = element("div", { class: "steps", role: "tablist", "aria-label": "Steps" });
    moments.forEach((step, number) => {
      const tab = element("button", {
        type: "button", role: "tab", class: `op-${step.valid ? step.op : "invalid"}`,
        "aria-controls": panel, "aria-selected": number === at, tabindex: number === at ? 0 : -1,
      }, number ? `${number} ${step.op}` : "start");
      tab.addEventListener("click", () => go(number));
      tabs.append(tab);
    });
    return tabs;
  }

  function moment(step, number, one, panel) {
    const made = element("div", { id: panel, role: "tabpanel", "aria-label": `Step ${number}` });
    const part = (name, text, kind = "pre") => text && made.append(
      element("div", { class: "part" }, element("span", {}, name), element(kind, {}, text)));
    if (step.shots.length) {
      made.append(element("div", { class: "shots" }, ...step.shots.map((shot) => element("figure", {},
        element("img", {
          src: `data:image/webp;base64,${byId(`p-${shot.key}`).textContent}`, width: shot.width, height: shot.height,
          loading: "lazy", alt: `${shot.shows}. ${step.result}`,
        }), element("figcaption", {}, shot.shows)))));
    }
    part("thought", step.thought, "div");
    part("call", step.call);
    part(step.valid ? "result" : "error", step.result);
    const paid = Object.entries(step.rewards).map(([name, value]) => `${name} ${value.toFixed(3)}`);
    part("rewards", paid.join(" · "), "div");
    const checks = [`chain ${step.link}`];
    if (step.digest) checks.unshift(`evidence ${step.digest}`);
    if (one.tools[step.op]) checks.push(`backend ${one.tools[step.op]}`);
    made.append(element("details", {}, element("summary", {}, "digests (SHA-256)"), element("pre", {}, checks.join("\n"))));
    return made;
  }

  function go(number) {
    const most = Math.max(...[state.at, ...others(state.at).filter((line) => line.r === state.beside)]
      .map((line) => read(line).moments.length)) - 1;
    state.step = Math.min(Math.max(number, 0), Math.max(most, 0));
    const inTabs = detail.contains(document.activeElement);
    drawDetail();
    if (inTabs) detail.querySelector('[aria-selected="true"]')?.focus();
  }

  function move(by) {
    const place = state.shown.indexOf(state.at) + by;
    if (place >= 0 && place < state.shown.length) select(state.shown[place], true);
  }

  function turn(by) {
    state.page += by;
    drawList();
    list.scrollTop = 0;
  }

  const KEYS = {
    j: () => move(1), k: () => move(-1), ArrowDown: () => move(1), ArrowUp: () => move(-1),
    ArrowRight: () => go(state.step + 1), ArrowLeft: () => go(state.step - 1),
    c: () => byId("compare")?.focus(), "/": () => filters.elements.type.focus(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !state.at) return;
    if (event.target.closest("input, select, textarea") || !(event.key in KEYS)) return;
    // The arrows scroll the page but where an episode has the focus.
    if (event.key.startsWith("Arrow") && !byId("explorer").contains(event.target)) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  filters.addEventListener("input", filter);
  filters.addEventListener("submit", (event) => event.preventDefault());
  byId("before").addEventListener("click", () => turn(-1));
  byId("after").addEventListener("click", () => turn(1));

  const asked = /^#episode=(\d+)\.(\d+)\.(\d+)$/.exec(location.hash);
  const line = asked && episodes.find((one) => one.r === Number(asked[1]) && one.n === Number(asked[2]));
  select(line || episodes[0]);
  if (line) {
    go(Number(asked[3]));
    byId("episodes").scrollIntoView();
  }
}

if (byId("index")) explore(JSON.parse(byId("index").textContent));
