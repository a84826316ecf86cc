"""What was measured, as records, as a table and with the machine that it was measured on."""
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Optional

from micronet_mm.latency.variants import FORMS, Contender

from .networks import Network
from .timing import median_ms, quartiles_ms

Record = dict[str, Any]
PACKAGES = ('micronet-mm', 'torch', 'onnx', 'onnxruntime', 'openvino', 'timm')
IN_ONNXRUNTIME = ('plain trace', 'export')
FLAGS = ('avx2', 'fma', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_tile')


def machine() -> Record:
    """The processor, what of its instruction sets matters here, and the versions of what ran."""
    cpu, flags = platform.processor() or platform.machine(), set()
    info = Path('/proc/cpuinfo')
    if info.is_file():
        lines = dict(line.split(':', 1) for line in info.read_text().splitlines() if ':' in line)
        entries = {key.strip(): value.strip() for key, value in lines.items()}
        cpu, flags = entries.get('model name', cpu), set(entries.get('flags', '').split())
    return dict(cpu=cpu, flags=[flag for flag in FLAGS if flag in flags], cores=os.cpu_count(),
                python=platform.python_version(), **{name: found for name in PACKAGES if (found := installed(name))})


def installed(package: str) -> Optional[str]:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def records(contenders: Sequence[Contender], networks: Sequence[Network], batch: int, threads: int) -> list[Record]:
    """A record for each contender, in the order of ``networks``.

    ``of_baseline`` is its median over that of the network's baseline in the same form, of native code over the faster
    one in ONNX Runtime; ``of_plain_trace`` and ``of_export`` over that of the same network in those forms. None where
    that was not measured.
    """
    medians = {(contender.network, contender.form): median_ms(contender) for contender in contenders}
    found = []

    def of_baseline(network: Network, form: str) -> Optional[float]:
        names = IN_ONNXRUNTIME if form.startswith('native') else (form, )
        return min((medians[network.baseline, name] for name in names if (network.baseline, name) in medians),
                   default=None)

    for network in networks:
        for contender in contenders:
            if contender.network != network.name:
                continue
            ms = medians[network.name, contender.form]
            low, high = quartiles_ms(contender)
            found.append(dict(
                network=network.name, title=network.title, form=contender.form, batch=batch, threads=threads,
                median_ms=ms, quartiles_ms=[low, high], images_per_second=1000 * batch / ms,
                passes=len(contender.times), nodes=contender.nodes and list(contender.nodes),
                of_baseline=ratio(ms, of_baseline(network, contender.form)),
                of_plain_trace=ratio(ms, medians.get((network.name, 'plain trace'))),
                of_export=ratio(ms, medians.get((network.name, 'export'))),
                top1=network.top1, top1_source=network.source if network.top1 else None))
    return found


def ratio(ms: float, other: Optional[float]) -> Optional[float]:
    return None if other is None else ms / other


def table(found: Sequence[Record], throughput: bool = False) -> str:
    """The records of one batch and number of threads as Markdown, a line for each network.

    Of each form: median milliseconds, or images per second if asked for; in brackets the time over the baseline's, as
    in :func:`records`. Nodes are those of the file, and what the runtime makes of them.
    """
    forms = list(dict.fromkeys(record['form'] for form in FORMS for record in found if record['form'] == form))
    counted = [form for form in ('plain trace', 'export') if form in forms]
    # What is set against what, where both were measured.
    compared = [pair for pair in (('export', 'plain trace'), ('native', 'export')) if {*pair} <= {*forms}]
    head = ['network', 'top-1', *forms, *(f'{of}, of {other}' for of, other in compared),
            *(f'nodes, {form}' for form in counted)]
    lines = [head, ['---'] * len(head)]
    for title in dict.fromkeys(record['title'] for record in found):
        of = {record['form']: record for record in found if record['title'] == title}
        top1 = next(iter(of.values()))['top1']
        ratios = [of.get(form, {}).get(f'of_{other.replace(" ", "_")}') for form, other in compared]
        lines.append([title, f'{top1:g}' if top1 else '-', *(cell(of.get(form), throughput) for form in forms),
                      *(f'{each:.2f}x' if each else '-' for each in ratios),
                      *(' to '.join(map(str, of[form]['nodes'])) if form in of else '-' for form in counted)])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def cell(record: Optional[Record], throughput: bool) -> str:
    if record is None:
        return '-'
    value = f'{record["images_per_second"]:.0f}' if throughput else f'{record["median_ms"]:.2f}'
    against = record['of_baseline']
    return value if against is None else f'{value} ({against:.2f}x)'
