"""The site of ``make docs``: the pages of this folder, README.md as its front, and the API out of the docstrings.

Nothing is fetched, neither when the site is built nor when it is read: system fonts, and MathML for formulas.
"""
import re
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

import micronet_mm

HERE = Path(__file__).parent
project = 'micronet-mm'
release = micronet_mm.__version__
html_title = 'micronet-mm'
html_show_copyright = False
html_theme = 'furo'
html_static_path, html_css_files = ['_static'], ['site.css']
pygments_style, pygments_dark_style = 'friendly', 'native'
highlight_language = 'sh'  # of indented blocks; Python's are fenced
html_copy_source = html_show_sourcelink = False

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode']
myst_heading_anchors = 4  # links to headings as on GitHub
myst_enable_extensions = ['dollarmath']

nitpicky = True  # a name in a docstring that leads nowhere is a mistake
nitpick_ignore_regex = [  # what is documented elsewhere, and bases that are nobody's interface
    ('py:.*', r'(torch|mmengine|mmcv|mmdet|mmpose|mmpretrain|_pickle)\..*'),
    ('py:class', r'micronet_(mm|runtime)\..*\.(Deployable|Predictor|Result|ScriptableModule|UpsamplingHeatmapHead)'),
]

autodoc_member_order = 'bysource'
autodoc_inherit_docstrings = False
autodoc_typehints = 'none'  # signatures stand at the top, shapes and meaning in the docstrings
autodoc_default_options = {'members': True, 'show-inheritance': True, 'exclude-members': 'forward, deferred'}
napoleon_custom_sections = ['Shapes']
napoleon_use_rtype = False


def inline_math(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def display_math(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def title_links(app: Sphinx, page: str, source: list[str]) -> None:
    """On GitHub a link from page to page shows the file's name, here the title."""
    def title(link: re.Match) -> str:
        return '[' + (HERE / link[1]).read_text().partition('\n')[0].removeprefix('# ') + ']('

    source[0] = re.sub(r'\[(\w+\.md)\]\(', title, source[0])


def setup(app: Sphinx) -> None:
    app.connect('source-read', title_links)
    app.add_html_math_renderer('mathml', (inline_math, None), (display_math, None))


html_math_renderer = 'mathml'
