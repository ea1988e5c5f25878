// Put into the viewer page before its own scripts: writes down when what happened, and every picture shown.
(() => {
  const glass = (window.glass = {
    marks: {},
    frames: [],
    numbers: [],
    captures: [],
    reading: 0, // so many numbers are still to be read from the picture
    peer: null,
    socket: null,
  });
  const mark = (name) => (glass.marks[name] ??= performance.now());

  const Peer = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Peer {
    constructor(...settings) {
      super(...settings);
      this.addEventListener("iceconnectionstatechange", () => mark(`ice ${this.iceConnectionState}`));
      this.addEventListener("connectionstatechange", () => mark(this.connectionState));
    }

    async setRemoteDescription(...description) {
      mark("answered");
      glass.peer = this;
      await super.setRemoteDescription(...description);
      mark("answer taken");
    }
  };

  const Socket = window.WebSocket;
  window.WebSocket = class extends Socket {
    constructor(...settings) {
      super(...settings);
      glass.socket = this;
    }

    send(message) {
      if (message.includes('"type":"offer"')) mark("offered");
      super.send(message);
    }
  };

  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 64;
  const context = canvas.getContext("2d", { willReadFrequently: true });

  // The number that is drawn into the picture (tests.bench.clip).
  const numberOf = (video, bits) => {
    const side = video.videoWidth / 32;
    context.drawImage(video, 0, 0, side * bits, side, 0, 0, 4 * bits, 4);
    const { data } = context.getImageData(0, 0, 4 * bits, 4);
    let number = 0;
    for (let bit = 0; bit < bits; bit++) {
      number |= (data[4 * (4 * bits * 2 + 4 * bit + 2)] > 127) << bit;
    }
    return number;
  };

  const watch = () => {
    const video = window.cctv3?.video;
    if (!video) {
      requestAnimationFrame(watch);
      return;
    }
    const shown = (now, frame) => {
      mark("picture");
      const { expectedDisplayTime, captureTime, rtpTimestamp, width } = frame;
      glass.frames.push({ now, expectedDisplayTime, captureTime, rtpTimestamp, width });
      if (glass.reading > 0) {
        glass.reading -= 1;
        glass.numbers.push([frame.rtpTimestamp, numberOf(video, 8)]);
        for (const source of glass.peer.getReceivers()[0].getSynchronizationSources()) {
          if (source.captureTimestamp) glass.captures.push([source.rtpTimestamp, source.captureTimestamp]);
        }
      }
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
  };
  watch();

  glass.inbound = async () => {
    for (const entry of (await glass.peer.getStats()).values()) {
      if (entry.type === "inbound-rtp" && entry.kind === "video") return entry;
    }
    return null;
  };

  // Leaves as a viewer who closes the page does in the end, but without the grace for a lost socket.
  glass.leave = () => {
    glass.socket.onclose = null;
    glass.socket.onmessage = null;
    window.RTCPeerConnection = null;
    glass.socket.send(JSON.stringify({ type: "close", session: window.cctv3.chosen.session }));
    glass.peer.close();
  };
})();
