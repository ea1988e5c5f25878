"""What one connected viewer is given: its streams, its switches between renditions, its feedback."""

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Literal

from common.messages import Quality, Rendition, SessionReport
from common.rtcp_feedback import KeyframeRequest, Nack, ReceiverEstimate, TransportFeedback
from common.rtp import ReceiverReport, RtcpPacket, SenderReport
from common.units import unix_ns_to_ntp
from fanout.bandwidth_probe import BandwidthProbe
from fanout.egress import Extensions, Lane, TransportLog
from fanout.link import Link
from fanout.outlet import Outlet
from fanout.pacer import Pacer
from fanout.quality import ROOM, Probe, QualityPolicy
from fanout.retransmission import Retransmitter
from fanout.sdp.offer import Offer
from fanout.sender import RtpSender, random_index
from fanout.srtp import MasterKey, session_keys
from fanout.stream import Stream
from fanout.stream_pool import StreamPool

log = logging.getLogger(__name__)

KEYFRAME_REQUEST_INTERVAL_S = 1.0
SWITCH_INTERVAL_S = 1.0
MAX_HOLD_S = 4.0
FREE_S = 2.0
STRAINED_QUEUE_S = 0.1
STRAINED_LOSS = 0.05
LOSSY = 0.005
LOSSY_S = 10.0
REPAIR_ROUND_TRIPS = 1.5
MOST_REPAIR_DELAY = 30  # in 10 ms
RESUME_S = 1.0
PROBE_PACKETS = 16
# Sender reports: at once, some soon so that the browser can put sound and picture in step, then seldom.
EARLY_REPORTS = 4
EARLY_REPORT_INTERVAL_S = 1.0
REPORT_INTERVAL_S = 5.0  # RFC 3550 section 6.2

Showing = Literal["main", "sub", "keyframes"]


def _ignored(problem: str) -> None:
    """A viewer without sound still has its picture."""


class Viewing:
    """From the end of the DTLS handshake to the end of the session.

    `renditions` are those that this viewer can decode, `audible` those that may have sound for it, main
    first; `stream` is the one it begins with, taken from `pool`, and `quality` what it asked for.
    `on_problem(text)` is called when it cannot be shown what the camera sends, `on_changed(showing, reason)`
    when it is given something else.
    """

    def __init__(
        self,
        offer: Offer,
        master: MasterKey,
        ssrcs: Sequence[int],
        outlet: Outlet,
        pacer: Pacer,
        pool: StreamPool,
        stream: Stream,
        renditions: Sequence[Rendition],
        audible: Sequence[Rendition],
        endpoint: str,
        quality: Quality,
        now: float,
        on_problem: Callable[[str], None],
        on_changed: Callable[[Showing, str], None],
    ) -> None:
        self._pool = pool
        self._pacer = pacer
        self._outlet = outlet
        self._renditions = tuple(renditions)
        self._audible = tuple(audible)
        self._endpoint = endpoint
        self._on_problem = on_problem
        self._on_changed = on_changed
        self._srtp = master.profile
        keys = session_keys(master)
        video_ssrc, rtx_ssrc, audio_ssrc = ssrcs
        self._log = TransportLog()
        video = offer.video
        types = {entry.codec: entry.payload_type for entry in video.formats}
        rtx_types = {
            entry.codec: entry.rtx_payload_type
            for entry in video.formats
            if entry.rtx_payload_type is not None
        }
        self._lane = Lane(
            keys,
            video_ssrc,
            video.formats[0].payload_type,
            random_index(),
            secrets.randbits(32),
            video.extensions,
            self._log,
        )
        self._video = RtpSender(outlet, pacer, self._lane, types, on_problem)
        self._rtx: Lane | None = None
        if rtx_types:
            extensions = Extensions(transport_sequence=video.extensions.transport_sequence)
            first = next(iter(rtx_types.values()))
            self._rtx = Lane(keys, rtx_ssrc, first, random_index(), 0, extensions, self._log)
            outlet.add(self._rtx)
        self._retransmitter = Retransmitter(outlet, self._lane, self._video.sent, self._rtx, rtx_types)
        audio_lane: Lane | None = None
        self._audio: RtpSender | None = None
        if offer.audio is not None and self._audible:
            audio_lane = Lane(
                keys,
                audio_ssrc,
                offer.audio.formats[0].payload_type,
                random_index(),
                secrets.randbits(32),
                offer.audio.extensions,
                self._log,
            )
            types = {entry.codec: entry.payload_type for entry in offer.audio.formats}
            audio_lane.sparse = True
            self._audio = RtpSender(outlet, pacer, audio_lane, types, _ignored, marks_units=False)
        self._lane.sparse = True
        lanes = (self._lane, self._rtx, audio_lane)
        self._lanes = tuple(lane for lane in lanes if lane is not None)
        self._link = Link()
        self._policy = QualityPolicy(len(self._renditions) > 1, now)
        self._policy.wish = quality
        self._video.keyframes_only = quality == "keyframes"
        self._probe: BandwidthProbe | None = None
        self._answers_from = self._resumes_from = self._lossy_until = now
        self._switched_at = now - SWITCH_INTERVAL_S
        self._held_since = self._free_until = now
        self._keyframe_requests = 0
        self._reports = 0
        self._reported_at = now - REPORT_INTERVAL_S
        self._stream = stream
        self._showing = self._kind()
        self._coming: Stream | None = None
        self._coming_reason = ""
        self.switches = 0
        "Changes of what is shown."
        self._heard: Stream | None = None
        "Where sound comes from."
        # What may fail for want of a socket comes before the stream knows of this viewer.
        self._listen()
        stream.add(self._video)
        self._say_beginning()

    @property
    def packets(self) -> int:
        """RTP packets sent, retransmissions and sound included."""
        return sum(lane.packets for lane in self._lanes)

    @property
    def dropped_frames(self) -> int:
        """Frames not sent because this viewer's way was full or too slow."""
        return self._video.dropped_frames

    @property
    def retransmitted(self) -> int:
        """Packets sent again because they were missed."""
        return self._retransmitter.packets

    def _listen(self) -> None:
        """Sound goes with the picture, where that rendition has some; not every sub stream does."""
        if self._audio is None:
            return
        before, shown = self._heard, self._stream
        if shown.rendition not in self._audible:
            source = before.rendition if before is not None else self._audible[0]
        elif before is None or shown.has_sound:
            source = shown.rendition
        else:
            source = before.rendition
        if before is not None and before.rendition == source:
            return
        self._heard = self._pool.acquire(shown.camera, source, self._endpoint)
        if before is not None:
            before.audio.receivers.discard(self._audio)
            self._pool.release(before)
        self._audio.follow(self._heard.audio)
        self._heard.audio.receivers.add(self._audio)

    def select(self, quality: Quality, now: float) -> None:
        """What the viewer wants to be given."""
        self._policy.wish = quality
        if now - self._switched_at >= SWITCH_INTERVAL_S:
            self.check(now)

    def on_rtcp(self, packets: Sequence[RtcpPacket], now: float) -> None:
        """Takes the viewer's reports and requests."""
        for packet in packets:
            match packet:
                case Nack(media_ssrc=ssrc, sequences=sequences) if ssrc == self._lane.ssrc:
                    if not self._video.held:
                        self._on_nack(sequences, now)
                case KeyframeRequest(media_ssrc=ssrc) if ssrc == self._lane.ssrc:
                    self._keyframe_requests += 1
                    self._repeat_picture(now)
                case TransportFeedback():
                    self._link.on_transport_feedback(packet, self._log, now)
                    if (self._link.queue_s or 0.0) > STRAINED_QUEUE_S:
                        self._lane.sparse = False
                    if self._link.congested and not self._video.held:
                        self.check(now)
                case ReceiverEstimate(bitrate=bitrate):
                    self._link.on_receiver_estimate(bitrate, now)
                case ReceiverReport(reports=reports) | SenderReport(reports=reports):
                    for block in reports:
                        if block.ssrc == self._lane.ssrc:
                            self._link.on_receiver_report(block, unix_ns_to_ntp(time.time_ns()))
                case _:
                    pass

    def _on_nack(self, sequences: Sequence[int], now: float) -> None:
        link = self._link
        strained = link.congested or (link.queue_s or 0.0) > STRAINED_QUEUE_S
        twice = not strained and link.loss >= LOSSY
        bitrate = self._stream.video.bitrate
        self._retransmitter.answer(sequences, now, link.rtt_s, bitrate, twice=twice, strained=strained)

    def _set_least_delay(self, now: float) -> None:
        """On a lossy link the viewer waits for one repair before it shows a picture, else for nothing."""
        if self._link.loss >= LOSSY:
            self._lossy_until = now + LOSSY_S
        steps = 0
        if now < self._lossy_until and self._link.rtt_s is not None:
            steps = min(round(REPAIR_ROUND_TRIPS * self._link.rtt_s * 100) + 1, MOST_REPAIR_DELAY)
        # Not for every change of the round trip: the picture would stand or hurry.
        if (steps == 0) != (self._lane.least_delay == 0) or abs(steps - self._lane.least_delay) > 5:
            self._lane.least_delay = steps

    def _repeat_picture(self, now: float) -> None:
        """Sends the cached GOP once more, where that is not too often."""
        if now < self._answers_from:
            return
        self._answers_from = now + self._resend()

    def _resend(self) -> float:
        """Sends the cached GOP, or its keyframe; after how many seconds that may be done again.

        So all of it together takes twice what the stream itself takes, at most.
        """
        track = self._stream.video
        units = track.history.gop()
        octets = sum(unit.octets for unit in (units[:1] if self._video.keyframes_only else units))
        self._stream.resend(self._video)
        return max(KEYFRAME_REQUEST_INTERVAL_S, 8 * octets / (2 * track.bitrate) if track.bitrate else 0.0)

    def check(self, now: float) -> None:
        """Decides what to show; to be called about twice a second."""
        if self._stream.unsendable is not None:
            self._on_problem(
                f"camera {self._stream.camera} sends {self._stream.unsendable}, which browsers are not "
                "given: set the camera to H.264"
            )
            return
        link = self._link
        # Where the viewer decodes only one of them, that one is all there is to choose.
        largest, smallest = (self._bitrate_of(self._renditions[place]) for place in (0, -1))
        decision = self._policy.decide(link, largest, smallest, self._video.refused_frames, now)
        congested = link.congested
        # Every packet is reported on while the link looks strained, else only some.
        strained = congested or link.loss > STRAINED_LOSS or (link.queue_s or 0.0) > STRAINED_QUEUE_S
        strained |= link.in_doubt
        self._lane.sparse = not strained and self._probe is None
        self._video.max_bitrate = link.available_bitrate if congested else None
        self._set_least_delay(now)
        self._hold(congested and self._is_hopeless(), now)
        self._show(decision.target, decision.reason, now)
        self._listen()
        if decision.probe is not None:
            self._begin_probe(decision.probe, now)

    def _is_hopeless(self) -> bool:
        """A queue on a link that carries more than is sent goes away by itself; any other does not."""
        link = self._link
        if link.stalled or not link.measures:
            return True
        return (link.available_bitrate or 0) < ROOM * self._stream.video.bitrate

    def _hold(self, wanted: bool, now: float) -> None:
        """While the link drains nothing is sent; then the picture comes back at once where it is small.

        Never for long: a viewer to whom nothing is sent may have nothing to report, not even a good link.
        """
        if wanted and not self._video.held and now >= self._free_until:
            self._held_since = now
            self._video.held = True
            self._video.skip()
        elif self._video.held and (not wanted or now - self._held_since > MAX_HOLD_S):
            self._free_until = now + FREE_S
            self._video.held = False
            octets = sum(unit.octets for unit in self._stream.video.history.gop())
            if octets * 8 < RESUME_S * (self._link.available_bitrate or self._stream.video.bitrate):
                self._stream.resend(self._video)

    def _begin_probe(self, probe: Probe, now: float) -> None:
        if self._rtx is None or self._probe is not None:
            return
        packets = self._video.sent.recent(self._lane.index, PROBE_PACKETS)
        if not packets:
            return
        self._link.probe_began(self._log.sequence, now)
        self._lane.sparse = False
        self._probe = BandwidthProbe(
            self._retransmitter, self._pacer, packets, probe.bitrate, probe.octets, self._end_probe
        )

    def _end_probe(self) -> None:
        self._link.probe_ended(self._log.sequence, time.monotonic())
        self._probe = None

    def _bitrate_of(self, rendition: Rendition) -> int | None:
        for stream in (self._stream, self._coming):
            if stream is not None and stream.rendition == rendition:
                return stream.video.bitrate or None
        return self._pool.bitrate(self._stream.camera, rendition)

    def _show(self, target: Showing, reason: str, now: float) -> None:
        wanted = self._renditions[0] if target == "main" else self._renditions[-1]
        self._set_keyframes_only(target == "keyframes", now)
        if wanted == self._stream.rendition:
            self._give_up_coming()
            self._say(self._kind(), reason)
            return
        if self._coming is not None:
            if self._coming.rendition == wanted:
                return
            self._give_up_coming()
        if now - self._switched_at < SWITCH_INTERVAL_S:
            return
        self._switched_at = now
        stream = self._pool.acquire(self._stream.camera, wanted, self._endpoint)
        self._coming, self._coming_reason = stream, reason
        if stream.has_picture:
            self._arrive()
        else:
            stream.when_picture(self._arrive)

    def _set_keyframes_only(self, keyframes_only: bool, now: float) -> None:
        """Also while another rendition is on its way: until then it is this one that is watched."""
        if keyframes_only == self._video.keyframes_only:
            return
        self._video.keyframes_only = keyframes_only
        if not keyframes_only:
            # What follows the last keyframe was left out. That is no answer to a request, and waits for none.
            self._video.skip()
            if now >= self._resumes_from:
                self._resumes_from = now + self._resend()

    def _kind(self) -> Showing:
        return "keyframes" if self._video.keyframes_only else self._stream.rendition

    def _give_up_coming(self) -> None:
        if self._coming is not None:
            self._coming.forget(self._arrive)
            self._pool.release(self._coming)
            self._coming = None

    def _arrive(self) -> None:
        """The rendition that was waited for has a picture."""
        stream, self._coming = self._coming, None
        assert stream is not None
        before, self._stream = self._stream, stream
        before.video.receivers.discard(self._video)
        self._video.held = False
        stream.add(self._video)
        self._pool.release(before)
        self._say(self._kind(), self._coming_reason)
        self._listen()

    def _say_beginning(self) -> None:
        """The main stream is what everybody takes for granted, unless another was asked for."""
        wish = self._policy.wish
        if self._showing == wish != "main":
            self._on_changed(self._showing, "asked for")
        elif self._renditions[0] != "main":
            self._on_changed(self._showing, "the browser does not play what the main stream sends")
        elif wish == "sub" and wish not in self._renditions:
            self._on_changed(self._showing, "there is no smaller stream")

    def _say(self, showing: Showing, reason: str) -> None:
        if showing != self._showing:
            self._showing = showing
            self.switches += 1
            self._on_changed(showing, reason)

    def reports(self, now: float, cname: str) -> list[bytes]:
        """RTCP sender reports that are due."""
        early = self._reports < EARLY_REPORTS
        if now - self._reported_at < (EARLY_REPORT_INTERVAL_S if early else REPORT_INTERVAL_S):
            return []
        now_ns = time.time_ns()
        senders = (self._video,) if self._audio is None else (self._video, self._audio)
        found = [report for sender in senders if (report := sender.report(now_ns, cname)) is not None]
        if found:
            self._reports += 1
            self._reported_at = now
        return found

    def report(self, session: str, state: str) -> SessionReport:
        """This viewer as the API shows it."""
        return SessionReport(
            session=session,
            camera=self._stream.camera,
            state=state,
            path=str(self._outlet.path),
            srtp=self._srtp,
            quality=self._policy.wish,
            showing=self._showing,
            video_codec=self._video.codec,
            audio_codec=self._audio.codec if self._audio is not None else None,
            packets=self.packets,
            octets=sum(lane.octets for lane in self._lanes),
            retransmitted=self._retransmitter.packets,
            dropped_frames=self._video.dropped_frames,
            keyframe_requests=self._keyframe_requests,
            loss=self._link.loss,
            rtt_s=self._link.rtt_s,
            available_bitrate=self._link.available_bitrate,
            rendition=self._stream.rendition,
            last_access_unit_age_s=self._stream.last_unit_age_s,
            gaps=self._stream.gaps,
            keyframe_cached=bool(self._stream.video.history.gop()),
        )

    def close(self) -> None:
        """Leaves the streams."""
        self._give_up_coming()
        self._stream.video.receivers.discard(self._video)
        self._pool.release(self._stream)
        if self._heard is not None and self._audio is not None:
            self._heard.audio.receivers.discard(self._audio)
            self._pool.release(self._heard)
        if self._probe is not None:
            self._probe.close()
        self._video.close()
        if self._audio is not None:
            self._audio.close()
