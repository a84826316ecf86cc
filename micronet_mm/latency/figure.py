"""The right half of the paper's figure 5: published top-1 over the latency that was measured here.

MicroNets stand at the latency of their export, other networks, which have nothing to be exported better, at that of
their plain trace; both once more in OpenVINO where that was measured.
"""
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from micronet_mm.analysis.figure_drawing import GREY, SETTINGS, STYLES, new_figure

from .networks import CLASSIFIERS, FAMILIES

RUNTIMES = {'ONNX Runtime': {'MicroNet': 'export', 'MicroNet#': 'export'}, 'OpenVINO': {}}
DEFAULTS = {'ONNX Runtime': 'plain trace', 'OpenVINO': 'openvino'}


class Timed(NamedTuple):
    """A network in a plane of latency and accuracy: milliseconds, and top-1 in percent as published."""
    label: str
    ms: float
    top1: float


Curves = dict[str, list[Timed]]


def latency_curves(found: Sequence[dict[str, Any]]) -> dict[str, Curves]:
    """Runtime -> family -> its networks, the worst first; networks of no family come as 'others'.

    Args:
        found: from :func:`.report.records`. A runtime that none of them ran in is left out.
    """
    known = {network.name: network for network in CLASSIFIERS}
    runtimes: dict[str, Curves] = {}
    for runtime, forms in RUNTIMES.items():
        curves: Curves = {}
        for record in found:
            network = known.get(record['network'])
            if network and network.top1 and record['form'] == forms.get(network.family, DEFAULTS[runtime]):
                point = Timed(network.label, record['median_ms'], network.top1)
                curves.setdefault(network.family or 'others', []).append(point)
        if curves:
            runtimes[runtime] = {family: sorted(points, key=lambda point: point.top1)
                                 for family, points in curves.items()}
    return runtimes


def latency_figure(runtimes: dict[str, Curves]) -> Figure:
    """A panel for each runtime, on the same axes; from :func:`latency_curves`."""
    if not runtimes:
        raise ValueError('nothing was measured that the picture shows: --forms export and plain trace, or openvino.')
    with matplotlib.rc_context(SETTINGS):
        figure, panels = new_figure(4.7, len(runtimes), sharex=True, sharey=True)
        for axes, (runtime, curves) in zip(panels, runtimes.items()):
            draw(axes, curves)
            axes.set(title=runtime, xlabel='ms per image at 224 x 224, one thread')
            axes.title.set_fontsize(9.5)
        panels[0].set(ylabel='ImageNet top-1 in %, as published', xlim=(0, None))
        panels[-1].legend(loc='lower right')
    return figure


def draw(axes: Axes, curves: Curves) -> None:
    for family in reversed(FAMILIES):
        points = curves.get(family, [])
        if points:
            axes.plot([point.ms for point in points], [point.top1 for point in points], **STYLES[family], markersize=7,
                      linewidth=1.8, label=family)
        for point in points:
            name(axes, point, STYLES[family]['color'], *PLACES[family])
    for point in curves.get('others', []):
        axes.plot(point.ms, point.top1, 'D', color=GREY, markerfacecolor='white', markersize=6)
        name(axes, point, GREY, (7, -3), 'left')


PLACES = {'MicroNet': ((-2, 8), 'right'), 'MicroNet#': ((7, -11), 'left'), 'MobileNetV3-Small': ((-7, 5), 'right')}


def name(axes: Axes, point: Timed, color: str, offset: tuple[float, float], align: str) -> None:
    axes.annotate(point.label, (point.ms, point.top1), offset, textcoords='offset points', color=color, ha=align,
                  fontsize=8)
