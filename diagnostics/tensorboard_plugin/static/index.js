// The tab "Diagnosis": a list of runs and the page of the chosen one in a frame of its own.
// TensorBoard runs this module in an empty page whose base is the plug-in's own path.

const STYLE = `
  :root { color-scheme: light dark; --page: #ffffff; --text: #1b1f24; --dim: #57606a; --rule: #d0d7de; }
  @media (prefers-color-scheme: dark) {
    :root { --page: #0f1419; --text: #e6e9ed; --dim: #a3adb8; --rule: #38424d; }
  }
  html, body { height: 100%; margin: 0; }
  body { display: flex; flex-direction: column; background: var(--page); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
  form { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; padding: .5rem 1rem; border-bottom: 1px solid var(--rule); }
  select { max-width: 100%; font: inherit; }
  button { font: inherit; }
  p { margin: 0; padding: 0 1rem; color: var(--dim); overflow-wrap: anywhere; }
  form p { padding: 0; }
  iframe { flex: 1; border: 0; width: 100%; min-height: 0; }
`;

const ENGLISH = {
  run: "Run", again: "Read again", alone: "Open alone", frame: "Report of the chosen run",
  reading: "Reading the run ...", failed: "No report: ",
  empty: "There is no run here yet: train one, then reload.", unlisted: "The runs cannot be listed: ",
};
const CHINESE = {
  run: "运行", again: "重新读取", alone: "单独打开", frame: "所选运行的报告",
  reading: "正在读取运行……", failed: "没有报告：",
  empty: "这里还没有运行：先训练一次，再刷新。", unlisted: "无法列出运行：",
};
const LANGUAGE = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
const WORDS = LANGUAGE === "zh" ? CHINESE : ENGLISH;

function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

async function answerOf(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error((await answer.text()).slice(0, 2000) || answer.statusText);
  return answer;
}

export async function render() {
  document.documentElement.lang = LANGUAGE;
  document.head.append(make("style", { textContent: STYLE }));
  const choice = make("select", { id: "run" });
  const again = make("button", { type: "button", textContent: WORDS.again });
  const alone = make("a", { textContent: WORDS.alone, target: "_blank", rel: "noopener" });
  const state = make("p", { role: "status" });
  const label = make("label", { htmlFor: "run", textContent: WORDS.run });
  const frame = make("iframe", { title: WORDS.frame });
  // The report's own script may run, but reaches nothing of TensorBoard.
  frame.setAttribute("sandbox", "allow-scripts");
  const form = make("form", {}, label, choice, again, alone, state);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.body.append(form);

  let asked = 0;
  async function show() {
    const mine = ++asked;
    const path = `report?run=${encodeURIComponent(choice.value)}&lang=${LANGUAGE}`;
    state.textContent = WORDS.reading;
    frame.remove();
    try {
      await answerOf(path); // why there is none is a line for this page, not for the frame
      if (mine !== asked) return;
      frame.src = path;
      alone.href = path;
      alone.hidden = false;
      state.textContent = "";
      document.body.append(frame);
    } catch (error) {
      if (mine !== asked) return;
      alone.hidden = true;
      state.textContent = WORDS.failed + error.message;
    }
  }

  async function list() {
    const before = choice.value;
    const { runs } = await (await answerOf("runs")).json();
    choice.replaceChildren(...runs.map((name) => make("option", { value: name, textContent: name })));
    if (runs.includes(before)) choice.value = before;
    choice.disabled = again.disabled = !runs.length;
    return runs.length;
  }

  choice.addEventListener("change", show);
  again.addEventListener("click", () => list().then((found) => found && show()));
  try {
    if (await list()) await show();
    else state.textContent = WORDS.empty;
  } catch (error) {
    state.textContent = WORDS.unlisted + error.message;
  }
}
