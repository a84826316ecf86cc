"""Records of our own trainings, and the page that is written from them."""
import json

import pytest
from mm import ROOT

from micronet_mm.analysis import trained
from micronet_mm.checkpoint.bundled import bundled_weights

RUNS = trained.load_runs(ROOT / 'docs' / 'trained')


def write_part(folder, epochs, last=3):
    """The log of a part of a training: two lines of each epoch, and its accuracy up to the epoch ``last``."""
    lines = []
    for epoch in epochs:
        lines += [dict(loss=10 - epoch + 0.1 * line, time=0.5, lr=0.1, epoch=epoch, iter=10 * (epoch - 1) + line,
                       step=10 * (epoch - 1) + line) for line in (4, 8)]
        if epoch <= last:
            lines.append({'accuracy/top1': 10.0 * epoch, 'accuracy/top5': 20.0 * epoch, 'step': epoch})
    (folder / 'vis_data').mkdir(parents=True)
    (folder / 'vis_data' / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))


def test_a_training_that_was_resumed_is_read_whole(tmp_path):
    pytest.importorskip('mmpretrain')
    (tmp_path / 'tiny_imagenet_micronet_m1.py').write_text('train_cfg = dict(max_epochs=3)\nrandomness = dict(seed=7)')
    write_part(tmp_path / '1', [1, 2], last=1)
    with pytest.raises(ValueError, match='has no accuracy of epoch 2: the training is not finished'):
        trained.read_run(tmp_path, 'abc', 'a machine')
    write_part(tmp_path / '2', [2, 3])
    run = trained.read_run(tmp_path, 'abc', 'a machine')
    assert (run.network, run.seed, run.file) == ('micronet_m1', 7, 'micronet_m1_seed7.json')
    assert [epoch.top1 for epoch in run.epochs] == [10, 20, 30] and run.last.top5 == 60
    assert [epoch.loss for epoch in run.epochs] == [9.6, 8.6, 7.6] and run.minutes == 3 * 10 * 0.5 / 60
    (tmp_path / run.file).write_text(trained.write_run(run))
    assert trained.load_runs(tmp_path) == [run]


def test_the_verdict_follows_from_the_numbers():
    def run(network, top1, seed=0):
        return trained.Run(network, seed, '', '', [trained.Epoch(1, top1, 90, 60)])

    m0, small = run('micronet_m0', 40), run('mobilenetv3_small_015', 30)
    assert trained.verdict([m0]) == 'No pair is complete yet.'
    assert trained.verdict([m0, small]) == "The paper's order holds in 1 of 1 trained pairs."
    worse = [run('micronet_m0', 10, seed=1), m0, run('mobilenetv3_small_015', 30)]
    assert trained.verdict(worse) == "The paper's order does not hold for MicroNet-M0, of 1 trained pairs."
    assert '| MicroNet-M0, 0.15x | 25.00 | 30.00 | -5.00 |' in trained.pairs_table(worse)
    assert '| MicroNet-M3, 0.5x | not trained yet | not trained yet |  |' in trained.pairs_table(worse)


def test_the_page_has_the_recorded_numbers():
    page = (ROOT / 'docs' / 'trained.md').read_text()
    assert RUNS and trained.pairs_table(RUNS) in page and trained.verdict(RUNS) in page
    assert trained.table(RUNS, ROOT / 'configs') in page


def test_bundled_weights_are_those_of_recorded_runs():
    """Half precision may move a few images of 10,000."""
    for row in bundled_weights().values():
        run = next(run for run in RUNS if run.network == f'micronet_{row.arch}' and run.seed == 0)
        assert abs(run.last.top1 - row.top1) < 0.1 and run.commit == row.commit and len(run.epochs) == row.epochs
