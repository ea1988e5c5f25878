"""Chromium as a plain WHEP client, with the offers that other players make."""

import pytest

from tests.support.browser import chromium
from tests.support.processes import gst_camera
from tests.support.system import running_system

pytestmark = pytest.mark.peers

_PLAY = """async ([kinds, bundlePolicy]) => {
    const peer = new RTCPeerConnection({ bundlePolicy });
    for (const kind of kinds) {
        if (kind === 'data') peer.createDataChannel('x');
        else peer.addTransceiver(kind.split(' ')[0], { direction: kind.split(' ')[1] ?? 'recvonly' });
    }
    await peer.setLocalDescription();
    const response = await fetch('whep/gate', {
        method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: peer.localDescription.sdp,
    });
    if (response.status !== 201) return `${response.status} ${await response.text()}`;
    await peer.setRemoteDescription({ type: 'answer', sdp: await response.text() });
    for (let waited = 0; waited < 100; waited += 1) {
        for (const entry of (await peer.getStats()).values()) {
            if (entry.type === 'inbound-rtp' && entry.framesDecoded > 10) {
                peer.close();
                return 'plays';
            }
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return peer.connectionState;
}"""

OFFERS = [
    (["video"], "max-bundle"),
    (["video"], "max-compat"),
    (["audio", "video"], "balanced"),
    (["audio", "video"], "max-compat"),
    (["audio", "video"], "max-bundle"),
    (["video", "audio"], "max-bundle"),
    (["video sendonly", "video"], "max-bundle"),
    (["video", "video"], "balanced"),
    (["video", "data"], "max-bundle"),
]


async def test_whatever_the_bundle_policy_and_the_sections() -> None:
    async with (
        gst_camera(gop=25) as camera,
        running_system({"gate": {"url": camera.ready}}) as system,
        chromium() as browser,
    ):
        await system.until_live("gate")
        page = await browser.new_page()
        await page.goto(f"{system.url}/healthz")  # the right origin, and nothing that plays by itself
        for kinds, policy in OFFERS:
            outcome = await page.evaluate(_PLAY.replace("'whep/", f"'{system.url}/whep/"), [kinds, policy])
            assert (kinds, policy, outcome) == (kinds, policy, "plays")
