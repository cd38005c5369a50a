"""Takes a picture of the page of a running server: `python scripts/screenshot.py OUT.png --url URL --key KEY`."""

import argparse
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def main() -> int:
    """Render one view, once it has stopped changing, into a PNG."""
    given = _arguments()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(
            viewport={"width": given.width, "height": given.height},
            color_scheme="dark" if given.dark else "light",
            device_scale_factor=given.scale,
        )
        url = given.url.rstrip("/")
        if given.key:
            page.request.post(f"{url}/v1/session", data={"key": given.key}, headers={"origin": _origin(url)})
        page.goto(f"{url}/#{given.path}")
        page.locator("main.view table, main.view header.job, main.view .empty, main.login").first.wait_for()
        page.wait_for_timeout(given.settle * 1000)
        page.screenshot(path=given.out, full_page=given.full)
        browser.close()
    print(given.out)
    return 0


def _origin(url: str) -> str:
    """What a page of this server would send."""
    return "://".join(urlsplit(url)[:2])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the PNG to write")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server")
    parser.add_argument("--key", default="", help="an API key; without one the sign-in form is shown")
    parser.add_argument("--path", default="/jobs", help="the view, e.g. '/jobs/ftjob-01?tab=samples'")
    parser.add_argument("--width", type=int, default=1280, help="CSS pixels")
    parser.add_argument("--height", type=int, default=800, help="CSS pixels")
    parser.add_argument("--scale", type=float, default=1.0, help="device pixels per CSS pixel")
    parser.add_argument("--settle", type=float, default=1.0, help="seconds for charts and lists to fill")
    parser.add_argument("--dark", action="store_true", help="as seen by those who prefer dark")
    parser.add_argument("--full", action="store_true", help="the whole page, not only what fits the window")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
