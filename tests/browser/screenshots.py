# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the pictures of the report in docs/images.

They were made with Debian's fonts-inter and fonts-jetbrains-mono installed; without them they show another font.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from browser import sample
from playwright.sync_api import sync_playwright

from ansible_collections.selfhost.appwrite.plugins.plugin_utils._audit_report.page import page

IMAGES = Path(__file__).parents[2] / "docs" / "images"
VIEWS = {  # to the width, the height, the scheme, and what of the page
    "light": (1280, 1440, "light", ""),
    "dark": (1280, 930, "dark", "#severity=critical,high&status=fail,waived"),
    "narrow": (400, 1500, "light", ""),
}


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        path = Path(directory, "report.html")
        path.write_text(page(*sample.fleet()), "utf-8")
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--disable-gpu"])
        for name, (width, height, scheme, address) in VIEWS.items():
            found = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=1.5
            )
            found.goto(path.as_uri() + address)
            found.screenshot(path=IMAGES / f"audit-report-{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
