"""Sphinx's configuration; `make docs` builds the site, a warning ends the build."""

from typing import Any

from classicnets import __version__

project = "classicnets"
author = "The classicnets developers"
project_copyright = "2026, the classicnets developers"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_*", "_*/**"]

myst_enable_extensions = ["attrs_block"]
myst_heading_anchors = 3
default_role = "code"  # what stands in single backticks in a docstring

napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Shape"]
napoleon_use_ivar = True  # attributes as one list
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
add_module_names = False

html_theme = "furo"
html_title = f"classicnets {release}"
html_static_path = ["_static"]
html_favicon = "_static/icon.svg"
html_css_files = ["site.css"]
html_extra_path = ["_generated/extra"]  # the drawing page, by _build_draw.py
html_copy_source = False
html_show_sourcelink = False
pygments_dark_style = "github-dark"  # furo's own underlines modules, as if they were links
_light = {
    "drawing-fill": "#dbe7f3",
    "drawing-shade": "#b9cfe6",
    "drawing-line": "#2a5d8f",
    "drawing-ray": "#a8480f",
    "color-brand-primary": "#1f5a94",
    "color-brand-content": "#1f5a94",
}
_dark = {
    "drawing-fill": "#22364a",
    "drawing-shade": "#2f5070",
    "drawing-line": "#8bb8e0",
    "drawing-ray": "#f0a06a",
    "color-brand-primary": "#8bb8e0",
    "color-brand-content": "#8bb8e0",
}
html_theme_options = {"light_css_variables": _light, "dark_css_variables": _dark}


def _no_arguments(*event: Any) -> tuple[str, Any] | None:
    """What a protocol is made with: nothing a reader may give."""
    *_, signature, returned = event
    return ("", returned) if signature == "(*args, **kwargs)" else None


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", _no_arguments)
