// The model of this page runs in it, in WebAssembly on the CPU. Nothing is fetched from another host, and nothing is sent.

import { isUnknown, ranked, scaledSize, shownBox, softmax } from "./answers.js";
import { $, say, sayClasses, start } from "./photos.js";
import { decode, readsTrue } from "./pixels.js";

const HERE = "Photos stay in this browser: the model runs here, and nothing is sent.";
const TOP_K = 5;
const MAX_SCALED_PIXELS = 1 << 26; // 200 MB
const explanations = new WeakMap(); // by file

async function fetched(name) {
  const response = await fetch(name, { cache: "no-cache" }); // the server says what changed, so that files fit each other
  if (!response.ok) throw new Error(`${name}: the server answered with status ${response.status}.`);
  return response;
}

async function fetchedModel() {
  const response = await fetched("model.onnx");
  const total = response.headers.has("Content-Encoding") ? 0 : Number(response.headers.get("Content-Length"));
  const parts = [];
  let received = 0;
  for (const reader = response.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    received += value.length;
    $("model").textContent = `Loading the model: ${megabytes(received)}${total ? " of " + megabytes(total) : ""} MB. ${HERE}`;
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

function megabytes(count) { return (count / 1e6).toFixed(count < 10e6 ? 1 : 0); }

async function load() {
  const [text, content, ort] = await Promise.all([
    fetched("description.json").then((response) => response.text()),
    fetchedModel(),
    import("./ort.wasm.bundle.min.js"),
  ]);
  checkSame(text, content);
  // Several threads would need headers that few servers of static files send, and workers that the page's policy forbids.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.proxy = false;
  ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", import.meta.url).href };
  const session = await ort.InferenceSession.create(content, { executionProviders: ["wasm"] });
  const model = JSON.parse(text).checkpoint;
  sayClasses(model.class_names, HERE);
  return { ort, session, model, preprocessing: { law: "allmlp", ...model.preprocessing } };
}

// The description stands at the end of model.onnx, too, next to other programs' keys. That of another export would name wrong
// classes.
function checkSame(text, content) {
  const end = new TextDecoder("latin1").decode(content.subarray(-3 * text.length - 65536));
  if (!text || !end.includes(text)) {
    throw new Error("description.json is not that of model.onnx: a file was changed, or is of another export. Copy the whole folder again.");
  }
}

async function answer(file) {
  const { ort, session, model, preprocessing } = await loading;
  const { pixels, height, width } = await decode(file);
  const scaled = scaledSize(preprocessing, [height, width]);
  if (scaled[0] * scaled[1] > MAX_SCALED_PIXELS) {
    throw new Error(`The photo is too long for this model: it would be scaled to ${scaled[1]} × ${scaled[0]} pixels. Crop it.`);
  }
  const outputs = await session.run({ photos: new ort.Tensor("uint8", pixels, [1, height, width, 3]) });
  const logits = outputs.logits.data;
  if (!logits.every(Number.isFinite)) throw new Error("The model returned values that are not finite.");
  const scores = softmax(logits, model.temperature ?? 1), best = ranked(logits).slice(0, TOP_K);
  explanations.set(file, explanation(outputs.contributions, best, model, preprocessing, [height, width]));
  return {
    labels: best.map((index) => ({ label: model.class_names[index], score: scores[index] })),
    unknown: isUnknown(model.unknown, outputs.features.data),
  };
}

// What each patch adds to the logit of each of the best classes, as POST /explain of a server answers.
function explanation({ data, dims }, best, { class_names: names, model }, preprocessing, [height, width]) {
  const numClasses = dims[2];
  const [rows, columns] = model.image_size.map((side) => side / model.patch_size);
  const tile = (row, column, index) => data[(row * columns + column) * numClasses + index];
  return {
    photo_size: { height, width },
    shown: shownBox(preprocessing, [height, width]),
    grid: { rows, columns },
    classes: best.map((index) => ({
      label: names[index],
      contributions: Array.from({ length: rows }, (_, row) =>
        Array.from({ length: columns }, (_, column) => tile(row, column, index))),
    })),
  };
}

async function explain(file) { return explanations.get(file); }

$("start").hidden = true;
$("drop").hidden = false;
if (!readsTrue()) {
  $("caution").textContent = "This browser changes the pixels that pages read, as a protection against tracking. Answers may be wrong: " +
    "allow this page to read canvas data, or use another browser.";
  $("caution").hidden = false;
}
const loading = load();
loading.catch((error) => say("The model could not be loaded. " + error.message));
start({ atOnce: 1, answer, explains: () => true, explain });
