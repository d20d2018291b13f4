// The arithmetic of answers, as in allmlp: data/laws.py, metrics/softmax.py and metrics/unknown.py.

export function softmax(logits, temperature = 1) {
  const most = logits.reduce((found, value) => Math.max(found, value), -Infinity);
  const weights = Array.from(logits, (value) => Math.exp((value - most) / temperature));
  const total = weights.reduce((sum, value) => sum + value, 0);
  return weights.map((value) => value / total);
}

// The indices of the classes, the most probable one first: by logits, as at a low temperature many probabilities are 0.
export function ranked(logits) {
  return [...logits.keys()].sort((a, b) => logits[b] - logits[a]);
}

// Whether a photo is of none of the classes, by the rule in the model's description; false if it has none.
export function isUnknown(rule, features) {
  return Boolean(rule) && closeness(features, matrix(rule.statistics, features.length + 1)) < rule.threshold;
}

// Minus the squared Mahalanobis distance. The first row is the mean and the variance of all directions but those of the
// other rows, each of which has its own.
function closeness(features, [[...mean], ...directions]) {
  const rest = mean.pop();
  const offsets = mean.map((value, index) => features[index] - value);
  const dot = (a, b) => a.reduce((sum, value, index) => sum + value * b[index], 0);
  let beyond = dot(offsets, offsets), distance = 0;
  for (const direction of directions) {
    const along = dot(offsets, direction) ** 2;
    distance += along / direction.at(-1);
    beyond -= along;
  }
  return -(distance + Math.max(0, beyond) / rest);
}

// Rows of `width` numbers from little-endian float32 in base64.
function matrix(text, width) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const values = Array.from({ length: bytes.length / 4 }, (_, index) => view.getFloat32(4 * index, true));
  return Array.from({ length: values.length / width }, (_, row) => values.slice(row * width, (row + 1) * width));
}

// The [height, width] to which a photo of [height, width] is scaled before it is cropped or padded.
export function scaledSize({ law, fit, image_size: size, crop_fraction: fraction }, photo) {
  const isTimm = law === "timm";
  const target = size.map((side) => (isTimm ? Math.floor : halfToEven)(side / fraction));
  if (fit === "squash") return target;
  if (isTimm && fit === "crop" && target[0] === target[1]) {
    const longer = Math.floor((target[0] * Math.max(...photo)) / Math.min(...photo));
    return photo[0] <= photo[1] ? [target[0], longer] : [longer, target[0]];
  }
  if (isTimm) {
    const ratios = photo.map((side, axis) => side / target[axis]);
    const ratio = fit === "pad" ? Math.max(...ratios) : Math.min(...ratios);
    return photo.map((side) => Math.max(1, halfToEven(side / ratio)));
  }
  if (law === "big_vision") { // in float32
    const factor = Math.max(...target.map((side, axis) => Math.fround(side / photo[axis])));
    return photo.map((side, axis) => Math.max(target[axis], halfToEven(Math.fround(side * factor))));
  }
  const ratios = target.map((side, axis) => side / photo[axis]);
  if (fit === "pad") return photo.map((side) => Math.max(1, halfToEven(side * Math.min(...ratios))));
  return photo.map((side, axis) => Math.max(target[axis], halfToEven(side * Math.max(...ratios))));
}

// What the model sees of a photo of [height, width], in the photo's pixels; with padding, it exceeds the photo.
export function shownBox(preprocessing, photo) {
  const { law, fit, image_size: size } = preprocessing;
  const [vertical, horizontal] = scaledSize(preprocessing, photo).map((side, axis) => {
    const spare = side - size[axis];
    const start = fit === "pad" ? -Math.floor(-spare / 2) : law === "timm" ? halfToEven(spare / 2) : Math.floor(spare / 2);
    return [start, start + size[axis]].map((edge) => (edge * photo[axis]) / side);
  });
  return { top: vertical[0], bottom: vertical[1], left: horizontal[0], right: horizontal[1] };
}

// As Python's round.
function halfToEven(value) {
  const below = Math.floor(value), rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
