"""Self-contained pages: one HTML file that opens offline, from a mail too.

A page has a head (title, answer, pictures) and sections. The sections are tabs where scripts run and follow each other where they do not,
as in the preview of a mail and in print. Everything is in the file: styles, scripts, pictures and sounds as data URIs; a content security
policy forbids every request and every script but the page's own, which it names by their digests. Text is escaped by Jinja2; parts that are
HTML are ``markupsafe.Markup``, which the functions here return.
"""

import base64
import hashlib
import html
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from birdlib import runtime

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Section:
    """A tab of a page: an id for links (letters, digits and ``-``), the title, the HTML (``Markup``) and a number beside the title."""

    id: str
    title: str
    body: str
    badge: str = ""


def render(title, sections, *, subtitle="", lead="", footer="", styles=(), scripts=()):
    """The whole page as text.

    Args:
        title: of the page.
        sections: ``Section``s in the order of the story.
        subtitle: one line under the title.
        lead: HTML (``Markup``) above the tabs, which is always seen.
        footer: a line at the end.
        styles, scripts: names of further files of ``reports/static``, e.g. ``"player.css"``.
    """
    has_charts = any("data-chart=" in part for part in (lead, *(section.body for section in sections)))
    scripts = [*([_bokeh()] if has_charts else []), *(static(name) for name in ("page.js", *scripts))]
    return _template("page.html").render(
        title=title,
        subtitle=subtitle,
        lead=lead,
        footer=footer,
        sections=[section for section in sections if section.body],
        styles=[static(name) for name in ("page.css", *styles)],
        scripts=scripts,
        script_digests=markup(" ".join(map(_script_digest, scripts))),
    )


def write(path, text):
    """Write a page under a temporary name and rename it."""
    with runtime.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")
    return Path(path)


def section(section_id, title, make, *arguments, badge=""):
    """The section that ``make(*arguments)`` returns the HTML of; where it fails, the section says so and the page goes on.

    Returns:
        a ``Section``; its body is empty where ``make`` has nothing to show, and ``render`` leaves it out.
    """
    return Section(section_id, title, part(title, make, *arguments), badge)


def part(title, make, *arguments):
    """The HTML that ``make(*arguments)`` returns, or a remark with the reason where it fails; ``title`` is named on stderr."""
    try:
        return make(*arguments) or markup("")
    except Exception as error:  # files of another version, or damaged ones: whatever is wrong, the other parts are worth showing
        print(f"report: {title} cannot be shown: {type(error).__name__}: {error}", file=sys.stderr)
        if isinstance(error, runtime.BirdlibError):
            return note(f"{title} cannot be shown: {error}.", "warning")
        reason = f"{type(error).__name__}: {error}"
        return note(f"{title} cannot be shown: its files are damaged or of another version of birdlib ({reason}). Run the stage again.", "warning")


def markup(text):
    """Text that is HTML already."""
    from markupsafe import Markup

    return Markup(text)


def join(*parts):
    """Parts of HTML one after the other; text among them is escaped, None is left out."""
    from markupsafe import escape

    return markup("").join(escape(part) for part in parts if part is not None)


def element(tag, *parts, **attributes):
    """An HTML element: ``element("p", "a < b", class_="note")``; attributes that are None or False are left out, True has no value."""
    written = "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in ("img", "input", "br", "hr"):
        return markup(f"<{tag}{written}>")
    return markup(f"<{tag}{written}>") + join(*parts) + markup(f"</{tag}>")


def paragraph(*sentences, class_=None):
    """A paragraph of sentences; empty ones are left out."""
    sentences = [sentence for sentence in sentences if sentence]
    return element("p", markup(" ").join(sentences) if sentences else "", class_=class_) if sentences else markup("")


def heading(text):
    """A heading inside a section."""
    return element("h3", text)


def note(text, kind="info"):
    """A remark set apart; ``kind`` is "info" or "warning"."""
    return element("p", text, class_=f"note {kind}", role="note")


def figure(content, caption="", class_=""):
    """Content with a caption under it that says what to see in it."""
    return element("figure", content, element("figcaption", caption) if caption else None, class_=class_ or None)


def picture(data, alt, mime="image/jpeg", **attributes):
    """An ``img`` with its data inside.

    Args:
        data: bytes of the picture.
        alt: what is seen in it, for those who do not see it.
    """
    return element("img", src=data_uri(data, mime), alt=alt, **attributes)


def cards(items):
    """Key figures side by side.

    Args:
        items: (figure, what it is, a remark or "") of each; an interval in brackets behind a figure is written smaller.
    """
    shown = [
        element("li", element("b", *_figure(value)), element("span", label), element("small", remark) if remark else None)
        for value, label, remark in items
    ]
    return element("ul", *shown, class_="cards") if shown else markup("")


def _figure(value):
    figure, bracket, interval_text = str(value).partition(" [")
    return (figure, " ", element("i", f"[{interval_text}")) if bracket else (figure,)


def details(summary, *parts, is_open=False):
    """Parts that are shown when the summary is opened."""
    return element("details", element("summary", summary), *parts, open=is_open)


def data_uri(data, mime):
    """Bytes of a file as a ``data:`` address, which needs no file beside the page.

    Args:
        data: bytes.
        mime: their type, such as "image/webp".
    """
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def script_data(value, element_id):
    """A value as JSON inside the page, for scripts: ``JSON.parse(document.getElementById(element_id).textContent)``.

    ``<`` is written as an escape, so that no text can end the element.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")
    return markup(f'<script type="application/json" id="{html.escape(element_id)}">{text}</script>')


def static(name):
    """Text of a file of ``reports/static``, for a ``style`` or ``script`` element."""
    return markup((_HERE / "static" / name).read_text(encoding="utf-8"))


def _script_digest(script):
    """How a content security policy names a script: the digest of the text between its tags."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _template(name):
    import jinja2

    loader = jinja2.FileSystemLoader(_HERE / "templates")
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template(name)


def _bokeh():
    from bokeh.resources import Resources

    return markup("\n".join(Resources(mode="inline", components=["bokeh"], minified=True, log_level="warn").js_raw))
