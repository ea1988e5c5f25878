// The picture on screen as a JPEG file of the viewer's.

const QUALITY = 0.92;

/** Saves what a video element shows, named after camera and time of capture; throws when there is no picture. */
export async function saveSnapshot(video, camera, capturedAt) {
  const { videoWidth: width, videoHeight: height } = video;
  if (!width) throw new Error("no picture");
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").drawImage(video, 0, 0);
  const file = await canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  const time = capturedAt.toISOString().replace(/\.\d+Z$/, "Z").replaceAll(":", "-");
  link.download = `${camera}_${time}.jpg`;
  link.click();
  URL.revokeObjectURL(link.href);
}
