"""A hook of MkDocs: formulas become MathML, which browsers draw by themselves, without scripts from elsewhere."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

# What pymdownx.arithmatex makes of $…$ and $$…$$.
_INLINE = re.compile(r'<span class="arithmatex">\\\((.+?)\\\)</span>', re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.+?)\\\]\s*</div>', re.DOTALL)


def on_page_content(text: str, **context: Any) -> str:
    """Replace the formulas of a page."""
    text = _BLOCK.sub(lambda match: convert(html.unescape(match[1]), display="block"), text)
    return _INLINE.sub(lambda match: convert(html.unescape(match[1])), text)
