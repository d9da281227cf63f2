"""Look through the built site for dead links and for anything it would load from another host.

python docs/_check_site.py site
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# what a browser fetches by itself, as against links that a reader may follow
_LOADING = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src")}
_CSS_LOAD = re.compile(r"(?:@import|url\()\s*[\"']?([^\"')\s]+)")
_NOT_LOADED = {"canonical", "search", "index", "next", "prev", "author"}  # of <link rel=>


class _Page(HTMLParser):
    """The links, the anchors and the loads of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag points to."""
        values = {name: value or "" for name, value in attrs}
        self.anchors.update(values[name] for name in ("id", "name") if name in values)
        for name in ("href", "src"):
            if name in values:
                self.links.append(values[name])
                followed = tag == "link" and values.get("rel") in _NOT_LOADED
                if (tag, name) in _LOADING and not followed:
                    self.loads.append(values[name])


def faults(site: Path) -> list[str]:
    """What is wrong with a built site, a line each."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    loads = [(path, url) for path, page in pages.items() for url in page.loads]
    for path in site.rglob("*.css"):
        loads += [(path, url) for url in _CSS_LOAD.findall(path.read_text(encoding="utf-8"))]
    dead = [(path, _dead(path, link, pages)) for path, page in pages.items() for link in page.links]
    return [
        *(f"{path.relative_to(site)} loads {url}" for path, url in loads if urlsplit(url).netloc),
        *(f"{path.relative_to(site)}: {fault}" for path, fault in dead if fault),
    ]


def _dead(path: Path, link: str, pages: dict[Path, _Page]) -> str:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return ""
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        return f"{link} leads nowhere"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].anchors:
        return f"{link}: there is no such place on that page"
    return ""


if __name__ == "__main__":
    wrong = faults(Path(sys.argv[1]).resolve())
    print("\n".join(wrong) or "no dead link, nothing from another host")
    sys.exit(bool(wrong))
