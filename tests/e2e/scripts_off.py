"""What pages are where no script runs: all that they have to say, and nothing that only a script could do."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.browser import Browser

# What is shown and leads nowhere: a button or field of no form, a button that sends nothing, a link without an address,
# or within the page to nothing. The driver's own scripts run all the same.
_DEAD = """
    const shown = [...document.querySelectorAll("button, input, select, textarea, a")]
      .filter((one) => one.checkVisibility());
    const isDead = (one) => {
      if (one.tagName === "A") {
        const place = one.getAttribute("href") ?? "";
        return place === "" || place === "#" || place.startsWith("javascript:")
          || (place.startsWith("#") && document.getElementById(place.slice(1)) === null);
      }
      return one.form === null || (one.tagName === "BUTTON" && one.type !== "submit");
    };
    return shown.filter(isDead).map((one) => one.outerHTML.slice(0, 120));
"""
_SAID = "return document.querySelector('main').innerText.trim()"
_TITLE = "const title = document.querySelector('main h1'); return title !== null && title.checkVisibility()"


def faults_of(
    browser: Browser, place: str, pictures: Path, name: str, widths: tuple[int, ...] = (320, 390)
) -> list[str]:
    """Open a page in both languages on small screens; tells what is wrong with it.

    Args:
        browser: one that runs no scripts.
        place: address of the page.
        pictures: folder.
        name: of the pictures.
        widths: of the screens.
    """
    found, said = [], []
    for language in ("zh", "en"):
        browser.open(f"{place}{'&' if '?' in place else '?'}lang={language}")
        said.append(browser.script(_SAID))
        if not browser.script(_TITLE):
            found.append(f"{place} {language} has no heading")
        found += [f"{place} {language} does nothing: {one}" for one in browser.script(_DEAD)]
        for width in widths:
            browser.resize(width, 844)
            browser.picture(pictures / f"plain-{name}-{language}-{width}.png")
            if browser.script("return document.documentElement.scrollWidth") > width:
                found.append(f"{place} {language} is wider than {width}")
    if said[0] == said[1]:
        found.append(f"{place} says the same in both languages")
    return found
