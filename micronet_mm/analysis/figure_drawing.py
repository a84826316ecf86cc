"""Draws what :mod:`.figures` and :mod:`.block_diagrams` compute: a matplotlib Figure each, no pyplot.

Text is plain Unicode and stays text in the SVG, which is a quarter of the size of outlines; there is room for fonts
other than the one measured here, which is a wide one.
"""
from collections.abc import Sequence
from io import BytesIO

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.markers import CARETDOWN, CARETUP
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import NullLocator, ScalarFormatter

from .block_diagrams import Box, Diagram
from .figures import LARGER_BASELINE, PRIOR, GroupConv, Point, TradeOff, gains

# Okabe and Ito's colours, told apart by colour-blind people; shapes tell families apart once more.
BLUE, ORANGE, GREEN, PURPLE, GREY = '#0072B2', '#D55E00', '#009E73', '#CC79A7', '#595959'
STYLES = {
    'MicroNet': dict(color=BLUE, marker='o', linestyle='-'),
    'MicroNet#': dict(color=GREEN, marker='s', linestyle='--'),
    'MobileNetV3-Small': dict(color=ORANGE, marker='^', linestyle='-'),
}
FILLS = {'Micro-factorized depthwise': '#CFE8F7', 'Group convolution': '#FBE3B5', 'Channel shuffle': '#FFFFFF'}
ACTIVATION_FILL = '#D3EFE4'
SETTINGS = {
    'font.family': 'sans-serif', 'font.sans-serif': ['DejaVu Sans', 'Arial'], 'font.size': 9.5, 'axes.grid': True,
    'axes.spines.top': False, 'axes.spines.right': False, 'grid.color': '#E5E5E5', 'axes.axisbelow': True,
    'legend.frameon': False, 'svg.fonttype': 'none', 'svg.hashsalt': 'micronet',
}
WIDTH = 7.2  # inches; 690 pixels in a browser


def svg(figure: Figure) -> bytes:
    """The picture as SVG, the same bytes every time that the same version of matplotlib draws it."""
    buffer = BytesIO()
    with matplotlib.rc_context(SETTINGS):
        figure.savefig(buffer, format='svg', metadata={'Date': None})
    return buffer.getvalue()


def new_figure(height: float, columns: int = 1, **kwargs: Sequence[float]) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(WIDTH, height), facecolor='white', layout='constrained')
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns, squeeze=False, **kwargs)[0]


def draw_points(axes: Axes, family: str, points: Sequence[Point], remark: str = '') -> None:
    """A family's curve at our cost; a thin line leads to the paper's cost where the two differ."""
    style = STYLES[family]
    for point in points:
        axes.plot([point.madds, point.paper_madds], [point.accuracy] * 2, color=style['color'], linewidth=0.8)
        axes.plot(point.paper_madds, point.accuracy, style['marker'], color=style['color'], markerfacecolor='white',
                  markersize=6)
    axes.plot([point.madds for point in points], [point.accuracy for point in points], **style, markersize=7,
              linewidth=1.8, label=family + remark)


def name_point(axes: Axes, point: Point, text: str, offset: tuple[float, float], **kwargs: str) -> None:
    """Text beside a point, ``offset`` in typographic points away."""
    axes.annotate(text, (point.madds or point.paper_madds, point.accuracy), offset, textcoords='offset points',
                  **kwargs)


def label_axes(axes: Axes, log: bool) -> None:
    axes.set(xlabel=f'multiply-adds at 224 x 224, in millions{" (logarithmic)" if log else ""}',
             ylabel="ImageNet top-1 in % (the paper's)")
    axes.plot([], [], 'D', color=GREY, markerfacecolor='white', markersize=6, label='open: cost as the paper prints it')


def figure_1(curves: dict[str, list[Point]]) -> Figure:
    """MicroNet and MobileNetV3-Small, top-1 over cost; from :func:`.figures.accuracy_curves`."""
    with matplotlib.rc_context(SETTINGS):
        figure, (axes, ) = new_figure(4.2)
        micronets, baselines = curves['MicroNet'], curves['MobileNetV3-Small']
        draw_points(axes, 'MobileNetV3-Small', baselines)
        draw_points(axes, 'MicroNet', micronets, ' (in brackets: gain over its baseline)')
        last, color = baselines[-1], STYLES['MobileNetV3-Small']['color']
        axes.plot([last.madds, LARGER_BASELINE.paper_madds], [last.accuracy, LARGER_BASELINE.accuracy], ':',
                  color=color)
        axes.plot(LARGER_BASELINE.paper_madds, LARGER_BASELINE.accuracy, '^', color=color, markerfacecolor='white')
        for point, gain in zip(micronets, gains(curves)):
            name_point(axes, point, f'{point.label}  {point.accuracy} ({gain:+})', (-6, 8), color=BLUE, ha='right')
        for point in (*baselines, LARGER_BASELINE):
            name_point(axes, point, f'{point.label}  {point.accuracy}', (7, -13), color=color)
        axes.set(xscale='log', xlim=(2.1, 72), ylim=(30, 69))
        axes.set_xticks([3, 4, 6, 8, 12, 20, 30, 44], minor=False)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
        label_axes(axes, log=True)
        axes.legend(loc='lower right')
    return figure


def figure_3(trade: TradeOff, convs: Sequence[GroupConv]) -> Figure:
    """Channels and connectivity over groups at a fixed cost; beside it the networks' own group numbers."""
    with matplotlib.rc_context(SETTINGS):
        figure, (left, right) = new_figure(3.7, 2)
        groups = [2**(step / 8) for step in range(41)]
        best, crossing = trade.crossing
        left.plot(groups, [trade.channels(g) for g in groups], color=BLUE, linewidth=2)
        left.plot(groups, [trade.connectivity(g) for g in groups], '--', color=ORANGE, linewidth=2)
        left.plot(best, crossing, 'o', color='black')
        left.annotate(f'C = E = {crossing:.0f}\nat G = √(C/R) = {best:.0f}', (best, crossing), (0, 42), ha='center',
                      textcoords='offset points', arrowprops=dict(arrowstyle='-', color=GREY, shrinkB=4))
        left.text(1.1, trade.channels(1.1) * 0.62, 'channels C\n= √(ORG/2)', color=BLUE, va='top')
        left.text(1.9, trade.connectivity(1.9) * 1.06, 'connectivity E\n= O/(2G)', color=ORANGE)
        left.set(xscale='log', yscale='log', xlabel='number of groups G', xlim=(0.95, 34), ylim=(45, 5000),
                 title=f'one layer at O = {trade.budget:.0f}, R = {trade.reduction:g}')
        plain_ticks(left, [1, 2, 4, 8, 16, 32], [64, 128, 256, 512, 1024, 2048, 4096])

        widest = max(conv.narrow for conv in convs)
        narrow = [widest * step / 100 for step in range(1, 105)]
        right.plot(narrow, [c**0.5 for c in narrow], color='black', linewidth=1.2, label='G = √(C/R)')
        for expands, marker, color, text in ((True, CARETUP, GREEN, 'expanding'),
                                             (False, CARETDOWN, PURPLE, 'compressing')):
            places = sorted({(conv.narrow, conv.groups) for conv in convs if conv.expands == expands})
            right.plot(*zip(*places), marker=marker, linestyle='', color=color, markersize=9,
                       label=f'{text}: tip at (C/R, G)')
        right.set(xlabel='narrower side of the convolution, C/R', ylabel='number of groups G',
                  title='pointwise convolutions of M0 to M3', xlim=(0, 155), ylim=(0, 18))
        right.legend(loc='lower right')
        for axes in (left, right):
            axes.title.set_fontsize(9.5)
    return figure


def plain_ticks(axes: Axes, x: Sequence[int], y: Sequence[int]) -> None:
    """Ticks at these places, written as whole numbers, on axes that are logarithmic."""
    for axis, places in ((axes.xaxis, x), (axes.yaxis, y)):
        axis.set_ticks(places, labels=[str(place) for place in places])
        axis.set_minor_locator(NullLocator())


def figure_4(diagrams: Sequence[Diagram]) -> Figure:
    """The blocks side by side; from :func:`.block_diagrams.block_diagrams`."""
    with matplotlib.rc_context(SETTINGS):
        steps = max(len(drawn.boxes) for drawn in diagrams)
        figure, columns = new_figure(0.74 * steps + 1.1, len(diagrams))
        for axes, drawn, letter in zip(columns, diagrams, 'abcdefgh'):
            draw_block(axes, drawn, f'({letter}) {drawn.title}', steps)
    return figure


def shape_text(shape: tuple[int, int, int]) -> str:
    return ' x '.join(map(str, shape))


def draw_block(axes: Axes, drawn: Diagram, title: str, steps: int) -> None:
    """One block from top to bottom; a unit of height is one layer with the arrow into it."""
    axes.set(xlim=(0, 1), ylim=(-steps - 0.95, 0.7))
    axes.axis('off')
    axes.text(0.5, 0.57, title, ha='center', va='center', weight='bold', fontsize=10)
    axes.text(0.5, 0.18, f'input  {shape_text(drawn.shape)}', ha='center', va='center', fontsize=8.5)
    shape = drawn.shape
    for step, box in enumerate(drawn.boxes):
        draw_box(axes, box, -step, shape)
        shape = box.shape
    end = -len(drawn.boxes)
    if drawn.shortcut:
        axes.plot([0.5, 0.975, 0.975], [0, 0, end - 0.22], color=ORANGE, linewidth=1.8)
        arrow(axes, (0.975, end - 0.22), (0.535, end - 0.22), color=ORANGE, linewidth=1.8)
        arrow(axes, (0.5, end + 0.08), (0.5, end - 0.14))
        axes.text(0.5, end - 0.22, '+', ha='center', va='center', weight='bold', fontsize=12)
    arrow(axes, (0.5, end - 0.3 if drawn.shortcut else end + 0.08), (0.5, end - 0.6))
    axes.text(0.5, end - 0.76, f'output  {shape_text(shape)}', ha='center', va='center', fontsize=8.5)


def draw_box(axes: Axes, box: Box, top: float, given: tuple[int, int, int]) -> None:
    """A layer below ``top`` with the arrow into it: its name at the left, the shape it is given at the right."""
    arrow(axes, (0.5, top + 0.08), (0.5, top - 0.24))
    axes.text(0.035, top - 0.12, box.name, va='center', fontsize=7.5, style='italic', color=GREY)
    if top < 0:  # above the first layer it stands as the input
        axes.text(0.56, top - 0.08, shape_text(given), va='center', fontsize=7.5, color=GREY)
    axes.add_patch(FancyBboxPatch((0.03, top - 0.92), 0.9, 0.68, boxstyle='round,pad=0,rounding_size=0.03',
                                  mutation_aspect=2, facecolor=FILLS.get(box.title, ACTIVATION_FILL), edgecolor=GREY,
                                  linewidth=0.8))
    lines = [box.title, *box.details]
    for index, line in enumerate(lines):
        height = top - 0.585 + 0.19 * ((len(lines) - 1) / 2 - index)
        axes.text(0.48, height, line, ha='center', va='center', fontsize=8 if index == 0 else 7.5,
                  weight='bold' if index == 0 else 'normal')


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], **style: object) -> None:
    axes.annotate('', end, start, arrowprops=dict(arrowstyle='->', shrinkA=0, shrinkB=0, **style))


def figure_5(curves: dict[str, list[Point]]) -> Figure:
    """The left half: all families of :func:`.figures.accuracy_curves` and prior networks, top-1 over cost."""
    with matplotlib.rc_context(SETTINGS):
        figure, (axes, ) = new_figure(4.7)
        for family in ('MobileNetV3-Small', 'MicroNet#', 'MicroNet'):
            draw_points(axes, family, curves[family])
        for point in PRIOR:
            axes.plot(point.paper_madds, point.accuracy, 'D', color=GREY, markerfacecolor='white', markersize=6)
            name_point(axes, point, point.name.replace('+', '\n+'), (-6, 6), color=GREY)
        for family, offset, align in (('MicroNet', (-7, 6), 'right'), ('MicroNet#', (6, -13), 'left'),
                                      ('MobileNetV3-Small', (7, -12), 'left')):
            for point in curves[family]:
                name_point(axes, point, point.label, offset, color=STYLES[family]['color'], ha=align)
        axes.set(xlim=(2, 27), ylim=(32, 66))
        label_axes(axes, log=False)
        axes.legend(loc='lower right')
    return figure
