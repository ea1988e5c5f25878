// What is known of a tile, as plain data: for tests and the curious.

export function factsOf(tile) {
  if (!tile) return null;
  const { player } = tile;
  const { latest, rates, showing } = player;
  return {
    camera: tile.camera,
    kind: tile.verdict?.kind ?? "live",
    phase: player.phase,
    session: player.session,
    problem: player.problem,
    moves: player.moves,
    reconnects: player.reconnects,
    firstFrameMs: player.firstFrameMs,
    pictureAgeMs: player.stillMs,
    ageMs: player.ageMs,
    framesDecoded: latest?.frames ?? 0,
    width: latest?.width ?? 0,
    height: latest?.height ?? 0,
    lost: latest?.lost ?? 0,
    quality: tile.wish,
    showing: showing?.showing ?? null,
    showingReason: showing?.reason ?? null,
    refusal: player.refusal,
    hasSound: player.hasSound,
    muted: tile.isMuted,
    audioPackets: latest?.audioPackets ?? 0,
    freezes: latest?.freezes ?? 0,
    rates: rates && { ...rates },
  };
}
