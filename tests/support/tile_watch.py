"""What a wall says of each tile, at each repaint, beside the pictures that it really shows.

viewer = await open_tiles(browser, url)
changes = await viewer.changes("door")
"""

from dataclasses import dataclass

from playwright.async_api import Browser

from tests.support.browser import ViewerPage

_WATCH = """(() => {
    const tiles = window.watchedTiles = {};
    const watched = new WeakSet();
    const pictures = (video, tile) => {
        let last;
        const shown = (at, {rtpTimestamp}) => {
            // The end of a stream is told like a picture.
            if (rtpTimestamp !== undefined && rtpTimestamp !== last) {
                tile.pictures += 1;
                tile.pictureAt = at;
            }
            last = rtpTimestamp;
            video.requestVideoFrameCallback(shown);
        };
        video.requestVideoFrameCallback(shown);
    };
    const look = (at) => {
        for (const element of document.querySelectorAll('.tile')) {
            const { camera, kind } = element.dataset;
            if (!watched.has(element)) {
                watched.add(element);
                tiles[camera] = {changes: [], pictures: 0, pictureAt: 0};
                pictures(element.querySelector('video'), tiles[camera]);
            }
            const tile = tiles[camera];
            const veil = element.querySelector('.veil');
            const veiled = veil.checkVisibility();
            const title = veiled ? veil.querySelector('.veil-title').textContent : '';
            const last = tile.changes.at(-1);
            if (last?.kind === kind && last.veiled === veiled && last.title === title) continue;
            tile.changes.push({at, kind, veiled, title, pictureAt: tile.pictureAt, pictures: tile.pictures});
        }
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
})();"""


@dataclass(frozen=True, slots=True)
class Change:
    """From then on a tile says this; times in ms of the page's clock."""

    at: float
    kind: str
    veiled: bool
    title: str
    picture_at: float
    "When its last picture was shown."
    pictures: int
    "So many had been shown."


class TilesPage(ViewerPage):
    """A viewer page whose tiles are watched."""

    async def now(self) -> float:
        """The page's clock, in ms."""
        return float(await self.page.evaluate("performance.now()"))

    async def changes(self, camera: str, since: float = 0.0) -> list[Change]:
        """What a tile has said from a time of the page's clock on."""
        found = await self.page.evaluate("(camera) => window.watchedTiles[camera].changes", camera)
        return [
            Change(
                each["at"], each["kind"], each["veiled"], each["title"], each["pictureAt"], each["pictures"]
            )
            for each in found
            if each["at"] >= since
        ]

    async def pictures(self, camera: str) -> int:
        """How many a tile has shown."""
        return int(await self.page.evaluate("(camera) => window.watchedTiles[camera].pictures", camera))


async def open_tiles(browser: Browser, url: str, *scripts: str) -> TilesPage:
    """The wall in a tab of its own; the scripts run before those of the page."""
    page = await browser.new_page(viewport={"width": 1200, "height": 800})
    for script in (*scripts, _WATCH):
        await page.add_init_script(script)
    viewer = TilesPage(page)
    await page.goto(url)
    return viewer
