"""Which renditions of a camera have sound for a viewer, by what it offered and what is known of them."""

from collections.abc import Sequence

from common.messages import Rendition, RenditionFormat
from fanout.sdp.formats import is_passed_through
from fanout.sdp.offer import Offer


def audible(offer: Offer, renditions: Sequence[RenditionFormat]) -> tuple[Rendition, ...]:
    """Those with sound that the viewer takes; where nothing is known, those that may have some."""
    if offer.audio is None:
        return ()
    codecs = {entry.codec for entry in offer.audio.formats}
    known = tuple(
        entry.name
        for entry in renditions
        if entry.audio is not None and entry.audio.codec in codecs and is_passed_through(entry.audio)
    )
    return known or tuple(entry.name for entry in renditions if entry.video is None)
