// Decoding of photos by the browser, to what allmlp's decoder returns: upright RGB, transparency on white, no colour profile.

const MAX_PIXELS = 50_000_000, MAX_BYTES = 200_000_000; // as in allmlp
const STRIP_PIXELS = 1_000_000; // copied at a time: browsers limit the size of a canvas, and a copy takes memory

// A promise of { pixels, height, width }: Uint8Array of height × width × 3.
export async function decode(file) {
  if (file.size > MAX_BYTES) {
    throw new Error(`The file has ${file.size.toLocaleString("en")} bytes; the limit is ${MAX_BYTES.toLocaleString("en")}.`);
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw new Error("This browser cannot read the file as a photo: it is damaged, or of a kind that the browser does not know.");
  }
  try {
    return pixelsOf(bitmap);
  } finally {
    bitmap.close();
  }
}

function pixelsOf(bitmap) {
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) {
    throw new Error(`The photo has ${width} × ${height} pixels; the limit is ${MAX_PIXELS.toLocaleString("en")}.`);
  }
  const pixels = new Uint8Array(3 * width * height);
  const rows = Math.min(height, Math.max(1, Math.floor(STRIP_PIXELS / width)));
  const context = newContext(width, rows);
  for (let top = 0, to = 0; top < height; top += rows) {
    const kept = Math.min(rows, height - top);
    context.fillRect(0, 0, width, kept);
    context.drawImage(bitmap, 0, top, width, kept, 0, 0, width, kept);
    const { data } = context.getImageData(0, 0, width, kept);
    for (let from = 0; from < data.length; from += 4) {
      pixels[to++] = data[from];
      pixels[to++] = data[from + 1];
      pixels[to++] = data[from + 2];
    }
  }
  return { pixels, height, width };
}

function newContext(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true, colorSpace: "srgb" });
  context.imageSmoothingEnabled = false;
  context.fillStyle = "#fff";
  return context;
}

// Whether pixels are read as they were drawn: some browsers change them, so that pages cannot recognise a visitor.
export function readsTrue() {
  const size = 64, context = newContext(size, size);
  const drawn = new ImageData(size, size);
  drawn.data.forEach((_, index) => { drawn.data[index] = index % 4 === 3 ? 255 : (index * 97) % 256; });
  context.putImageData(drawn, 0, 0);
  return context.getImageData(0, 0, size, size).data.every((value, index) => value === drawn.data[index]);
}
