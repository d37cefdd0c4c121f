"""Takes the picture of docs/report.md: `python docs/report_picture.py REPORT.html`.

Needs the extra `browser` and Chromium on the path. The report has at least two evaluations.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

OUT = Path(__file__).resolve().parent / "images" / "report.png"


def main(report: Path) -> None:
    """Shows one task as the second run and the first solved it, side by side."""
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(report.resolve().as_uri())
        page.select_option("[name=run]", "1")
        page.locator("#list button").nth(1).click()
        page.select_option("#compare", index=1)
        page.get_by_role("tab", name="2 ").first.click()
        page.locator("#episodes img").last.wait_for()
        page.locator("#episodes").screenshot(path=OUT)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
