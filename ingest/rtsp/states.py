"""Where an RTSP session is, and which state may follow which (RFC 2326 section A.1)."""

import enum


class State(enum.Enum):
    """Each but the first two and `playing` names the request whose answer is awaited."""

    NEW = "new"
    CLOSED = "closed"
    OPTIONS = "OPTIONS"
    DESCRIBE = "DESCRIBE"
    SETUP = "SETUP"
    PLAY = "PLAY"
    PLAYING = "playing"
    TEARDOWN = "TEARDOWN"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.NEW: frozenset({State.OPTIONS, State.CLOSED}),
    State.OPTIONS: frozenset({State.DESCRIBE, State.CLOSED}),
    State.DESCRIBE: frozenset({State.SETUP, State.CLOSED}),
    State.SETUP: frozenset({State.PLAY, State.TEARDOWN, State.CLOSED}),
    State.PLAY: frozenset({State.PLAYING, State.TEARDOWN, State.CLOSED}),
    State.PLAYING: frozenset({State.TEARDOWN, State.CLOSED}),
    State.TEARDOWN: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}
