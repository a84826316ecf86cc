#!/usr/bin/env python
"""How long a forward pass takes, of MicroNet and its rivals, in every form that they can run in.

All take turns within one run, in short bursts of random order; medians and ratios are printed, since bare times vary
from run to run. Every export is compared with its network before it is timed. Forms and networks whose package is not
installed are left out and named. The baseline is MobileNetV3-Small 0.5x, of keypoint models that of Table 9.

    eager        PyTorch, the form that trains; with this package's C++ operators where they are compiled
    deploy       PyTorch, the deploy form
    plain trace  ONNX Runtime, the form that trains as anybody would trace it
    export       ONNX Runtime, what tools/export.py writes
    openvino     OpenVINO, the same file (of timm's networks the plain trace), in single precision
    int8         ONNX Runtime, the export quantized
    native       the deploy form by plans, in the C++ of this package
    native bf16  the same, weights of linear layers in bfloat16
    native int8  the same, weights of linear layers in int8

Accuracies in the picture are published ones; nothing here was trained on ImageNet.
"""
import argparse
import json
import warnings
from dataclasses import replace
from pathlib import Path

import _process  # noqa: F401

from micronet_mm.checkpoint.atomic import make_folder_of, write_text_atomically, written_atomically
from micronet_mm.engine.cli import one_line_errors
from micronet_mm.latency import networks
from micronet_mm.latency import variants as forms
from micronet_mm.latency.report import Record, machine, records, table
from micronet_mm.latency.timing import measure
from micronet_mm.validation import COUNT

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
CHOICES = {network.name: network for network in (*networks.CLASSIFIERS, *networks.MODELS)}
OF_MODELS = ('eager', 'plain trace', 'export', 'openvino', 'native')
THROUGHPUT = dict(batch=8, threads=(1, 2))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--networks', nargs='+', choices=CHOICES, metavar='NAME',
                        help=f'by default all classifiers; of {", ".join(CHOICES)}')
    parser.add_argument('--models', action='store_true', help='detectors and keypoint models instead, to their maps')
    parser.add_argument('--forms', nargs='+', choices=forms.FORMS, metavar='FORM',
                        help=f'of {", ".join(forms.FORMS)} (default: all, and {", ".join(OF_MODELS)} of whole models)')
    parser.add_argument('--rounds', type=COUNT, default=20, help='bursts of each (default: 20)')
    parser.add_argument('--threads', type=COUNT, default=1, help='default: 1')
    parser.add_argument('--batch', type=COUNT, default=1, help='images at a time (default: 1)')
    parser.add_argument('--throughput', action='store_true',
                        help='images per second of batches of 8 with 1 and 2 threads instead')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the figures there')
    parser.add_argument('--plot', type=Path, metavar='FILE.svg', help='also draw top-1 over latency there')
    args = parser.parse_args()
    if args.plot and (args.models or args.throughput or args.batch > 1 or args.threads > 1):
        parser.error('--plot is for single images of classifiers on one thread')
    return args


def run(chosen: list[networks.Network], wanted: list[str], batch: int, threads: int,
        rounds: int) -> tuple[list[Record], list[str]]:
    """Build, compare, measure; returns also what was left out."""
    ready, omitted = [], []
    for network in chosen:
        built = replace(networks.build(network, CONFIGS), batch=batch)
        forms_of_it, lines = forms.contenders(network.name, built, wanted, threads)
        ready, omitted = ready + forms_of_it, omitted + lines
    measure(ready, rounds, threads)
    return records(ready, chosen, batch, threads), omitted


def left_out(chosen: list[networks.Network], wanted: list[str]) -> list[str]:
    """A line for each form and network that cannot be measured here; they are taken out of the lists."""
    lines = []
    for items, missing, name in ((wanted, forms.missing, str), (chosen, networks.missing, lambda item: item.title)):
        for item in list(items):
            reason = missing(item)
            if reason:
                items.remove(item)
                lines.append(f'{name(item)} is left out: {reason}')
    return lines


def main() -> None:
    args = parse_args()
    warnings.filterwarnings('ignore')  # of tracing; every export is compared
    names = args.networks or [network.name for network in (networks.MODELS if args.models else networks.CLASSIFIERS)]
    chosen = [CHOICES[name] for name in names]
    wanted = list(args.forms or (OF_MODELS if args.models else forms.FORMS))
    with one_line_errors():
        for file in filter(None, (args.json, args.plot)):
            make_folder_of(file)
        omitted, found = left_out(chosen, wanted), []
        print(*omitted, sep='\n', end='\n' * bool(omitted), flush=True)
        batch = THROUGHPUT['batch'] if args.throughput else args.batch
        described = machine()
        print(', '.join(f'{key} {" ".join(value) if isinstance(value, list) else value}'
                        for key, value in described.items()), flush=True)
        for threads in THROUGHPUT['threads'] if args.throughput else [args.threads]:
            measured, wrong = run(chosen, wanted, batch, threads, args.rounds)
            print(*wrong, sep='\n', end='\n' * bool(wrong))
            what = 'images per second' if args.throughput else 'median milliseconds'
            print(f'\nbatch {batch}, {threads} thread{"s" * (threads > 1)}: {what} (time, of baseline)\n')
            print(table(measured, args.throughput), flush=True)
            found, omitted = found + measured, omitted + wrong
        if args.json:
            result = dict(machine=described, left_out=omitted, results=found)
            write_text_atomically(json.dumps(result, indent=1), args.json)
        if args.plot:
            from micronet_mm.analysis.figure_drawing import svg
            from micronet_mm.latency.figure import latency_curves, latency_figure
            with written_atomically(args.plot) as file:
                file.write(svg(latency_figure(latency_curves(found))))


if __name__ == '__main__':
    main()
