// A page that answers photos, wherever the model computes: it takes photos, and shows bars and heat maps.
// Names of classes and files are set as text (textContent), never as markup.

const MOST_SHOWN = 50;
const FOR = [230, 97, 1], AGAINST = [33, 102, 200], OPACITY = 0.85; // as in the heat maps of reports
const waiting = [];
const heated = new Set(); // the cards whose photo shows a heat map
let model = null, numRunning = 0, numDone = 0, numGiven = 0;

export const $ = (id) => document.getElementById(id);

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function say(text) { $("status").textContent = text; }

export function sayClasses(names, where) {
  const count = names.length;
  const first = names.slice(0, 6).join(", ") + (count > 6 ? ", …" : ".");
  $("model").textContent = `${count.toLocaleString("en")} ${count === 1 ? "class" : "classes"}: ${first} ${where}`;
}

// Let the page take photos. `answering` has
//   atOnce: how many photos are answered at a time;
//   answer(file): a promise of { labels: [{ label, score }], unknown }, the best label first;
//   explains(): whether the classes of an answer are explained;
//   explain(file, labels): a promise of { photo_size, shown, grid, classes }, as POST /explain of a server answers;
//   extra(file, text): another element for the photo's card, if any.
export function start(answering) {
  model = answering;
  for (const id of ["files", "camera"]) {
    $(id).addEventListener("change", (event) => {
      add(event.target.files);
      event.target.value = "";
    });
  }
  for (const id of ["compared", "smooth"]) {
    $(id).addEventListener("change", () => {
      for (const card of [...heated]) heat(card, card.wanted);
    });
  }
  $("forget").addEventListener("click", forgetAll);
  window.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) add(event.clipboardData.files);
  });
  for (const kind of ["dragenter", "dragover"]) {
    window.addEventListener(kind, (event) => {
      event.preventDefault();
      $("drop").classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) {
    window.addEventListener(kind, (event) => {
      event.preventDefault();
      if (kind === "drop" || !event.relatedTarget) $("drop").classList.remove("over");
    });
  }
  window.addEventListener("drop", (event) => {
    if (event.dataTransfer.files.length) add(event.dataTransfer.files);
  });
}

function add(files) {
  const photos = [...files];
  if (!photos.some((file) => file.size > 0)) {
    say("There is no photo in that.");
    return;
  }
  numGiven += photos.length;
  for (const file of photos) waiting.push(newCard(file));
  work();
}

function work() {
  while (numRunning < model.atOnce && waiting.length) {
    numRunning += 1;
    answer(waiting.shift()).finally(() => {
      numRunning -= 1;
      numDone += 1;
      const shown = numGiven > MOST_SHOWN ? `; the newest ${MOST_SHOWN} are shown` : "";
      say(numDone < numGiven ? `${numDone} of ${numGiven} photos done` : `${numDone === 1 ? "1 photo" : numDone + " photos"} done${shown}`);
      work();
    });
  }
  if (numRunning) say(`${numDone} of ${numGiven} photos done`);
}

async function answer(card) {
  try {
    if (!card.file.size) throw new Error("The file is empty.");
    const { labels, unknown } = await model.answer(card.file);
    show(card, labels, unknown);
  } catch (error) {
    card.answer.replaceChildren(make("p", "error", error.message));
  }
}

function newCard(file) {
  const item = make("li", "card result");
  const picture = make("figure", "picture");
  const image = make("img");
  image.alt = "Photo " + file.name;
  image.src = URL.createObjectURL(file);
  image.addEventListener("error", () => image.replaceWith(make("p", "", "This browser cannot show this kind of photo.")));
  picture.append(image);
  const text = make("div");
  text.append(make("h3", "", file.name));
  const answerArea = make("div");
  answerArea.append(make("p", "note", "…"));
  text.append(answerArea);
  const extra = model.extra?.(file, text);
  if (extra) text.append(extra);
  item.append(picture, text);
  $("results").prepend(item);
  for (const old of [...$("results").children].slice(MOST_SHOWN)) forget(old);
  $("visit").hidden = false;
  return { file, picture, image, answer: answerArea, labels: [], meaning: null, explanation: null, pinned: null, wanted: null };
}

function forget(item) {
  for (const card of heated) if (item.contains(card.picture)) heated.delete(card);
  const image = item.querySelector("img");
  if (image) URL.revokeObjectURL(image.src);
  item.remove();
}

function forgetAll() {
  for (const item of [...$("results").children]) forget(item);
  $("visit").hidden = true;
  waiting.length = 0;
  numGiven = numRunning;
  numDone = 0;
  say("The photos are forgotten.");
  $("files").focus();
}

function show(card, labels, isUnknown) {
  card.labels = labels;
  const bars = make("ul", "bars"), explains = model.explains();
  labels.forEach(({ label, score }, index) => {
    const item = make("li", index === 0 ? "best" : "");
    const bar = make(explains ? "button" : "div", "bar");
    const words = make("span", "words");
    words.append(make("span", "", label), make("span", "score", percent(score)));
    const track = make("span", "track"), fill = make("span", "fill");
    fill.style.width = 100 * score + "%";
    track.append(fill);
    bar.append(words, track);
    if (explains) makeHot(card, bar, label);
    item.append(bar);
    bars.append(item);
  });
  const unknown = make("p", "unknown", "Probably none of these classes. If one of them:");
  card.answer.replaceChildren(...(isUnknown ? [unknown] : []), bars);
  if (explains) {
    card.meaning = make("p", "note meaning");
    card.answer.append(card.meaning);
  }
}

function percent(score) {
  const value = 100 * score;
  return value > 0 && value < 0.1 ? "under 0.1 %" : value.toFixed(1) + " %";
}

function makeHot(card, bar, label) {
  bar.type = "button";
  bar.setAttribute("aria-pressed", "false");
  const on = () => heat(card, label);
  const off = () => (card.pinned ? heat(card, card.pinned) : cool(card));
  for (const event of ["pointerenter", "focus"]) bar.addEventListener(event, on);
  for (const event of ["pointerleave", "blur"]) bar.addEventListener(event, off);
  bar.addEventListener("click", () => {
    const isPinned = card.pinned === label;
    card.pinned = isPinned ? null : label;
    for (const other of bar.closest("ul").querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
    bar.setAttribute("aria-pressed", String(!isPinned));
    on();
  });
}

async function heat(card, label) {
  card.wanted = label;
  if (!card.explanation) {
    card.explanation = model.explain(card.file, card.labels);
    card.meaning.textContent = "…";
  }
  try {
    const explanation = await card.explanation;
    if (card.wanted === label) draw(card, explanation, label);
  } catch (error) {
    card.explanation = null;
    card.meaning.replaceChildren();
    say(error.message);
  }
}

function cool(card) {
  card.wanted = null;
  heated.delete(card);
  card.picture.classList.remove("heated");
  card.picture.querySelector("canvas")?.remove();
  card.meaning.replaceChildren();
}

// The best other class, with which a class is compared. What is added to the logits of all classes changes no answer.
function rivalOf(classes, chosen) {
  return $("compared").value === "contributions" ? undefined : classes.find((each) => each !== chosen);
}

// Token mixing spreads evidence over all patches, so that maps are often of nearly one colour: less their mean, they show
// which patches differ.
function mapOf(chosen, rival) {
  const map = chosen.contributions.map((row, y) => row.map((value, x) => value - (rival ? rival.contributions[y][x] : 0)));
  if ($("compared").value !== "relative") return map;
  const mean = map.flat().reduce((sum, value) => sum + value, 0) / map.flat().length;
  return map.map((row) => row.map((value) => value - mean));
}

function explainColours(chosen, rival) {
  const strong = (className, label) => make("span", className, label);
  const than = rival ? [" than for ", rival.label] : [];
  if ($("compared").value === "relative") {
    return ["Orange patches speak ", strong("for", "more for " + chosen.label), ...than, ", compared with the mean of all patches; blue ones ",
      strong("against", "less"), "."];
  }
  return ["Orange speaks ", strong("for", "for " + chosen.label), ", blue ", strong("against", rival ? "for " + rival.label : "against it"), "."];
}

function draw(card, explanation, label) {
  const { photo_size: size, shown, grid, classes } = explanation;
  const chosen = classes.find((each) => each.label === label);
  if (!chosen || !card.image.isConnected) return;
  cool(card);
  card.wanted = label;
  heated.add(card);
  const rival = rivalOf(classes, chosen);
  // One scale for all maps of a photo.
  const most = Math.max(...classes.flatMap((each) => mapOf(each, rivalOf(classes, each)).flat().map(Math.abs))) || 1;
  const tiles = make("canvas");
  tiles.width = grid.columns;
  tiles.height = grid.rows;
  const pixels = tiles.getContext("2d");
  mapOf(chosen, rival).forEach((row, y) => row.forEach((value, x) => {
    const [red, green, blue] = value > 0 ? FOR : AGAINST;
    pixels.fillStyle = `rgba(${red}, ${green}, ${blue}, ${OPACITY * Math.min(1, Math.abs(value) / most)})`;
    pixels.fillRect(x, y, 1, 1);
  }));
  const canvas = make("canvas");
  const scale = Math.min(1, 1024 / Math.max(size.width, size.height)) * (Math.max(size.width, size.height) < 256 ? 4 : 1);
  canvas.width = Math.max(1, Math.round(size.width * scale));
  canvas.height = Math.max(1, Math.round(size.height * scale));
  const context = canvas.getContext("2d");
  const box = [shown.left, shown.top, shown.right - shown.left, shown.bottom - shown.top].map((side) => side * scale);
  context.fillStyle = "rgba(255, 255, 255, 0.72)"; // what the model does not see
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.clearRect(...box);
  context.imageSmoothingEnabled = $("smooth").checked;
  context.drawImage(tiles, ...box);
  card.picture.classList.add("heated");
  card.picture.append(canvas);
  card.meaning.append(...explainColours(chosen, rival));
}
