// The picture on screen as a JPEG file of the viewer's.

const QUALITY = 0.92;

/** Saves what a video or canvas shows, named after camera and time of capture; throws when there is no picture. */
export async function saveSnapshot(surface, camera, capturedAt) {
  const picture = await createImageBitmap(surface);
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  canvas.getContext("2d").drawImage(picture, 0, 0);
  picture.close();
  const file = await canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  const time = capturedAt.toISOString().replace(/\.\d+Z$/, "Z").replaceAll(":", "-");
  link.download = `${camera}_${time}.jpg`;
  link.click();
  URL.revokeObjectURL(link.href);
}
