"""People's text in figures: what Matplotlib would take for mathematics, for a hidden label or draw as a box is written so that it can be read."""

import functools
import unicodedata

MAX_LETTERS = 32  # of a label; the middle of a longer one is left out
# Families with the letters that Matplotlib's own fonts lack; those that are installed are used.
_FALLBACK_FAMILIES = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans CJK TC", "Source Han Sans SC", "Source Han Sans",
    "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans GB", "Hiragino Sans",
    "Apple SD Gothic Neo", "Heiti TC", "Arial Unicode MS", "Microsoft YaHei", "SimHei", "Yu Gothic", "Meiryo", "Malgun Gothic",
    "Nirmala UI", "Leelawadee UI", "Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Thai", "Lohit Devanagari",
    "Noto Emoji", "Segoe UI Emoji", "Segoe UI Symbol", "Symbola", "Noto Sans Symbols2", "Noto Sans Symbols", "FreeSans", "Unifont",
)  # fmt: skip


def label_text(text, max_letters=MAX_LETTERS):
    """Text as figures show it.

    ``$`` is a dollar and not the begin of a formula, a leading ``_`` does not hide the label from legends, white space is one space,
    characters that no installed font has are written as ``U+5C16``, and the middle of a long text is left out.

    Args:
        text: a label, a name of a file, an id; converted to str.
        max_letters: of the text.
    """
    text = " ".join("".join(map(_visible, str(text))).split())
    if len(text) > max_letters:
        n_last = (max_letters - 1) // 3
        text = f"{text[: max_letters - 1 - n_last]}\N{HORIZONTAL ELLIPSIS}{text[len(text) - n_last :]}"
    if not text.isascii():
        text = "".join(letter if _has_glyph(letter) else f"U+{ord(letter):04X}" for letter in text)
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def label_texts(texts):
    """``label_text`` of each."""
    return [label_text(text) for text in texts]


def use_fallback_fonts():
    """Let Matplotlib take letters that its font lacks from other installed fonts, in the figures made from now on."""
    import matplotlib.pyplot as plt

    families = plt.rcParams["font.family"]
    plt.rcParams["font.family"] = [*families, *(name for name in _installed() if name not in families)]


def _visible(letter):
    """A space for control characters, nothing for marks of direction and joiners, an escape for bytes that are no text."""
    category = unicodedata.category(letter)
    if category == "Cs":
        return f"\\x{ord(letter) & 0xFF:02x}"
    return {"Cc": " ", "Cf": ""}.get(category, "" if "\ufe00" <= letter <= "\ufe0f" else letter)


@functools.cache
def _installed():
    """Those of the fallback families that are installed."""
    from matplotlib import font_manager

    found = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(name for name in _FALLBACK_FAMILIES if name in found)


def _has_glyph(letter):
    import matplotlib.pyplot as plt

    families = [*plt.rcParams["font.family"], *_installed()]
    return any(ord(letter) in _code_points(family) for family in families)


@functools.cache
def _code_points(family):
    """Code points of the glyphs of a font family."""
    from matplotlib import font_manager

    properties = font_manager.FontProperties(family=[family])
    return frozenset(font_manager.get_font(font_manager.findfont(properties)).get_charmap())
